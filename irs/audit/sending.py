"""Putting a job's task on the input queue."""

from __future__ import annotations

from typing import Protocol

from irs import errors
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

    def send(job: Job, *, reply_to: str) -> None:
        try:
            app.send_task(
                tasks.CLASSIFY, args=[job.id, job.key],
                kwargs={"name": job.image, "received": stamp(job.received)},
                task_id=job.id, reply_to=reply_to,
                # What remote control and the logs show: the id, never a user's file name.
                argsrepr=repr((job.id,)), kwargsrepr="{}",
            )
        except OperationalError as exc:
            raise errors.Unreachable(f"the input queue does not answer: {exc}") from exc

    return send
