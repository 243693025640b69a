"""What a worker's part of a trace says: one span for each receive of a job's message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from irs import tracing
from irs.broker.envelope import MESSAGE_HEADER, RECEIVED_HEADER
from irs.domain.jobs import OWN_FAULT, Job, Result
from irs.settings import load
from irs.tracing import Span
from irs.worker.patience import Postponed


def processing(job: Job, request: Any, attempt: int) -> Span:
    """The span of this attempt, below the send of the message; a trace of its own where that has none.

    ``request`` is Celery's: what the message's headers hold, which anybody may have written.
    """
    if not tracing.on():
        return tracing.NOWHERE
    sent = tracing.read({name: request.get(name) for name in tracing.HEADERS})
    queue = load().input_queue
    told = {"messaging.message.id": request.get(MESSAGE_HEADER), "irs.job.id": job.id,
            "irs.attempt": attempt}
    # It was here already, and waited for a thread.
    tracing.span(f"receive {queue}", "client", {**tracing.messaging("receive", queue), **told},
                 at=sent, since=request.get(RECEIVED_HEADER), inner=True).end()
    return tracing.span(f"process {queue}", "consumer", {
        **tracing.messaging("process", queue), **told,
        "irs.age": (datetime.now(UTC) - job.received).total_seconds()}, at=sent)


def postponed(span: Span, why: Postponed) -> None:
    """No result this time; the message comes back."""
    span.fail(type(why.__cause__ or why).__name__)


def finished(span: Span, result: Result) -> None:
    """The job has a result. A refused image is one, too, and no error of ours."""
    span.set({"irs.status": str(result.status)})
    if result.model is not None:
        span.set({"irs.model.name": result.model.name, "irs.model.version": result.model.version,
                  "irs.model.engine": result.model.engine})
    if result.error is not None:
        if result.error.code in OWN_FAULT:
            span.fail(result.error.code)
        else:
            span.set({"error.type": result.error.code})
