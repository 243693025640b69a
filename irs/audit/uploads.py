"""A job from its stored upload, when its message is no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from irs import errors
from irs.aws.objects import Entry
from irs.domain import keys
from irs.domain.jobs import Job


class Inputs(Protocol):
    """The input bucket: `irs.aws.objects.Objects`, as far as it is used here."""

    def entries(self, prefix: str = ...) -> Iterator[Entry]: ...
    def metadata(self, key: str) -> dict[str, str]: ...


def find(inputs: Inputs, job_id: str) -> Job | None:
    """The job as it was sent, or nearly so; None where no upload of that id is stored.

    Raises `errors.CloudError`.
    """
    try:
        entry = next(iter(inputs.entries(f"{job_id}/")), None)
        if entry is None:
            return None
        name = inputs.metadata(entry.key).get("name") or entry.key.rpartition("/")[2]
    except errors.NoBucket:
        raise
    except errors.NotFound:
        return None
    return Job(id=job_id, image=keys.display_name(name), key=entry.key, received=entry.modified)
