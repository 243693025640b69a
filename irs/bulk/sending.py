"""One member's way to the queue; for any thread."""

from __future__ import annotations

from irs import errors, log, tracing
from irs.bulk import ports as bulk_ports
from irs.bulk.ports import Ports
from irs.domain import keys
from irs.domain.bulk import Batch, Member
from irs.domain.jobs import Failure, Job, Result

_log = log.get("bulk")


def send(ports: Ports, batch: Batch, job_id: str, member: Member, *,
         unsure: bool) -> Result | Failure | None:
    """Send it, unless it has an outcome already, or is refused: that is returned.

    ``unsure`` where another process may have sent it, so that it may have its result. Raises
    `errors.CloudError`.
    """
    # A trace of each: one of a hundred thousand images nobody could look at.
    with tracing.span("irs.feed", attributes={"irs.job.id": job_id, "irs.batch.id": batch.id},
                      links=[tracing.recall(batch.id)]) as span:
        outcome = _outcome(ports, batch, job_id, member, unsure=unsure)
        if isinstance(outcome, Failure):
            span.set({"error.type": outcome.code})
    return outcome


def _outcome(ports: Ports, batch: Batch, job_id: str, member: Member, *,
             unsure: bool) -> Result | Failure | None:
    if unsure:
        result = ports.results.read(job_id)
        if result is not None:
            return result
    if member.source is not None:
        try:
            with ports.fetching:
                data = ports.sources.at(member.source).read()
                bulk_ports.store(ports.inputs, job_id, member.name, data, ports.limits, batch_id=batch.id)
        except errors.Refused as exc:
            return Failure(code=exc.code, message=str(exc))
    _log.debug("job.accepted", id=job_id, batch=batch.id)
    ports.send(Job(id=job_id, image=member.name, key=keys.input_key(job_id, member.name),
                   received=batch.created))
    return None
