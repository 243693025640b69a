"""The worker's report: a small object that it rewrites every few seconds and when things change.

The scaler reads it: which instance is at work, how fast it is, when it came up. Nothing
depends on it: a worker that cannot write it works on, and says so in its log.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from celery import signals, states

from irs import errors, log
from irs.aws.objects import Objects
from irs.broker import receiver
from irs.domain import observing, tasks
from irs.domain.observing import Report
from irs.settings import Settings, load
from irs.worker import identity
from irs.worker.meter import Meter

#: Seconds between looks at whether something has changed.
LOOK = 0.5
#: Seconds between reports at least, where only work has come or gone: a PUT for each image
#: would cost more than it tells.
APART = 5.0
#: Outcomes of a task after which its message does not come again.
_FINISHED = {states.SUCCESS, states.FAILURE, states.IGNORED}

_log = log.get("worker")


class Ends(Protocol):
    """What the reporter wants of `irs.worker.lifecycle.Drain`."""

    @property
    def began(self) -> bool: ...


class Store(Protocol):
    """What it wants of `irs.aws.objects.Objects`."""

    def put(self, key: str, data: bytes, *, content_type: str = ...) -> str: ...


class Reporter:
    """Writes one worker's report from a thread of its own, between `start` and `stop`."""

    def __init__(self, store: Store, key: str, *, name: str, meter: Meter, drain: Ends,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 heard: Callable[[], float | None] = receiver.last_success,
                 metrics: str | None = None) -> None:
        """``heard`` gives the `time.monotonic` of the last answered receive.

        ``metrics`` is where this worker serves its metrics.
        """
        self._heard = heard
        self._metrics = metrics
        self._store, self._key, self._name = store, key, name
        self._meter, self._drain, self._now = meter, drain, now
        #: an idle worker that would rather end sets it
        self.wants_to_leave = False
        self._started = self._ready = now()
        self._said: tuple[bool, ...] = ()
        self._written = float("-inf")
        self._trouble = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        """The worker takes work from now on."""
        self._ready = self._now()
        self._thread.start()

    def stop(self) -> None:
        """A last report."""
        self._stop.set()
        self._thread.join()

    def write(self) -> None:
        """Report now."""
        self._said = self._state()
        self._written = time.monotonic()
        try:
            self._store.put(self._key, self.report().to_json(), content_type="application/json")
            self._trouble = ""
        except errors.CloudError as exc:
            kind = f"{type(exc).__name__} {exc.code}"  # the words tell the milliseconds as well
            (_log.debug if kind == self._trouble else _log.warning)(
                "worker.report_failed", why=str(exc))
            self._trouble = kind

    def report(self) -> Report:
        """What there is to say."""
        heard, tally = self._heard(), self._meter.tally
        return Report(
            heard_ago=None if heard is None else round(max(0.0, time.monotonic() - heard), 1),
            instance=self._name, at=self._now(), started_at=self._started, ready_at=self._ready,
            done=self._meter.done, running=self._meter.running,
            service_seconds=self._meter.service_seconds,
            failed=tally.failed, waits=tally.waits, infers=tally.infers, metrics=self._metrics,
            draining=self._drain.began or self._stop.is_set(), wants_to_leave=self.wants_to_leave)

    def due(self) -> bool:
        """Whether it is time to report."""
        age, state = time.monotonic() - self._written, self._state()
        # Work that comes and goes is news in a while, an ending at once.
        return (age >= observing.EVERY or state[1:] != self._said[1:]
                or (state != self._said and age >= APART))

    def _state(self) -> tuple[bool, ...]:
        return (self._meter.running > 0, self._drain.began, self.wants_to_leave)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.due():
                self.write()
            self._stop.wait(LOOK)
        self.write()


def name() -> str:
    """The instance's id; off EC2 also the process's, as several may share a host."""
    return identity.instance_id() or f"{identity.instance()}-{os.getpid()}"


_meters: list[Meter] = []
_reporters: list[Reporter] = []


def meter() -> Meter:
    """The process's meter, which counts its tasks from the first call on."""
    if not _meters:
        _meters.append(Meter(full=load().max_batch))
        signals.task_prerun.connect(_on_prerun, dispatch_uid="irs.report")
        signals.task_postrun.connect(_on_postrun, dispatch_uid="irs.report")
    return _meters[0]


def start(drain: Ends, settings: Settings, *, metrics: str | None = None) -> Reporter:
    """Report from now on that this worker takes work, and serves its ``metrics`` at host:port."""
    mine = name()
    reporter = Reporter(Objects(settings, settings.output_bucket), observing.key(settings.cluster, mine),
                        name=mine, meter=meter(), drain=drain, metrics=metrics)
    reporter.start()
    _reporters.append(reporter)
    return reporter


def stop() -> None:
    """Say for the last time what was done, if `start` was called."""
    while _reporters:
        _reporters.pop().stop()


def _on_prerun(task: Any = None, **_: Any) -> None:
    if task is not None and task.name == tasks.CLASSIFY:
        meter().began()


def _on_postrun(task: Any = None, state: str | None = None, **_: Any) -> None:
    if task is not None and task.name == tasks.CLASSIFY:
        meter().ended(finished=state in _FINISHED)
