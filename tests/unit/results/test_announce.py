"""Announcements: to the one that waits and to everybody; lost ones harm nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Prediction, Result, Status
from irs.results import announce
from irs.results.announce import Announcer, reply_prefix
from irs.settings import Settings
from irs.testing import FaultPlan, MemoryQueue

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


def test_the_waiting_process_gets_the_whole_result_and_the_public_queue_its_first_line(
        queues: Queues) -> None:
    result = done()
    Announcer(SETTINGS).announce(result, REPLY)
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
    Announcer(SETTINGS).announce(done(), reply_to)
    assert set(queues) == {SETTINGS.output_queue}


@pytest.mark.parametrize("error", [errors.NotFound("gone"), errors.Unreachable("down")])
def test_a_lost_announcement_is_not_raised_and_does_not_cost_the_other(
        queues: Queues, error: errors.CloudError) -> None:
    queues[REPLY] = FaultPlan().fail("send", 1, error).wrap(MemoryQueue())
    announcer = Announcer(SETTINGS)
    announcer.announce(done(), REPLY)
    assert len(queues[SETTINGS.output_queue].bodies()) == 1
    queues[SETTINGS.output_queue].send_batch = _raising(error)
    announcer.announce(done(), REPLY)
    assert len(queues[REPLY].bodies()) == 1


def _raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error
    return call


def test_concurrent_results_for_one_process_share_a_message(queues: Queues) -> None:
    announcer = Announcer(SETTINGS)
    inside, release = threading.Semaphore(0), threading.Event()
    real = queues[REPLY].send

    def slow(body: str) -> None:
        inside.release()
        release.wait(10)
        real(body)

    queues[REPLY].send = slow
    results = [done() for _ in range(8)]
    threads = [threading.Thread(target=announcer.announce, args=(r, REPLY)) for r in results]
    for thread in threads:
        thread.start()
    # The calls that may be under way at once, each with what had come by then.
    assert inside.acquire(timeout=10)
    assert inside.acquire(timeout=10)
    release.set()
    for thread in threads:
        thread.join(10)
    packed = [json.loads(body) for body in queues[REPLY].bodies()]
    assert len(packed) < len(results)
    assert {item["id"] for pack in packed for item in pack} == {r.id for r in results}
    assert len(queues[SETTINGS.output_queue].bodies()) == len(results)


def test_a_name_that_sqs_would_refuse_is_escaped(queues: Queues) -> None:
    result = done("\uffff\ufffe ü.jpg")
    Announcer(SETTINGS).announce(result, REPLY)
    for queue in queues.values():
        assert all(body.isascii() for body in queue.bodies())
    assert Result.from_dict(json.loads(queues[REPLY].bodies()[0])[0]) == result


def test_only_so_many_processes_are_remembered(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "KNOWN", 3)
    announcer = Announcer(SETTINGS)
    for n in range(10):
        announcer.announce(done(), f"{reply_prefix(SETTINGS)}{n}")
    assert len(announcer._private) == 3
