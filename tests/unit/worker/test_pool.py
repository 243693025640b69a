"""The pool and the consumer: no message is kept without anybody knowing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from celery.exceptions import Reject

from irs.worker.consumer import Consumer
from irs.worker.pool import TaskPool


@pytest.mark.parametrize("error", [ValueError("no argument list"), MemoryError(), RecursionError()])
def test_what_fails_outside_its_task_is_a_rejection(error: Exception) -> None:
    def target(*_: Any) -> Any:
        raise error

    told: list[Any] = []
    done = threading.Event()
    pool = TaskPool(limit=1)
    pool.on_apply(target, ("task", "id"), {}, lambda value: (told.append(value), done.set()))
    assert done.wait(5)
    pool.on_stop()
    ((failed, value, _seconds),) = told
    assert failed
    # Celery takes it out of billiard's wrapping in the same way.
    rejection = getattr(value.exception, "exc", value.exception)
    assert isinstance(rejection, Reject)
    assert rejection.requeue


def test_what_succeeds_passes_through() -> None:
    told: list[Any] = []
    pool = TaskPool(limit=1)
    pool.on_apply(lambda *args, **kwargs: (0, (args, kwargs), 0.1), (1,), {"a": 2}, told.append)
    pool.on_stop()
    assert told == [(0, ((1,), {"a": 2}), 0.1)]


class Message:
    """Notes how it is settled."""

    def __init__(self) -> None:
        self.delivery_info = {"sqs_message": {"MessageId": "m-1"}}
        self.headers = {"id": "7f3c"}
        self.body = "user's secret.jpg"
        self.settled: list[str] = []

    def ack(self) -> None:
        self.settled.append("ack")

    def reject_log_error(self, *_: Any) -> None:
        self.settled.append("reject")


@pytest.mark.parametrize(("name", "arguments"), [
    ("on_decode_error", lambda m: (m, ValueError("no JSON"))),
    ("on_unknown_message", lambda m: (None, m)),
    ("on_unknown_task", lambda m: (None, m, KeyError("no.such"))),
    ("on_invalid_task", lambda m: (None, m, ValueError("x"))),
])
def test_what_cannot_be_read_is_left_to_the_dead_letter_queue(
        name: str, arguments: Any, events: list[Any]) -> None:
    consumer = Consumer.__new__(Consumer)
    consumer.connection_errors = ()
    message = Message()
    getattr(consumer, name)(*arguments(message))
    assert message.settled == ["reject"]
    assert [(event["event"], event["id"]) for event in events] == [("task.refused", "7f3c")]
    assert "secret.jpg" not in str(events)
    assert not any("exc_info" in event for event in events)
