"""The worker says what changes, and not more often than it must."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from celery import states

from irs import errors
from irs.domain import tasks
from irs.domain.observing import Report
from irs.testing import FakeClock, FaultPlan, MemoryObjects
from irs.worker import report as module
from irs.worker.meter import Meter
from irs.worker.report import Reporter

KEY = "fleet/irs/i-1.json"


@dataclass
class Drain:
    began: bool = False


class Rig:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: FaultPlan | None = None) -> None:
        self.clock = FakeClock()
        self.objects = MemoryObjects(clock=self.clock)
        self.plan = plan or FaultPlan()
        self.drain = Drain()
        #: when the queue last answered
        self.heard: float | None = None
        self.meter = Meter(4, clock=lambda: self.clock.now().timestamp())
        monkeypatch.setattr(module.time, "monotonic", lambda: self.clock.now().timestamp())
        self.reporter = Reporter(self.plan.wrap(self.objects), KEY, name="i-1", meter=self.meter,
                                 drain=self.drain, now=self.clock.now, heard=lambda: self.heard)

    def stored(self) -> Report:
        return Report.from_json(self.objects.get(KEY))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_it_says_how_long_ago_its_queue_answered(rig: Rig) -> None:
    rig.reporter.write()
    assert rig.stored().heard_ago is None
    rig.heard = rig.clock.now().timestamp()
    rig.clock.advance(7)
    rig.reporter.write()
    assert rig.stored().heard_ago == 7


def test_it_says_where_its_metrics_are(rig: Rig) -> None:
    rig.reporter.write()
    assert rig.stored().metrics is None
    Reporter(rig.objects, KEY, name="i-1", meter=rig.meter, drain=rig.drain, now=rig.clock.now,
             heard=lambda: None, metrics="10.0.0.7:9101").write()
    assert rig.stored().metrics == "10.0.0.7:9101"


def test_when_it_reports(rig: Rig) -> None:
    def due_after(seconds: float) -> bool:
        rig.clock.advance(seconds)
        return rig.reporter.due()

    assert due_after(0)
    rig.reporter.write()
    assert [due_after(3), due_after(3), due_after(3), due_after(1)] == [False, False, False, True]
    rig.reporter.write()
    rig.meter.began()
    assert [due_after(2), due_after(2), due_after(2)] == [False, False, True], "work is news in a while"
    rig.reporter.write()
    rig.meter.ended(finished=True)
    rig.drain.began = True
    assert due_after(0), "an end at once"
    rig.reporter.write()
    rig.reporter.wants_to_leave = True
    assert due_after(0)


def test_what_it_says(rig: Rig) -> None:
    for _ in range(10):
        rig.meter.began()
        rig.clock.advance(0.5)
        rig.meter.ended(finished=True)
    rig.meter.began()
    rig.reporter.wants_to_leave = True
    rig.meter.tally.ended(0.3, failed=True)
    rig.meter.tally.inferred(0.02)
    rig.reporter.write()
    said = rig.stored()
    assert (said.failed, sum(said.waits), sum(said.infers)) == (1, 1, 1)
    assert len(rig.objects.get(KEY)) < 1_000, "every scaler reads it every few seconds"
    assert (said.instance, said.done, said.running, said.draining) == ("i-1", 10, 1, False)
    assert said.service_seconds == pytest.approx(0.5, rel=0.05)
    assert said.wants_to_leave
    assert said.at == rig.clock.now()


def test_a_report_that_fails_is_said_once_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, FaultPlan().fail("put", 1, errors.AccessDenied("S3: denied")))
    rig.reporter.write()
    assert not rig.objects.stored
    rig.clock.advance(10)
    assert rig.reporter.due()
    rig.reporter.write()
    assert rig.stored().instance == "i-1"


def test_from_start_to_stop() -> None:
    """Real threads: the first report comes by itself, the last one says that it ends."""
    written = threading.Event()

    class Objects(MemoryObjects):
        def put(self, *args: Any, **kwargs: Any) -> str:
            etag = super().put(*args, **kwargs)
            written.set()
            return etag

    objects = Objects()
    reporter = Reporter(objects, KEY, name="i-1", meter=Meter(4), drain=Drain())
    reporter.start()
    assert written.wait(10)
    assert not Report.from_json(objects.get(KEY)).draining
    reporter.stop()
    assert Report.from_json(objects.get(KEY)).draining


def test_celerys_signals_move_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(4)
    monkeypatch.setattr(module, "_meters", [meter])

    class Task:
        name = tasks.CLASSIFY

    class Other:
        name = "celery.ping"

    for state, done in ((states.SUCCESS, 1), (states.REJECTED, 1), (states.RETRY, 1), (states.FAILURE, 2)):
        module._on_prerun(task=Task())
        module._on_prerun(task=Other())
        assert meter.running == 1
        module._on_postrun(task=Other(), state=states.SUCCESS)
        module._on_postrun(task=Task(), state=state)
        assert (meter.running, meter.done) == (0, done)
