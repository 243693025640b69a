"""The task: arguments in, a status out, and what it tells Celery in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery.exceptions import Reject

from irs.broker.envelope import RECEIVES_HEADER, SENT_HEADER
from irs.bulk.feeder import PACK
from irs.domain import latency
from irs.domain.jobs import Failure, Job, Result, Status
from irs.domain.tasks import CLASSIFY
from irs.settings import load
from irs.web import stores
from irs.worker import patience, pipeline, report, tasks
from irs.worker.meter import Meter

JOB = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
GOOD = ((JOB, f"{JOB}/a.jpg"), {"name": "a.jpg", "received": "2026-01-01T12:00:00.000Z"})


class Pipeline:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Job, int, str | None]] = []
        self.waits: list[tuple[int, float | None]] = []
        self.error: Exception | None = None
        #: raised by the next calls, one each
        self.errors: list[Exception] = []

    def taken(self, receives: int, waited: float | None) -> None:
        self.waits.append((receives, waited))

    def classify(self, job: Job, *, attempt: int, reply_to: str | None) -> Result:
        self.asked.append((job, attempt, reply_to))
        if self.errors:
            raise self.errors.pop()
        if self.error:
            raise self.error
        return Result(id=job.id, image=job.image, status=Status.FAILED,
                      error=Failure(code="x", message="y"))


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    fake = Pipeline()
    monkeypatch.setattr(pipeline, "current", lambda: fake)
    return fake


@pytest.fixture
def task() -> Iterator[Any]:
    classify = _classify()
    classify.push_request(id=JOB, reply_to="q-web-1", **{
        RECEIVES_HEADER: 3, SENT_HEADER: 1_764_000_000_000})
    yield classify
    classify.pop_request()


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    found = Meter(full=1)
    monkeypatch.setattr(report, "_meters", [found])
    return found


def _classify() -> Any:
    import irs.worker.tasks  # noqa: F401 - registers it
    from irs.celery import app

    app.finalize()
    return app.tasks[CLASSIFY]


def test_arguments_reach_the_pipeline_with_the_count_of_receives(around: Pipeline, task: Any) -> None:
    args, kwargs = GOOD
    assert task.run(*args, **kwargs) == "failed", "monitors see no more"
    ((job, attempt, reply_to),) = around.asked
    assert (job.id, job.key, job.image, attempt, reply_to) == (JOB, f"{JOB}/a.jpg", "a.jpg", 3, "q-web-1")
    assert around.waits == [(3, pytest.approx(time.time() - 1_764_000_000, abs=5))]


@pytest.mark.parametrize(("args", "kwargs"), [
    ((), {}),
    ((JOB,), GOOD[1]),
    ((*GOOD[0], "more"), GOOD[1]),
    (GOOD[0], {}),
    (GOOD[0], GOOD[1] | {"received": "yesterday"}),
    (GOOD[0], GOOD[1] | {"received": "2026-01-01T12:00:00"}),
    (GOOD[0], GOOD[1] | {"received": None}),
    (GOOD[0], GOOD[1] | {"name": 5}),
    ((1, 2), GOOD[1]),
    (("../x", "../x/a"), GOOD[1]),
    ((JOB, f"{OTHER}/a.jpg"), GOOD[1]),
    ((JOB, None), GOOD[1]),
], ids=str)
def test_malformed_arguments_are_rejected_and_never_run(
        around: Pipeline, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(Reject) as caught:
        task.run(*args, **kwargs)
    assert not caught.value.requeue
    assert around.asked == []


def test_how_long_a_message_waited_is_counted_once_it_has_its_result(
        around: Pipeline, task: Any, meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.time, "time", lambda: 1_000.0)
    task.request.update({SENT_HEADER: 988_000})
    around.error = patience.Postponed("later")
    with pytest.raises(Reject):
        task.run(*GOOD[0], **GOOD[1])
    assert (meter.tally.waits, meter.tally.failed) == ((), 0)
    around.error = None
    task.run(*GOOD[0], **GOOD[1])
    assert meter.tally.failed == 1
    assert latency.percentile(meter.tally.waits, 1.0) == 15.0  # 12 s, in the bucket that ends there
    # A sender's clock that is ahead makes no negative wait; nobody's word makes none at all.
    task.request.update({SENT_HEADER: 1_001_000})
    task.run(*GOOD[0], **GOOD[1])
    task.request.update({SENT_HEADER: 0})
    task.run(*GOOD[0], **GOOD[1])
    assert (sum(meter.tally.waits), meter.tally.waits[0]) == (2, 1)
    # The metrics are told the same.
    assert [waited for _, waited in around.waits] == [12.0, 12.0, 0.0, None]


def test_a_postponed_job_keeps_its_message(around: Pipeline, task: Any) -> None:
    around.error = patience.Postponed("later")
    with pytest.raises(Reject) as caught:
        task.run(*GOOD[0], **GOOD[1])
    assert caught.value.requeue


def test_a_fault_of_the_cloud_is_waited_out_in_the_task(
        around: Pipeline, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "BACKOFF", (0.001, 0.001))
    around.errors = [patience.Postponed("down", passing=True)] * 3
    assert task.run(*GOOD[0], **GOOD[1]) == "failed"
    assert len(around.asked) == 4


def test_what_the_task_is_to_celery() -> None:
    from irs.celery import app

    classify = _classify()
    assert classify.acks_late
    assert not classify.acks_on_failure
    assert not classify.acks_on_timeout
    assert not classify.reject_on_worker_lost
    assert classify.ignore_result
    assert app.conf.accept_content == ["json"]


def test_nobody_who_may_wait_waits_for_a_producer() -> None:
    """kombu's pool of them has no deadline."""
    from irs.celery import app

    # Beside requests: threads for many files at once, of batches, and of what is sent again.
    assert app.conf.broker_pool_limit >= load().max_waiting + stores.POOL + PACK + 1
