"""The listener: whoever waits is woken, whatever else arrives or breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Failure, Result, Status
from irs.results import listener as listener_module
from irs.results.announce import reply_prefix
from irs.results.listener import Listener
from irs.settings import Settings
from irs.testing import FaultPlan, MemoryQueue

SETTINGS = Settings.model_construct()
#: Seconds of one long poll: what each test waits for in the end.
POLL = 0.05


def failed(job_id: str) -> Result:
    return Result(id=job_id, image="a.jpg", status=Status.FAILED, error=Failure(code="x", message="y"))


class Reply(MemoryQueue):
    """A reply queue that can be dropped."""

    dropped = False

    def drop(self) -> None:
        self.dropped = True

    def announce(self, *results: Result) -> None:
        self.send(json.dumps([r.as_dict() for r in results]))


class Temporary:
    """`irs.aws.temporary`, its queues in memory."""

    TOUCH_EVERY = 600

    def __init__(self) -> None:
        self.made: list[Reply] = []
        self.plan = FaultPlan()
        self.swept: list[str] = []
        self.touched = 0
        self.touch_error: Exception | None = None
        self.sweep_error: Exception | None = None

    def create(self, settings: Any, name: str, attributes: Any) -> Any:
        self.made.append(Reply(name, poll_wait=POLL))
        return self.plan.wrap(self.made[-1])

    def sweep(self, settings: Any, prefix: str) -> list[str]:
        self.swept.append(prefix)
        if self.sweep_error:
            raise self.sweep_error
        return []

    def touch(self, settings: Any, queue: Any) -> None:
        self.touched += 1
        if self.touch_error:
            raise self.touch_error


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Temporary:
    aws = Temporary()
    monkeypatch.setattr(listener_module, "temporary", aws)
    monkeypatch.setattr(listener_module, "BACKOFF", (0.001, 0.01))
    return aws


@pytest.fixture
def listener(aws: Temporary) -> Iterator[Listener]:
    listener = Listener(SETTINGS)
    yield listener
    listener.close()
    if listener._thread.ident:
        listener._thread.join(5)
        assert not listener._thread.is_alive()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)  # between looks


def test_every_waiter_of_a_job_is_woken_and_no_other(listener: Listener, aws: Temporary) -> None:
    listener.start()
    assert listener.address.startswith(reply_prefix(SETTINGS))
    job, other = keys.new_id(), keys.new_id()
    with listener.expect(job) as one, listener.expect(job) as two, listener.expect(other) as stranger:
        assert listener.waiting == 2
        aws.made[0].announce(failed(job))
        assert one.wait(5) == failed(job)
        assert two.wait(5) == failed(job)
        assert stranger.wait(0) is None
    assert listener.waiting == 0
    until(lambda: not aws.made[0].bodies())
    assert listener.last_success > 0


def test_results_that_nobody_waits_for_any_more_are_told_too(aws: Temporary) -> None:
    """Their jobs need no looking after."""
    told: list[Result] = []
    listener = Listener(SETTINGS, told=told.append)
    listener.start()
    try:
        first, second = failed(keys.new_id()), failed(keys.new_id())
        aws.made[0].announce(first, second)
        until(lambda: len(told) == 2)
        assert told == [first, second]
    finally:
        listener.close()
        listener._thread.join(5)


def test_several_results_of_one_message(listener: Listener, aws: Temporary) -> None:
    listener.start()
    jobs = [keys.new_id() for _ in range(3)]
    waiters = [listener.expect(job) for job in jobs]
    aws.made[0].announce(*map(failed, jobs))
    assert [w.wait(5).id for w in waiters] == jobs  # type: ignore[union-attr]


def test_one_waiter_leaves_the_other(listener: Listener, aws: Temporary) -> None:
    listener.start()
    job = keys.new_id()
    left, stays = listener.expect(job), listener.expect(job)
    left.close()
    left.close()
    aws.made[0].announce(failed(job))
    assert stays.wait(5) is not None
    assert left.result is None


@pytest.mark.parametrize("garbage", [
    "", "hello", "{}", "1", "[1]", '[{"id": 1}]', '["x"]', "[" * 100_000,
    '[{"id": "00000000-0000-4000-8000-000000000000", "image": "a", "status": "cancelled",'
    ' "attempts": 1e999}]'])
def test_garbage_is_survived_and_removed(listener: Listener, aws: Temporary, garbage: str) -> None:
    listener.start()
    job = keys.new_id()
    waiter = listener.expect(job)
    aws.made[0].send(garbage)
    aws.made[0].announce(failed(job))
    assert waiter.wait(5) is not None
    until(lambda: not aws.made[0].bodies())


@pytest.mark.parametrize("error", [
    errors.Unreachable("reset"), errors.AccessDenied("no"), RuntimeError("defect")])
def test_faults_of_receiving_are_survived(listener: Listener, aws: Temporary, error: Exception) -> None:
    aws.plan.fail("receive", 1, error).fail("receive", 2, error)
    listener.start()
    job = keys.new_id()
    waiter = listener.expect(job)
    aws.made[0].announce(failed(job))
    assert waiter.wait(5) is not None


def test_an_answer_that_cannot_be_deleted_is_still_heard(listener: Listener, aws: Temporary) -> None:
    aws.plan.fail("delete_batch", 1, errors.Unreachable("reset"))
    listener.start()
    for _ in range(2):
        job = keys.new_id()
        waiter = listener.expect(job)
        aws.made[0].announce(failed(job))
        assert waiter.wait(5) is not None


def test_a_queue_deleted_under_it_is_made_anew_under_its_name(listener: Listener, aws: Temporary) -> None:
    aws.plan.fail("receive", 1, errors.NotFound("gone"))
    listener.start()
    until(lambda: len(aws.made) == 2)
    assert {queue.name for queue in aws.made} == {listener.address}
    job = keys.new_id()
    waiter = listener.expect(job)
    aws.made[1].announce(failed(job))
    assert waiter.wait(5) is not None


def test_neither_sweep_nor_touch_is_a_reason_not_to_listen(
        aws: Temporary, listener: Listener) -> None:
    aws.TOUCH_EVERY = 0
    aws.touch_error = aws.sweep_error = errors.AccessDenied("no")
    listener.start()
    job = keys.new_id()
    waiter = listener.expect(job)
    aws.made[0].announce(failed(job))
    assert waiter.wait(5) is not None
    assert aws.touched
    assert aws.swept == [reply_prefix(SETTINGS)]


def test_a_start_that_fails_says_so(aws: Temporary, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise errors.Unreachable("down")

    monkeypatch.setattr(aws, "create", refuse)
    listener = Listener(SETTINGS)
    with pytest.raises(errors.Unreachable):
        listener.start()
    listener.close()


def test_close_drops_the_queue_and_ends_the_thread(aws: Temporary) -> None:
    listener = Listener(SETTINGS)
    listener.start()
    listener.close()
    assert aws.made[0].dropped
    listener._thread.join(5)
    assert not listener._thread.is_alive()
    assert len(aws.made) == 1
