"""What the client returns, beside `irs.domain.jobs.Result`: frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from irs.client.errors import ClientError
from irs.domain.jobs import Result, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An image that the service has taken, as it stands now."""

    id: str
    status: Status
    #: None until the status is final
    result: Result | None = None
    #: messages before it in the queue; None where the service cannot tell
    position: int | None = None
    #: seconds until its result; None where the service cannot tell
    estimate_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one image of many: a result, or the error that stands for it."""

    #: the image as it was given
    image: Any
    #: a done result
    result: Result | None = None
    error: ClientError | None = None

    @property
    def ok(self) -> bool:
        """Whether it has a label."""
        return self.result is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Many images as one piece of work, as it stands now."""

    id: str
    #: ``listing``, ``running``, ``done`` or ``cancelled``
    status: str
    #: images so far; all of them once it is listed
    total: int
    #: images by status: queued, done, failed, cancelled
    counts: Mapping[str, int]
    #: since when nothing changes any more; None: it may
    finished: str | None = None
    #: images a second; None where the service cannot tell
    rate: float | None = None
    #: seconds until the last result; None where the service cannot tell
    estimate_seconds: float | None = None
    #: there were more images in S3 than a batch may have: the first ones are in it
    truncated: bool = False

    @property
    def settled(self) -> int:
        """Images whose outcome is final."""
        return sum(self.counts.get(status, 0) for status in Status if status.final)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One image of a batch."""

    #: its place in the batch, from 0 on
    number: int
    #: its job's
    id: str
    #: the file's display name
    image: str
    status: Status
    #: None until the status is final
    result: Result | None = None
    #: ``s3://bucket/key`` where it came from there
    source: str | None = None
