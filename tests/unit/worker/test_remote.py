"""Remote control that cannot be had: said once, and tried again where that may help."""

from __future__ import annotations

import queue
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import pidbox
from structlog.testing import capture_logs

from irs import errors
from irs.aws import topics
from irs.celery import app
from irs.worker import remote


class Timer:
    """What a hub's `call_later` gives."""

    def __init__(self, seconds: float, act: Any, *args: Any) -> None:
        self.seconds, self.canceled = seconds, False
        self.run = lambda: act(*args)

    def cancel(self) -> None:
        self.canceled = True


class Worker:
    """As much of Celery's consumer as a mailbox uses."""

    def __init__(self) -> None:
        self.app, self.hostname = app, "worker@here"
        self.controller = SimpleNamespace(use_eventloop=True)
        self.hub = self
        self.timers: list[Timer] = []
        self._soon: queue.Queue[Any] = queue.Queue()

    def call_soon(self, act: Any, *args: Any) -> None:
        self._soon.put(lambda: act(*args))

    def turn(self) -> None:
        """One of the main loop's, in which a thread's word is heard."""
        self._soon.get(timeout=10)()

    def call_later(self, seconds: float, act: Any, *args: Any) -> Timer:
        self.timers.append(Timer(seconds, act, *args))
        return self.timers[-1]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next starts of Celery's own mailbox raise; then it starts."""
    plan: list[Exception] = []

    def start(box: Any, _c: Any) -> None:
        if plan:
            raise plan.pop(0)
        box.consumer = SimpleNamespace(cancel=lambda: None)

    monkeypatch.setattr(pidbox.Pidbox, "start", start)
    return plan


def test_what_is_refused_is_said_once_and_not_tried_again(faults: list[Exception]) -> None:
    worker = Worker()
    faults.append(errors.AccessDenied("SNS: not authorized"))
    with capture_logs() as said:
        remote.Box(worker).start(worker)
    assert [(line["event"], line["seconds"]) for line in said] == [("worker.no_remote_control", None)]
    assert worker.timers == []


def test_a_fault_that_passes_is_tried_again(
        faults: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    asked = [None, None]
    monkeypatch.setattr(topics, "ask", lambda _settings: asked.pop())
    box = remote.Box(worker)
    faults += [errors.Unreachable("SNS is away"), errors.Throttled("slow down")]
    with capture_logs() as said:
        twice_again(box, worker)
    assert [line["seconds"] for line in said] == [remote.PAUSE] * 2
    assert len(worker.timers) == 2
    assert box.consumer is not None


def twice_again(box: remote.Box, worker: Worker) -> None:
    """A start, and both of the tries that follow it."""
    box.start(worker)
    for number in range(2):
        worker.timers[number].run()
        worker.turn()


def test_a_defect_in_asking_is_said_with_its_place_and_tried_again(
        faults: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    answers: list[Exception | None] = [None, RuntimeError("no new thread")]

    def ask(_settings: Any) -> None:
        if exc := answers.pop():
            raise exc

    monkeypatch.setattr(topics, "ask", ask)
    box = remote.Box(worker)
    faults.append(errors.Unreachable("SNS is away"))
    with capture_logs() as said:
        twice_again(box, worker)
    assert [(line["seconds"], line["why"]) for line in said] == [
        (remote.PAUSE, "SNS is away"), (remote.PAUSE, "no new thread")]
    assert [line["exc_info"] is None for line in said] == [True, False]
    assert box.consumer is not None


def test_while_sns_does_not_answer_the_loop_goes_on(
        faults: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    worker, answers = Worker(), threading.Event()

    def ask(_settings: Any) -> None:
        assert answers.wait(10)
        raise errors.Unreachable("SNS is away")

    monkeypatch.setattr(topics, "ask", ask)
    box = remote.Box(worker)
    faults.append(errors.Unreachable("SNS is away"))
    box.start(worker)
    worker.timers[0].run()  # returns while SNS is asked
    answers.set()
    worker.turn()
    assert len(worker.timers) == 2, "asked again later, and not started"
    worker.timers[1].run()
    box.stop(worker)
    worker.turn()
    assert len(worker.timers) == 2, "what was stopped meanwhile is not started"


def test_a_lost_connection_ends_the_tries(faults: list[Exception]) -> None:
    worker = Worker()
    box = remote.Box(worker)
    faults.append(errors.Unreachable("SNS is away"))
    box.start(worker)
    box.stop(worker)
    assert worker.timers[0].canceled


def test_a_lost_connection_is_no_matter_of_rights(faults: list[Exception]) -> None:
    worker = Worker()
    faults.append(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        remote.Box(worker).start(worker)
