"""The receive loop: it takes what there is room for, survives faults, and ends cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs import errors
from irs.aws.queues import Message
from irs.broker import receiver
from irs.broker.receiver import Heartbeat, Receiver
from irs.testing import FaultPlan, MemoryQueue

#: Seconds of one long poll: what each test waits for in the end.
POLL = 0.05


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(receiver, "BACKOFF", (0.001, 0.01))
    yield
    receiver.stop_all()
    assert not receiver.polling()


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)  # between looks


class Sink:
    """Takes messages, and refuses them."""

    def __init__(self, room: int = 10) -> None:
        self.room = room
        self.taken: list[Message] = []
        self.refused: list[Message] = []

    def start(self, queue: Any, **more: Any) -> Receiver:
        return Receiver(queue, room=lambda: self.room, deliver=self.deliver,
                        refuse=self.refused.extend, **more)

    def deliver(self, messages: list[Message]) -> None:
        self.room -= len(messages)
        self.taken += messages


def test_takes_no_more_than_there_is_room_for_and_resumes_the_moment_it_is_freed(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "RECHECK", 30.0)
    queue, sink = MemoryQueue(poll_wait=POLL), Sink(room=3)
    for n in range(5):
        queue.send(str(n))
    loop = sink.start(queue)
    until(lambda: len(sink.taken) == 3)
    sink.room = 10
    loop.freed()
    until(lambda: len(sink.taken) == 5)
    loop.stop()


@pytest.mark.parametrize("error", [
    errors.Unreachable("reset"), errors.Throttled("503"), errors.AccessDenied("403"),
    errors.NotFound("no queue"), AttributeError("a list where a dict is expected")])
def test_every_fault_is_survived_and_its_end_noticed(error: Exception) -> None:
    queue, sink, plan = MemoryQueue(poll_wait=POLL), Sink(), FaultPlan()
    for n in (1, 2, 3):
        plan.fail("receive", n, error)
    queue.send("x")
    began = time.monotonic()
    loop = sink.start(plan.wrap(queue))
    until(lambda: sink.taken)
    assert loop.last_success >= began
    assert plan.calls["receive"] >= 4
    loop.stop()


def test_a_delivery_that_raises_does_not_end_the_loop() -> None:
    queue, sink = MemoryQueue(poll_wait=POLL), Sink()
    failing = iter([RuntimeError("once")])

    def deliver(messages: list[Message]) -> None:
        for error in failing:
            raise error
        sink.deliver(messages)

    loop = Receiver(queue, room=lambda: 10, deliver=deliver, refuse=sink.refused.extend)
    queue.send("lost")
    until(lambda: queue.depth().in_flight == 1)
    queue.send("kept")
    until(lambda: [m.body for m in sink.taken] == ["kept"])
    loop.stop()


def test_what_a_poll_under_way_brings_after_the_stop_is_handed_back() -> None:
    polling, release = threading.Event(), threading.Event()

    class Slow(MemoryQueue):
        def receive(self, count: int = 10, *, wait: int | None = None) -> list[Message]:
            polling.set()
            release.wait(5)
            return super().receive(count, wait=0)

    queue, sink = Slow(poll_wait=POLL), Sink()
    queue.send("late")
    loop = sink.start(queue)
    assert polling.wait(5)
    loop.stop()
    assert receiver.polling()
    release.set()
    assert loop.join(5)
    assert [m.body for m in sink.refused] == ["late"]
    assert sink.taken == []


def test_stop_all_waits_for_task_polls_only() -> None:
    release = threading.Event()

    class Deaf(MemoryQueue):
        def receive(self, count: int = 10, *, wait: int | None = None) -> list[Message]:
            release.wait(5)
            return []

    control = Sink().start(Deaf(poll_wait=POLL), control=True)
    began = time.monotonic()
    receiver.stop_all()
    assert time.monotonic() - began < 1
    assert not receiver.polling()
    release.set()
    assert control.join(5)


def test_last_success_is_the_oldest_task_receivers() -> None:
    assert receiver.last_success() is None
    one, two = Sink().start(MemoryQueue(poll_wait=POLL)), Sink().start(MemoryQueue(poll_wait=POLL))
    assert receiver.last_success() == pytest.approx(min(one.last_success, two.last_success), abs=2)
    one.stop()
    two.stop()
    assert one.join(5)
    assert two.join(5)


def test_the_heartbeat_renews_what_is_held_and_lets_go_of_what_hangs(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MAX_HOLD", 60.0)
    beats: list[list[tuple[str, int]]] = []

    class Queue:
        name = "q"

        def set_visibility_batch(self, entries: list[tuple[str, int]]) -> list[Any]:
            beats.append(entries)
            return [errors.BadReceipt("expired")] + [None] * (len(entries) - 1)

    now = time.monotonic()
    held = [("young", now + 1e6), ("hangs", now - 61), *((f"r{n}", now - 30) for n in range(12))]
    heartbeat = Heartbeat(Queue(), window=0.03, held=lambda: held)  # type: ignore[arg-type]
    until(lambda: len(beats) >= 4)
    heartbeat.stop()
    assert [len(beat) for beat in beats[:2]] == [10, 2]
    assert {receipt for beat in beats for receipt, _ in beat} == {f"r{n}" for n in range(12)}
    # Fixed, not added to: a worker that dies gives its messages back one window later.
    assert {seconds for beat in beats for _, seconds in beat} == {0.03}


def test_a_heartbeat_survives_faults_and_none_follows_its_stop() -> None:
    queue = MemoryQueue()
    queue.send("x")
    (message,) = queue.receive()
    plan = FaultPlan().fail("set_visibility_batch", 1, errors.Unreachable("reset")).fail(
        "set_visibility_batch", 2, RuntimeError("a defect"))
    since = time.monotonic() - 30
    heartbeat = Heartbeat(plan.wrap(queue), window=0.03, held=lambda: [(message.receipt, since)])  # type: ignore[arg-type]
    until(lambda: plan.calls["set_visibility_batch"] >= 3)
    heartbeat.stop()
    calls = plan.calls["set_visibility_batch"]
    assert not heartbeat._thread.is_alive()
    assert plan.calls["set_visibility_batch"] == calls
