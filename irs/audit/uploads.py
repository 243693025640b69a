"""A job from its stored upload, when its message is no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from irs import errors, tracing
from irs.aws.objects import Entry
from irs.domain import keys
from irs.domain.jobs import Job

#: The upload's metadata: its display name, and whom its sender wanted told of the result.
NAME, REPLY_TO = "name", "reply-to"
#: The same, of a batch's: which batch it is. `irs.tracing.TRACEPARENT` is another, where traces are on.
BATCH = "batch"


class Inputs(Protocol):
    """The input bucket: `irs.aws.objects.Objects`, as far as it is used here."""

    def entries(self, prefix: str = ...) -> Iterator[Entry]: ...
    def metadata(self, key: str) -> dict[str, str]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One upload."""

    #: the job as it was sent, or nearly so
    job: Job
    #: the reply queue of the web process that took it; empty where it does not say
    reply_to: str = ""
    #: the batch that it is a member of; empty: of none. Its feeder sends it, when its turn comes.
    batch: str = ""


def trace() -> dict[str, str]:
    """What an upload's metadata says of where this thread is; S3 gives them 2 kB in all."""
    carried = tracing.carried()
    return {name: carried[name] for name in (tracing.TRACEPARENT,) if name in carried}


def find(inputs: Inputs, job_id: str) -> Job | None:
    """The job as it was sent, or nearly so; None where no upload of that id is stored.

    Raises `errors.CloudError`.
    """
    found = look(inputs, job_id)
    return found.job if found is not None else None


def look(inputs: Inputs, job_id: str) -> Stored | None:
    """The same, with whom to tell."""
    try:
        entry = next(iter(inputs.entries(f"{job_id}/")), None)
        if entry is None:
            return None
        told = inputs.metadata(entry.key)
    except errors.NoBucket:
        raise
    except errors.NotFound:
        return None
    if tracing.recall(job_id) is None:
        tracing.remember(job_id, tracing.read(told))
    name = told.get(NAME) or entry.key.rpartition("/")[2]
    return Stored(reply_to=told.get(REPLY_TO, ""), batch=told.get(BATCH, ""), job=Job(
        id=job_id, image=keys.display_name(name), key=entry.key, received=entry.modified))
