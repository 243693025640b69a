"""Celery's consumer: no broadcasts of its own, and what it cannot read is a dead letter."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker import consumer

from irs import log
from irs.broker.events import HEARTBEAT
from irs.settings import load

_log = log.get("worker")
_errors = logging.getLogger("irs.broker")


class Consumer(consumer.Consumer):
    """Set as ``worker_consumer``.

    Celery deletes a message whose body it cannot decode and logs every other misfit with
    its body, which names a user's file, and a traceback. Here each is left to the redrive
    policy: a person finds it, whole, in the dead-letter queue.

    What it tells and asks others of itself is the settings' to say, however the worker was
    started. Mingle and gossip are for brokers with cheap broadcasts; heartbeats are for
    readers of events.
    """

    class Blueprint(consumer.Consumer.Blueprint):
        """Celery's steps, one of them ours."""

        default_steps = tuple(
            "irs.worker.remote:Control" if step == "celery.worker.consumer.control:Control" else step
            for step in consumer.Consumer.Blueprint.default_steps)

    def __init__(self, *args: Any, worker_options: Any = None, **given: Any) -> None:
        told = load().task_events
        options = {**(worker_options or {}), "without_mingle": True, "without_gossip": True,
                   "without_heartbeat": not told, "heartbeat_interval": HEARTBEAT}
        super().__init__(*args, **{**given, "task_events": told}, worker_options=options)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body is not JSON, or not of a type that is accepted."""
        self._leave(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """No task in it."""
        self._leave(message, "not a task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task that this worker does not have."""
        self._leave(message, f"unknown task {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Arguments that no task could take."""
        self._leave(message, exc)

    def _leave(self, message: Any, why: object) -> None:
        sqs = message.delivery_info.get("sqs_message", {})
        task = (message.headers or {}).get("id")
        _log.warning("task.refused", id=str(task)[:100] if task else None,
                     message=sqs.get("MessageId"), why=str(why)[:200])
        message.reject_log_error(_errors, self.connection_errors)
