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
from irs.worker import (
    lifecycle,
    panel,  # noqa: F401 - importing it is what registers its commands
    patience,
    pipeline,
    report,
    traced,
)
from irs.worker.request import unlink

_log = log.get("worker")

lifecycle.install()


# ignore_result: it is stored by then, and Celery's backend has nothing to do (irs.results.backend).
@app.task(name=CLASSIFY, bind=True, shared=False, ignore_result=True,
          Request="irs.worker.request:Request")
def classify(self: Task, *args: Any, **kwargs: Any) -> str:
    """Classify one stored image; returns the result's status, for `celery events`.

    Celery makes a text of what is returned for every task, also where nobody reads it: of
    the whole announcement that took 0.1 ms, and named the user's file besides.

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
    pipeline.current().taken(receives, sent)
    with log.about(id=job.id), traced.processing(job, request, receives) as span:
        try:
            result = patience.outlast(job.id, lambda: pipeline.current().classify(
                job, attempt=receives, reply_to=request.reply_to))
        except patience.Postponed as exc:
            traced.postponed(span, exc)
            raise Reject(str(exc), requeue=True) from None
        traced.finished(span, result)
    report.meter().tally.ended(waited, failed=result.status is Status.FAILED)
    return str(result.status)
