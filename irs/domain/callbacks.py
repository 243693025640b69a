"""One callback: what is written down about it, and what each attempt makes of it.

::

    pending ── 2xx ──> delivered
       │ └── 410, or the last of `ATTEMPTS` ──> failed
       └── anything else: pending again, after a pause

The process that wrote a record last attempts it when it is due. One that is still there
`LEFT` seconds later was left behind, and is anybody's: whoever writes it next has it. So a
callback may come twice, and is never forgotten.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from irs.domain import keys
from irs.domain.jobs import stamp

#: Attempts in all. The pauses between them add up to an hour.
ATTEMPTS = 13
#: Seconds of the first pause, which doubles, and of the longest.
FIRST, LONGEST = 5.0, 600.0
#: Part of a pause by which it may be shorter or longer: receivers that were down together
#: need not be called together.
JITTER = 0.2
#: Seconds after which what is due counts as left behind by the process that held it; an
#: attempt takes half of them at most.
LEFT = 30.0
#: Seconds after which a job without a result is not waited for: no dead letter lives longer.
ABANDONED = 14 * 86_400.0
#: HTTP's "gone": the receiver wants no more of this.
GONE = 410
#: What a callback of a single image's job is about; the other kinds have their own words.
IMAGE, BATCH = "image", "batch"

#: Characters of a reason at most.
_MAX_ERROR = 200


class State(enum.StrEnum):
    """Where a callback stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """True when no further attempt is made."""
        return self is not State.PENDING


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one attempt brought: a status, or the reason why there is none."""

    status: int | None = None
    error: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One callback, as it is stored."""

    #: the job's id; the callback's too, however often it is attempted
    id: str
    #: where to; its path and query may hold the client's secrets
    url: str
    created: datetime
    #: when the next attempt is due, or the last one began
    next_at: datetime
    #: the kind of thing that the id names: who knows the payload
    about: str = IMAGE
    state: State = State.PENDING
    #: attempts begun
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None

    def begun(self, now: datetime) -> Record:
        """An attempt begins."""
        return replace(self, attempts=self.attempts + 1, next_at=now)

    def answered(self, answer: Answer, now: datetime, luck: float) -> Record:
        """The attempt that had begun has ended. ``luck``, 0 to 1, is the pause's jitter."""
        error = None if answer.taken else (answer.error or f"answered {answer.status}")[:_MAX_ERROR]
        state = (State.DELIVERED if answer.taken
                 else State.FAILED if answer.status == GONE or self.attempts >= ATTEMPTS
                 else State.PENDING)
        return replace(self, state=state, last_status=answer.status, last_error=error,
                       next_at=now if state.final else now + pause(self.attempts, luck))

    def abandoned(self, now: datetime) -> Record | None:
        """The record's end where its job has had no result for too long; None: it has time."""
        if (now - self.created).total_seconds() < ABANDONED:
            return None
        return replace(self, state=State.FAILED, next_at=now, last_error="there was no result")

    def again(self, now: datetime) -> Record:
        """From the start: for a receiver that is mended."""
        return replace(self, state=State.PENDING, attempts=0, next_at=now)

    def left(self, now: datetime) -> bool:
        """Whether the process that should have attempted it has not."""
        return (now - self.next_at).total_seconds() >= LEFT

    def safe(self, now: datetime) -> bool:
        """Whether its holder can end an attempt before another process may begin one."""
        return (now - self.next_at).total_seconds() < LEFT / 2

    def report(self) -> dict[str, Any]:
        """What a client is told: everything but the URL."""
        out: dict[str, Any] = {"id": self.id, "state": str(self.state), "attempts": self.attempts}
        if self.last_status is not None:
            out["last_status"] = self.last_status
        if self.last_error is not None:
            out["last_error"] = self.last_error
        if self.attempts and not self.state.final:
            out["next_at"] = stamp(self.next_at)
        return out

    def to_json(self) -> bytes:
        """The S3 object's bytes."""
        return json.dumps({
            "id": self.id, "about": self.about, "url": self.url, "state": str(self.state),
            "attempts": self.attempts, "created": stamp(self.created), "next_at": stamp(self.next_at),
            "last_status": self.last_status, "last_error": self.last_error,
        }, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Record:
        """The inverse of `to_json`; raises `ValueError` for anything that is not a record."""
        try:
            data: Mapping[str, Any] = json.loads(raw)
            status, error = data.get("last_status"), data.get("last_error")
            return cls(
                id=keys.parse_id(data["id"]), url=str(data["url"]), about=str(data["about"]),
                created=_moment(data["created"]), next_at=_moment(data["next_at"]),
                state=State(data["state"]), attempts=int(data["attempts"]),
                last_status=None if status is None else int(status),
                last_error=None if error is None else str(error))
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
            raise ValueError(f"not a callback's record: {exc!r}") from exc


def pause(attempts: int, luck: float) -> timedelta:
    """Between the last of so many attempts and the next one."""
    seconds = min(LONGEST, FIRST * 2.0 ** min(attempts - 1, 30))
    return timedelta(seconds=seconds * (1 - JITTER + 2 * JITTER * luck))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a callback's record has a time without a zone")
    return moment
