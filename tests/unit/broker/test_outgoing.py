"""Our message and Celery's own, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from irs import errors, tracing
from irs.audit import sending
from irs.aws.queues import Queue
from irs.broker import outgoing, shared
from irs.domain import tasks
from irs.domain.jobs import Job, stamp
from irs.settings import Settings

ID = "7f3c9d52-6f0e-4c43-9d0a-8f1e2b3c4d5e"
#: A name with all that may come in one, and what SQS does not take.
JOB = Job(id=ID, image="été (1), \"x\" \ufffe 😀.jpg", key=f"{ID}/_t_.jpg",
          received=datetime(2026, 11, 25, 18, tzinfo=UTC))
PLACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
REPLY_TO = "cc21cprk-output-queue-web-0123456789ab"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No sender that has a queue's methods as they were."""
    shared.sender.cache_clear()
    yield
    shared.sender.cache_clear()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bodies that reach the queue."""
    bodies: list[str] = []

    def send_batch(_: Queue, entries: Sequence[tuple[str, int]]) -> list[None]:
        bodies.extend(body for body, _delay in entries)
        return [None] * len(entries)

    monkeypatch.setattr(Queue, "send_batch", send_batch)
    monkeypatch.setattr(Queue, "url", "http://127.0.0.1:9/000000000000/queue")
    return bodies


def parsed(body: str) -> dict[str, Any]:
    """All of a message but what is new with each."""
    found: dict[str, Any] = json.loads(body)
    assert len(found["properties"].pop("delivery_tag")) == 36
    return found | {"body": json.loads(found["body"])}


def test_it_is_the_message_that_celery_sends(sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from irs.celery import app

    monkeypatch.setattr(tracing, "carried", lambda: PLACE)
    sending.sender(Settings())(JOB, reply_to=REPLY_TO)
    app.send_task(tasks.CLASSIFY, args=[JOB.id, JOB.key],
                  kwargs={"name": JOB.image, "received": stamp(JOB.received)},
                  task_id=JOB.id, reply_to=REPLY_TO, headers=PLACE,
                  argsrepr=repr((JOB.id,)), kwargsrepr="{}")
    ours, celery_s = sent
    assert parsed(ours) == parsed(celery_s)
    assert ours.isascii()
    assert len(ours) <= len(celery_s)


def test_each_has_a_tag_of_its_own() -> None:
    tags = {json.loads(outgoing.message("t", ID, [ID], {}, queue="q"))["properties"]["delivery_tag"]
            for _ in range(2)}
    assert len(tags) == 2


@pytest.mark.parametrize(("fault", "why"), [
    (errors.NotFound("no such queue"), "does not exist: `irs doctor` says how to make it"),
    (errors.Throttled("slower"), "the input queue does not answer: slower"),
])
def test_what_keeps_it_from_the_queue_is_said(
        fault: errors.CloudError, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_batch(_: Queue, entries: Sequence[tuple[str, int]]) -> list[None]:
        raise fault

    monkeypatch.setattr(Queue, "send_batch", send_batch)
    with pytest.raises(errors.Unreachable, match=why):
        sending.sender(Settings())(JOB, reply_to="")
