"""What became of one file of a request, and what that makes of the request's status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Failure, Result, Status

#: HTTP status of a refusal or a stored failure; any other code is the service's own fault.
_STATUS: dict[str, int] = {
    kind.code: kind.status
    for kind in (errors.BadRequest, errors.NoFile, errors.BucketNotAllowed, errors.ObjectDenied,
                 errors.NoSuchObject, errors.NoSuchUpload, errors.NotUploaded, errors.TooLarge,
                 errors.UnsupportedFormat, errors.Undecodable, errors.IdempotencyConflict)
}
#: The code of an outcome that the cloud's state caused, not the file.
UNAVAILABLE = "unavailable"
#: The code of a job that fell out of the queue and cannot be sent again now.
LOST = "lost"
LOST_MESSAGE = "the queue has lost the image and does not take it again yet, ask later"
#: Codes that are their outcome's kind, and its HTTP status.
_KINDS = {UNAVAILABLE: 503, LOST: 504}
#: Of a job that somebody cancelled: gone, and asking again will not bring it back.
CANCELLED = Failure(code=str(Status.CANCELLED), message="the job was cancelled")
_STATUS[CANCELLED.code] = 410


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a queued job stands, as far as SQS's approximate counts can tell."""

    #: jobs that may run before it, itself included; 0: probably running
    position: int
    #: until its result, at the pace of this process's last minute; None: no pace known
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One file: a result, an error, or neither, which is a job that is still queued."""

    #: the file's display name
    image: str
    #: the job, where there is one
    id: str | None = None
    result: Result | None = None
    error: Failure | None = None
    place: Place | None = None

    @property
    def kind(self) -> str:
        """``done``, ``failed``, ``cancelled``, ``queued``, ``refused``, ``unavailable`` or ``lost``."""
        if self.result is not None:
            return str(self.result.status)
        if self.error is None:
            return str(Status.QUEUED)
        return self.error.code if self.error.code in _KINDS else "refused"

    @property
    def failure(self) -> Failure | None:
        """Why there is no label and will be none."""
        if self.error is not None:
            return self.error
        if self.result is None:
            return None
        return CANCELLED if self.result.status is Status.CANCELLED else self.result.error

    @property
    def status(self) -> int:
        """The HTTP status of a request with this file alone."""
        if self.kind == Status.QUEUED:
            return 202
        if self.kind in _KINDS:
            return _KINDS[self.kind]
        failure = self.failure
        return 200 if failure is None else _STATUS.get(failure.code, 500)

    @property
    def location(self) -> str | None:
        """Where to ask for the job."""
        return f"/v1/images/{self.id}" if self.id else None

    @property
    def line(self) -> str:
        """``(test_0, tench)``, ``(test_0, error: reason)`` or ``(test_0, queued: …)``."""
        if self.result is not None:
            return self.result.line
        name = keys.in_line(self.image)
        if self.error is not None:
            job = f" (id {self.id})" if self.id else ""
            return f"({name}, error: {self.error.message}{job})"
        return f"({name}, queued: id {self.id}{describe(self.place)}, ask {self.location})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the result itself where there is one."""
        if self.result is not None:
            return self.result.as_dict()
        out: dict[str, Any] = {"image": self.image, "status": self.kind, "result": self.line}
        if self.id:
            out = {"id": self.id, **out, "location": self.location}
        if self.error is not None:
            out["error"] = {"code": self.error.code, "message": self.error.message}
        return out | place_dict(self.place)


def describe(place: Place | None) -> str:
    """``, about 12 in the queue, about 5 s``; empty where nothing is known."""
    if place is None:
        return ""
    where = f", about {place.position} in the queue" if place.position else ", next or running"
    return where + (f", about {max(1, round(place.seconds))} s" if place.seconds is not None else "")


def place_dict(place: Place | None) -> dict[str, Any]:
    """``position`` and ``estimate_seconds``, as far as they are known."""
    if place is None:
        return {}
    out: dict[str, Any] = {"position": place.position}
    if place.seconds is not None:
        out["estimate_seconds"] = round(place.seconds, 1)
    return out


def overall(outcomes: Sequence[Outcome]) -> int:
    """The HTTP status of a request with these files.

    202 while any is queued: a client that takes 200 for "all there" is never wrong. Else
    200 if any was classified, else the first refusal's own.
    """
    statuses = [outcome.status for outcome in outcomes]
    if 202 in statuses:
        return 202
    return 200 if 200 in statuses else statuses[0]
