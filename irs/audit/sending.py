"""Putting a job's task on the input queue."""

from __future__ import annotations

from typing import Protocol

from irs import errors, tracing
from irs.broker import outgoing, shared
from irs.domain import tasks
from irs.domain.jobs import Job, stamp
from irs.settings import Settings


class Send(Protocol):
    """Puts a task for ``job`` on the input queue; raises `errors.CloudError`."""

    def __call__(self, job: Job, *, reply_to: str) -> None: ...


def sender(settings: Settings) -> Send:
    """Sends as Celery would. ``reply_to`` may be empty: then nobody in particular is told."""
    name = settings.input_queue
    queue = shared.queue(settings, name)
    combiner = shared.sender(queue)

    def send(job: Job, *, reply_to: str) -> None:
        around = tracing.place()
        if around is None:
            around = tracing.recall(job.id)  # sent again: it goes on where it was sent first
        else:
            tracing.remember(job.id, around)
        with tracing.span(f"send {name}", "producer", {
                **tracing.messaging("send", name), "irs.job.id": job.id}, at=around):
            body = outgoing.message(
                tasks.CLASSIFY, job.id, [job.id, job.key],
                {"name": job.image, "received": stamp(job.received)},
                queue=name, reply_to=reply_to, headers=tracing.carried())
            try:
                combiner.submit((body, 0), len(body.encode()))
            except errors.NotFound as exc:
                # Made here it would lack its redrive policy: `irs up` makes it, or the stack.
                raise errors.Unreachable(
                    f"queue {name} does not exist: `irs doctor` says how to make it") from exc
            except errors.CloudError as exc:
                raise errors.Unreachable(f"the input queue does not answer: {exc}") from exc

    return send
