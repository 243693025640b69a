"""The oracle itself: each broken promise is seen, and a kept one is not called broken."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import keys, tasks
from irs.domain.jobs import Failure, InputInfo, Prediction, Result, Status, stamp
from irs.testing.proxy import Duplicate, Rule
from tests.faults.harness.history import History, Request
from tests.faults.harness.oracle import Oracle
from tests.faults.harness.pictures import Picture, Pictures
from tests.faults.harness.stack import Stack

pytestmark = pytest.mark.integration


class Service:
    """Plays both tiers, over the real queue and buckets, as well or as badly as it is told."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.history = History()
        self.oracle = Oracle(stack, self.history)
        self._settings = stack.behind("tier")
        self._queue = Queue(self._settings, self._settings.input_queue)
        self._outputs = Objects(self._settings, self._settings.output_bucket)

    def accept(self, picture: Picture) -> str:
        """Send a task, as Celery does."""
        job_id = keys.new_id()
        body = [[job_id, f"{job_id}/x"], {"name": picture.name, "received": stamp(datetime.now(UTC))}, {}]
        self._queue.send(json.dumps({
            "body": json.dumps(body), "headers": {"task": tasks.CLASSIFY, "id": job_id},
            "properties": {}}))
        return job_id

    def store(self, result: Result) -> Result:
        """Write a result, over any other; take the task off the queue."""
        self._outputs.put(keys.output_key(result.id), result.to_json())
        messages = self._queue.receive(wait=0)
        if messages:
            self._queue.delete_batch([message.receipt for message in messages])
        return result

    def answer(self, picture: Picture, result: Result | None, status: int = 200,
               seconds: float = 0.1, **headers: str) -> Request:
        """What a client was told."""
        request = self.history.invoke(picture)
        request.invoked = time.monotonic() - seconds
        request.ended = time.monotonic()
        request.status = status
        request.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request.result = result.as_dict(top=1) if result is not None else {}
        return request

    def verdict(self) -> list[str]:
        self.oracle.settled()
        return [*self.oracle.duplicated(),
                *self.oracle.answers(failures=frozenset(), unanswered=False)]


def right(job_id: str, picture: Picture) -> Result:
    return Result(
        id=job_id, image=picture.name, status=Status.DONE,
        predictions=tuple(Prediction(label=label, index=i, confidence=0.5)
                          for i, label in enumerate((picture.label, "another"))),
        input=InputInfo(format="JPEG", width=1, height=1, sha256=picture.sha256))


@pytest.fixture
def service(make_stack) -> Iterator[Service]:
    with make_stack() as stack:
        yield Service(stack)


@pytest.fixture
def picture(pictures: Pictures) -> Picture:
    return pictures.next()


def test_pictures_are_distinct_and_the_same_for_a_seed() -> None:
    def some(seed: int) -> list[str]:
        made = Pictures(seed)
        return [made.next().sha256 for _ in range(6)]
    assert some(1) == some(1)
    assert len({*some(1), *some(2)}) == 12


def test_a_right_answer_breaks_no_promise(service, picture):
    result = service.store(right(service.accept(picture), picture))
    service.answer(picture, result)
    assert service.oracle.settled()
    assert (service.verdict(), service.oracle.final) == ([], 1)


def test_a_job_without_a_result_is_not_settled(service, picture):
    service.accept(picture)
    assert not service.oracle.settled()
    assert service.oracle.wait(time.monotonic()) is None


def test_p1_an_answer_that_comes_too_late_or_never(service, picture):
    result = service.store(right(service.accept(picture), picture))
    service.answer(picture, result, seconds=service.oracle.budget + 1)
    assert any(line.startswith("P1: no end") for line in service.verdict())
    silent = service.history.invoke(picture)
    silent.ended = time.monotonic()
    assert any(line.startswith("P1: no answer") for line in service.verdict())


@pytest.mark.parametrize(("status", "headers", "why"), [
    (500, {}, "P1: 500 for a good image"), (415, {}, "P1: 415 for a good image"),
    (503, {}, "P1: 503 without Retry-After"), (202, {"Location": "x"}, "P1: 202 does not say"),
])
def test_p1_an_answer_that_leaves_the_client_at_a_loss(service, picture, status, headers, why):
    service.answer(picture, None, status, **headers)
    assert any(line.startswith(why) for line in service.verdict())


def test_p1_a_refusal_names_what_was_stored(service, picture):
    service.answer(picture, None, 503, Retry_After="5")
    assert service.verdict() == []
    Objects(service.stack.settings, service.stack.settings.input_bucket).put(
        f"{keys.new_id()}/{picture.name}", b"x")
    assert [line[:30] for line in service.verdict()] == ["P1: 503 without the id of what"]


def test_p2_an_answer_to_a_job_that_the_queue_never_took(service, picture):
    service.answer(picture, right(keys.new_id(), picture))
    assert any(line.startswith("P2: the client holds id") for line in service.verdict())


def test_p2_a_good_image_that_failed(service, picture):
    result = replace(right(service.accept(picture), picture), status=Status.FAILED, predictions=(),
                     error=Failure(code="gave_up", message="no"))
    service.answer(picture, service.store(result))
    assert any(line.startswith("P2: a good image failed: gave_up") for line in service.verdict())


def test_p2_one_upload_that_became_two_jobs(service, picture):
    for _ in range(2):
        service.store(right(service.accept(picture), picture))
    assert f"P2: {picture.name} became 2 jobs" in service.verdict()


def test_p3_a_result_stored_twice_and_changed(service, picture):
    first = service.store(right(service.accept(picture), picture))
    service.answer(picture, first)
    assert service.verdict() == []
    service.store(replace(first, attempts=2))
    said = service.verdict()
    assert any("was stored 2 times" in line for line in said)
    assert any("has changed" in line for line in said)


def test_p3_a_client_that_was_told_something_else(service, picture):
    stored = service.store(right(service.accept(picture), picture))
    service.answer(picture, replace(stored, instance="elsewhere"))
    assert any(line.startswith("P3: the client was told") for line in service.verdict())


def test_p4_answers_that_were_swapped(service, pictures):
    one, two = pictures.next(), pictures.next()
    wrong = replace(right(service.accept(one), one), predictions=right(keys.new_id(), two).predictions)
    service.answer(one, service.store(wrong))
    assert any(line.startswith("P4: the result is") for line in service.verdict())


def test_p5_a_dead_letter_that_belongs_nowhere(service):
    settings = service.stack.settings
    Queue(settings, settings.dead_letter_queue).send("x")
    assert (service.oracle.dead(1), len(service.oracle.dead(0))) == ([], 1)


def test_a_message_sent_twice_is_one_job_delivered_twice(service, picture):
    service.stack.proxy("tier").add(Rule(
        operations={"SendMessageBatch"}, action=Duplicate(), count=1))
    service.accept(picture)
    Queue(service.stack.behind("tier"), service.stack.settings.input_queue).receive(wait=0)
    assert len(service.stack.ledger.accepted) == 1
    assert service.stack.ledger.redelivered == 1
