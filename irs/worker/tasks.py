"""Celery's tasks: thin, the work is in `irs.worker.pipeline`."""

from __future__ import annotations

import time
from typing import Any

from celery import Task
from celery.exceptions import Reject

from irs import log
from irs.broker.envelope import RECEIVES_HEADER, SENT_HEADER
from irs.celery import app
from irs.domain.jobs import Job, Status
from irs.domain.tasks import CLASSIFY
from irs.worker import lifecycle, patience, pipeline, report
from irs.worker.request import unlink

_log = log.get("worker")

lifecycle.install()


@app.task(name=CLASSIFY, bind=True, shared=False, Request="irs.worker.request:Request")
def classify(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Classify one stored image; returns the announcement, for `celery events`.

    Takes what `Job.from_message` takes, and refuses anything else itself: Celery would
    answer a wrong argument with a traceback at each receive.

    A fault of the cloud is waited out. Any other that may pass leaves the message in the
    queue (it comes back after a pause), and the last allowed receive turns it into a named
    failure.
    """
    request = self.request
    unlink(request)
    receives = int(request.get(RECEIVES_HEADER) or 1)
    sent = int(request.get(SENT_HEADER) or 0)
    waited = max(0.0, time.time() - sent / 1000) if sent else None
    try:
        job = Job.from_message(*args, **kwargs)
    except (ValueError, TypeError) as exc:
        # Not sent by us, or by another version: the dead-letter queue shows it to a person.
        _log.warning("job.malformed", id=request.id, why=str(exc)[:200])
        raise Reject(str(exc), requeue=False) from None
    try:
        result = patience.outlast(job.id, lambda: pipeline.current().classify(
            job, attempt=receives, reply_to=request.reply_to))
    except patience.Postponed as exc:
        raise Reject(str(exc), requeue=True) from None
    report.meter().tally.ended(waited, failed=result.status is Status.FAILED)
    return result.announcement()
