"""Announcements: to the one that waits and to everybody; lost ones harm nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Prediction, Result, Status
from irs.results import announce, packs
from irs.results.announce import Announcer, reply_prefix
from irs.settings import Settings
from irs.testing import FakeClock, FaultPlan, MemoryQueue

SETTINGS = Settings.model_construct()
REPLY = f"{reply_prefix(SETTINGS)}0123456789ab"


def done(name: str = "a.jpg") -> Result:
    return Result(id=keys.new_id(), image=name, status=Status.DONE, predictions=tuple(
        Prediction(label=label, index=n, confidence=0.5**(n + 1)) for n, label in enumerate("abc")))


class Queues(dict[str, Any]):
    """Made as they are asked for."""

    def __missing__(self, name: str) -> Any:
        self[name] = MemoryQueue(name)
        return self[name]


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Queues:
    queues = Queues()
    monkeypatch.setattr(announce, "Queue", lambda settings, name: queues[name])
    return queues


def tell(announcer: Announcer, result: Result, reply_to: object) -> None:
    """Announce, and wait until it is out."""
    announcer.announce(result, reply_to)
    assert announcer.flush()


def test_the_waiting_process_gets_the_whole_result_and_the_public_queue_its_first_line(
        queues: Queues) -> None:
    result = done()
    tell(Announcer(SETTINGS), result, REPLY)
    (private,) = queues[REPLY].bodies()
    assert [Result.from_dict(item) for item in json.loads(private)] == [result]
    (public,) = queues[SETTINGS.output_queue].bodies()
    assert json.loads(public) == result.announcement()
    assert len(json.loads(public)["predictions"]) == 1


@pytest.mark.parametrize("reply_to", [
    None, "", SETTINGS.input_queue, SETTINGS.output_queue, f"x{reply_prefix(SETTINGS)}1", "other-web-1",
    5, {"a": 1}, reply_prefix(SETTINGS), f"{REPLY}more-than-16",
    f"{reply_prefix(SETTINGS)}a/b"])
def test_a_reply_to_that_is_no_reply_queue_of_ours_is_ignored(
        queues: Queues, reply_to: str | None) -> None:
    tell(Announcer(SETTINGS), done(), reply_to)
    assert set(queues) == {SETTINGS.output_queue}


@pytest.mark.parametrize("error", [errors.NotFound("gone"), errors.Unreachable("down")])
def test_a_lost_announcement_is_not_raised_and_does_not_cost_the_other(
        queues: Queues, error: errors.CloudError) -> None:
    queues[REPLY] = FaultPlan().fail("send", 1, error).wrap(MemoryQueue())
    announcer = Announcer(SETTINGS)
    tell(announcer, done(), REPLY)
    assert len(queues[SETTINGS.output_queue].bodies()) == 1
    queues[SETTINGS.output_queue].send_batch = _raising(error)
    tell(announcer, done(), REPLY)
    assert len(queues[REPLY].bodies()) == 1
    assert announcer.lost == 2


def _raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error
    return call


def test_in_a_crowd_results_share_a_message(queues: Queues) -> None:
    announcer = Announcer(SETTINGS, crowded=lambda: True)
    results = [done() for _ in range(40)]
    for result in results:
        announcer.announce(result, REPLY)
    assert announcer.flush()
    packed = [json.loads(body) for body in queues[REPLY].bodies()]
    assert len(packed) <= 2
    assert [item["id"] for pack in packed for item in pack] == [r.id for r in results]
    assert len(queues[SETTINGS.output_queue].bodies()) == len(results)


def test_those_that_wait_for_company_go_at_once_when_the_crowd_is_over(
        queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "PRIVATE_LINGER", 3600)
    crowd = [True]
    announcer, results = Announcer(SETTINGS, crowded=lambda: crowd[0]), [done() for _ in range(3)]
    for result in results[:2]:
        announcer.announce(result, REPLY)
    crowd[0] = False
    announcer.announce(results[2], REPLY)
    deadline = time.monotonic() + 10
    while sum(len(json.loads(body)) for body in queues[REPLY].bodies()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_full_call_of_public_ones_goes_without_a_flush(
        queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "PUBLIC_LINGER", 3600)
    announcer = Announcer(SETTINGS)
    for _ in range(13):
        announcer.announce(done(), None)
    deadline = time.monotonic() + 10
    while len(queues[SETTINGS.output_queue].bodies()) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_lone_announcement_needs_no_flush(queues: Queues) -> None:
    announcer = Announcer(SETTINGS)
    announcer.announce(done(), REPLY)
    deadline = time.monotonic() + 10
    while not (queues[REPLY].bodies() and queues[SETTINGS.output_queue].bodies()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_flush_of_some_fills_calls_and_leaves_the_rest_to_wait_for_company(
        queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "PUBLIC_LINGER", 3600)
    announcer, results = Announcer(SETTINGS), [done() for _ in range(13)]
    for result in results[:4]:
        announcer.announce(result, None)
    assert announcer.flush([results[1].id], timeout=30)
    public = queues[SETTINGS.output_queue]
    assert len(public.bodies()) == 4, "one call takes ten"
    assert announcer.flush([results[1].id, "nobody's"])
    for result in results[4:]:
        announcer.announce(result, None)
    assert announcer.flush([results[-1].id], timeout=30)
    assert [json.loads(body)["id"] for body in public.bodies()] == [r.id for r in results]


def test_in_a_crowd_each_web_process_has_full_calls_of_its_own(
        queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "PRIVATE_LINGER", 3600)
    monkeypatch.setattr(announce, "PUBLIC_LINGER", 3600)
    announcer = Announcer(SETTINGS, crowded=lambda: True)
    replies = [f"{reply_prefix(SETTINGS)}{number}" for number in range(4)]
    for number in range(40):
        announcer.announce(done(), replies[number % 4])
    assert announcer.flush(timeout=30)
    assert [len(queues[reply].bodies()) for reply in replies] == [1] * 4


def test_a_slow_send_is_no_stall(queues: Queues) -> None:
    """Each call has its own time: many that take a second each are not one that hangs."""
    clock = FakeClock()
    calls = []

    class Slow(MemoryQueue):
        def send(self, body: str, **_: Any) -> None:
            clock.advance(1.5)
            calls.append(len(json.loads(body)))

    announcer = Announcer(SETTINGS, clock=lambda: clock.now().timestamp())
    with announcer._changed:
        for number in range(20):
            reply = f"{reply_prefix(SETTINGS)}{number}"
            queues[reply] = Slow(reply)
            announcer.announce(done(), reply)
    assert announcer.flush(timeout=2)
    assert len(calls) == 20


class Stalled:
    """A reply queue that keeps its caller until it is let go."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

    def send(self, body: str) -> None:
        self.entered.set()
        assert self.release.wait(30)


def test_a_stalled_queue_holds_up_one_flush_and_none_after_it(queues: Queues) -> None:
    stalled = queues[REPLY] = Stalled()
    clock = FakeClock()
    announcer = Announcer(SETTINGS, clock=lambda: clock.now().timestamp())
    announcer.announce(done(), REPLY)
    assert stalled.entered.wait(10)
    assert not announcer.flush(timeout=0.01)
    clock.advance(60)
    began = time.monotonic()
    assert not announcer.flush(timeout=30)
    assert time.monotonic() - began < 10
    stalled.release.set()
    deadline = time.monotonic() + 10
    while not announcer.flush(timeout=30):  # until the stalled call has come back
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert len(queues[SETTINGS.output_queue].bodies()) == 1


def test_no_more_than_so_many_wait(queues: Queues, monkeypatch: pytest.MonkeyPatch,
                                   events: list[Any]) -> None:
    monkeypatch.setattr(announce, "MOST", 3)
    stalled = queues[REPLY] = Stalled()
    announcer = Announcer(SETTINGS)
    first = done()
    announcer.announce(first, REPLY)
    assert stalled.entered.wait(10)
    waiting = [done() for _ in range(5)]
    for result in waiting:
        announcer.announce(result, None)
    stalled.release.set()
    assert announcer.flush(timeout=30)
    told = [json.loads(body)["id"] for body in queues[SETTINGS.output_queue].bodies()]
    assert told[-3:] == [result.id for result in waiting[-3:]]
    assert waiting[0].id not in told
    lost = [e["id"] for e in events if e["event"] == "announce.lost"]
    # The first one's public copy is the oldest, unless it went out before the queue stalled.
    assert lost in ([first.id, *(r.id for r in waiting[:2])], [r.id for r in waiting[:2]])


def test_packs_are_bounded_by_number_and_by_size() -> None:
    items = [packs.Item(n, "id", "x" * size, None, 0.0)
             for n, size in enumerate((10, 10, 10, 90, 30, 69, 200, 1))]
    made = packs.packs(items, 2, 100)
    assert [[len(item.body) for item in pack] for pack in made] == [
        [10, 10], [10], [90], [30], [69], [200], [1]]


def test_a_name_that_sqs_would_refuse_is_escaped(queues: Queues) -> None:
    result = done("\uffff\ufffe ü.jpg")
    tell(Announcer(SETTINGS), result, REPLY)
    for queue in queues.values():
        assert all(body.isascii() for body in queue.bodies())
    assert Result.from_dict(json.loads(queues[REPLY].bodies()[0])[0]) == result


def test_only_so_many_processes_are_remembered(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "KNOWN", 3)
    announcer = Announcer(SETTINGS)
    for n in range(10):
        tell(announcer, done(), f"{reply_prefix(SETTINGS)}{n}")
    assert len(announcer._reply_queues) == 3
