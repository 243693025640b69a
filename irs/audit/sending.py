"""Putting a job's task on the input queue."""

from __future__ import annotations

from typing import Protocol

from irs import errors, tracing
from irs.domain import tasks
from irs.domain.jobs import Job, stamp


class Send(Protocol):
    """Puts a task for ``job`` on the input queue; raises `errors.CloudError`."""

    def __call__(self, job: Job, *, reply_to: str) -> None: ...


def celery_sender() -> Send:
    """Sends through Celery. ``reply_to`` may be empty: then nobody in particular is told."""
    # Here, not above: importing the Celery app reads the process's settings.
    from kombu.exceptions import OperationalError

    from irs.celery import app

    queue = app.conf.task_default_queue

    def send(job: Job, *, reply_to: str) -> None:
        around = tracing.place()
        if around is None:
            around = tracing.recall(job.id)  # sent again: it goes on where it was sent first
        else:
            tracing.remember(job.id, around)
        with tracing.span(f"send {queue}", "producer", {
                **tracing.messaging("send", queue), "irs.job.id": job.id}, at=around):
            try:
                app.send_task(
                    tasks.CLASSIFY, args=[job.id, job.key],
                    kwargs={"name": job.image, "received": stamp(job.received)},
                    task_id=job.id, reply_to=reply_to, headers=tracing.carried(),
                    # What remote control and the logs show: the id, never a user's file name.
                    argsrepr=repr((job.id,)), kwargsrepr="{}",
                    # Its consumer has made the queue. kombu would look at each send whether this
                    # connection knows it, a quarter of what a send takes without SQS.
                    declare=(),
                )
            except OperationalError as exc:
                raise errors.Unreachable(f"the input queue does not answer: {exc}") from exc

    return send
