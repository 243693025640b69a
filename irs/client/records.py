"""What the client returns, beside `irs.domain.jobs.Result`: frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    #: jobs by status: queued, done, failed, cancelled
    counts: Mapping[str, int]
    #: images a second; None where the service cannot tell
    rate: float | None = None
    #: seconds until the last result; None where the service cannot tell
    estimate_seconds: float | None = None

    @property
    def finished(self) -> int:
        """Images whose outcome is final."""
        return sum(self.counts.get(status, 0) for status in Status if status.final)

    @property
    def final(self) -> bool:
        """Whether nothing will change any more. What a cancelled batch had begun is still finished."""
        return self.status == Status.DONE or (
            self.status == Status.CANCELLED and not self.counts.get(Status.QUEUED, 0))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"id": self.id, "status": self.status, "total": self.total,
                "counts": dict(self.counts), "rate": self.rate,
                "estimate_seconds": self.estimate_seconds}
