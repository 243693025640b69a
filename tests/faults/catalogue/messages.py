"""Faults of what is in the queue: messages that vanish, and messages that are none of ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from irs.aws import provision
from irs.aws.queues import Queue
from irs.domain import keys, tasks
from irs.testing.proxy import Answer, Injection, Rule
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness.stack import Stack
from tests.processes import until

#: Messages that must be in the queue before it loses them, and seconds for that.
SOME, PATIENCE = 4, 30.0


# -- messages that vanish ---------------------------------------------------------------------
def _purge(queue: Queue) -> None:
    queue.purge()


def _drop(queue: Queue) -> None:
    queue.drop()


def _expire(queue: Queue) -> None:
    """What the end of their retention does to messages: they are gone, and nobody had them."""
    while messages := queue.receive(wait=1, visibility=30):
        queue.delete_batch([message.receipt for message in messages])


@dataclass(frozen=True, kw_only=True, eq=False)
class Vanish(Fault):
    """The input queue loses all that waits in it."""

    number: int = 21
    how: Callable[[Queue], None]
    settings: Any = field(default_factory=lambda: {"requeue_after": 5.0})
    # At a stack's usual IRS_REQUEUE_AFTER the clients of a pair would not be answered in time.
    pairs: bool = False

    def inject(self, stack: Stack) -> Active:
        return _Vanishing(stack, self.how).begin()


class _Vanishing:
    def __init__(self, stack: Stack, how: Callable[[Queue], None]) -> None:
        self._stack = stack
        self._how = how
        self._deaf: Injection | None = None
        self.fired = 0

    def begin(self) -> Self:
        settings = self._stack.settings
        queue = Queue(settings, settings.input_queue)
        self._deaf = self._stack.proxy("worker").add(Rule(
            service="sqs", operations={"ReceiveMessage"}, target=settings.input_queue,
            action=Answer(503, "ServiceUnavailable")))
        self.fired = until(lambda: (n := queue.depth().visible) >= SOME and n, PATIENCE, "messages")
        self._how(queue)
        return self

    def clear(self) -> None:
        # A queue that somebody has deleted, somebody makes again.
        provision.ensure(self._stack.settings)
        assert self._deaf is not None
        self._deaf.clear()


# -- messages that are none of ours -----------------------------------------------------------
def task(*, task: str = tasks.CLASSIFY, args: Any = None, kwargs: Any = None, **headers: Any) -> str:
    """A message as Celery sends it, with what is wrong in place of what is right."""
    job = keys.new_id()
    sent = [job, keys.input_key(job, "x.jpg")] if args is None else args
    named = {"name": "x.jpg", "received": "2026-01-01T00:00:00Z"} if kwargs is None else kwargs
    body = json.dumps([sent, named, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps({
        "body": base64.b64encode(body.encode()).decode(), "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": job, "root_id": job, "retries": 0} | headers,
        "properties": {"correlation_id": job, "reply_to": "", "delivery_mode": 2, "priority": 0,
                       "delivery_info": {"exchange": "", "routing_key": "celery"},
                       "body_encoding": "base64", "delivery_tag": job}})


def _changed(**fields: Any) -> str:
    return json.dumps({**json.loads(task()), **fields})


def garbage() -> list[str]:
    """What an input queue may hold when somebody else, or another version, sends to it."""
    id_ = keys.new_id()
    return [
        "not JSON at all", "{}", "[]", "null", '"text"', "0", "[" * 5_000, "x" * 200_000, "\u2028 é 漢",
        json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}),
        _changed(body="&&& not base64"), _changed(body=None), _changed(properties=[]), _changed(headers=7),
        _changed(**{"content-type": "application/x-python-serialize"}),
        task(task="irs.no_such_task"), task(task="celery.backend_cleanup"), task(task="os.system"),
        task(args=[]), task(args=[id_]), task(args=[1, 2]), task(args=[id_, "../../etc/passwd"]),
        task(args=[id_, f"{keys.new_id()}/somebody-elses.jpg"]), task(kwargs={"name": 5}),
        task(kwargs={"version": 99}), task(args={"id": id_}), task(id=["list"]),
        # Celery's first protocol.
        json.dumps({"task": tasks.CLASSIFY, "id": id_, "args": [], "kwargs": {}}),
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Garbage(Fault):
    """Messages that no version of ours has sent, straight onto the input queue."""

    def inject(self, stack: Stack) -> Active:
        queue = Queue(stack.settings, stack.settings.input_queue)
        bodies = garbage()
        for body in bodies:
            queue.send(body)
        return _Sent(len(bodies))


class _Sent:
    """Over as soon as it has begun."""

    def __init__(self, fired: int) -> None:
        self.fired = fired

    def clear(self) -> None:
        """Nothing to give back: the queue gets rid of them by itself."""


FAULTS: tuple[Fault, ...] = (
    Vanish(name="queue-purged", how=_purge, seconds=12.0),
    Vanish(name="queue-deleted", how=_drop, seconds=12.0),
    Vanish(name="messages-expired", how=_expire, seconds=14.0),
    Garbage(number=24, name="garbage-messages", dead=len(garbage()),
            settings={"max_receive_count": 3}, pairs=False),
)
