"""Ending a job that nobody wants any more: by its result, as everything else ends it.

The cancellation is a result like any other, written once: whoever stores the first one, a
worker or this, has decided. Then the upload goes, so that a worker that receives the job's
message later has nothing to fetch, finds the result, and deletes the message.
See docs/decisions/0013-cancelling.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from irs import log
from irs.audit import uploads
from irs.audit.sweep import Announce, Results
from irs.domain.jobs import Job, Result, Status, stamp

_log = log.get("audit")


class Inputs(uploads.Inputs, Protocol):
    """The input bucket: `irs.aws.objects.Objects`."""

    def keys(self, prefix: str = ...) -> Iterator[str]: ...
    def delete(self, key: str) -> None: ...


def cancel(job_id: str, inputs: Inputs, results: Results, announce: Announce) -> Result | None:
    """The job's final result: ``cancelled``, unless another was stored first.

    None where there is no such job. Raises `errors.CloudError`; what was begun then is
    finished by another call.
    """
    result = results.read(job_id) or _end(job_id, inputs, results, announce)
    if result is not None and result.status is Status.CANCELLED:
        for key in list(inputs.keys(f"{job_id}/")):
            inputs.delete(key)
    return result


def _end(job_id: str, inputs: Inputs, results: Results, announce: Announce) -> Result | None:
    upload = uploads.look(inputs, job_id)
    if upload is None:
        # Another call may have cancelled it since the first look.
        return results.read(job_id)
    mine = _cancelled(upload.job)
    stored = results.write(mine)
    if stored == mine:
        announce(mine, upload.reply_to)
        _log.info("job.cancelled", id=job_id)
    return stored


def _cancelled(job: Job) -> Result:
    return Result(id=job.id, image=job.image, status=Status.CANCELLED, attempts=0,
                  times={"received": stamp(job.received), "finished": stamp(datetime.now(UTC))})
