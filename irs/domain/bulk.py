"""A batch: its members, its one record, and the arithmetic of both. Pure: no clock, no AWS.

The record is one small object, replaced only conditionally: who writes it holds the batch.
What a member is stands in chunks of `CHUNK` lines beside it, and its job's id follows from
the batch's id and the member's number, so that whatever was interrupted can be done again
without doing it twice.
"""

from __future__ import annotations

import enum
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from irs.domain import keys, reading
from irs.domain.jobs import Failure, stamp
from irs.domain.observing import moment

#: Members in one object of `chunk_key`.
CHUNK = 1_000
#: Version of the record's JSON.
SCHEMA = 1
#: Where a batch's images come from, if not from below an S3 address.
FILES, LIST = "files", "list"
_FOLDER = "batches/"


class Phase(enum.StrEnum):
    """Where a batch stands, as a client sees it."""

    #: the objects below an S3 address are being listed, and sent meanwhile
    LISTING = "listing"
    RUNNING = "running"
    DONE = "done"
    #: nothing more is sent
    CANCELLED = "cancelled"


def folder(batch_id: str) -> str:
    """Where everything about the batch is, in the output bucket."""
    return f"{_FOLDER}{keys.parse_id(batch_id)}/"


def record_key(batch_id: str) -> str:
    """Where its record is."""
    return f"{folder(batch_id)}batch.json"


def chunk_key(batch_id: str, chunk: int) -> str:
    """Where members ``chunk * CHUNK`` and those after them are."""
    return f"{folder(batch_id)}members/{chunk:05}.jsonl"


def member_id(batch_id: str, number: int) -> str:
    """The job id of a member: random to S3, as any other, and the same each time it is asked for."""
    digest = hashlib.sha256(f"{batch_id}/{number}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One image of a batch."""

    #: display name
    name: str
    #: ``s3://bucket/key`` that it is copied from; None: it was uploaded
    source: str | None = None
    #: why it is none: it was refused and nothing is stored of it
    error: Failure | None = None


#: Of a member whose chunk is lost: nobody knows its name any more.
LOST = Failure(code="member_lost", message="the batch's list of its images was lost: send it again")


def chunk_bytes(members: Iterable[Member]) -> bytes:
    """A chunk's object: one JSON line a member."""
    return "".join(_line(member) for member in members).encode()


def _line(member: Member) -> str:
    found: dict[str, Any] = {"name": member.name}
    if member.source is not None:
        found["source"] = member.source
    if member.error is not None:
        found["error"] = {"code": member.error.code, "message": member.error.message}
    return json.dumps(found, ensure_ascii=True, separators=(",", ":")) + "\n"


def members(data: bytes) -> list[Member]:
    """The opposite; raises `ValueError` for anything that is no chunk."""
    try:
        return [Member(name=str(raw["name"]), source=raw.get("source"),
                       error=reading.record(Failure, raw["error"]) if raw.get("error") else None)
                for raw in map(json.loads, data.decode().splitlines())]
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not a chunk of members: {exc!r}") from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """A set of numbers, most of which are absent: a bitmap for each chunk that has any."""

    chunks: Mapping[int, int] = field(default_factory=dict)

    def __contains__(self, number: int) -> bool:
        return bool(self.chunks.get(number // CHUNK, 0) >> number % CHUNK & 1)

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self.chunks.values())

    def with_(self, number: int) -> Flags:
        """The same with ``number``."""
        bits = self.chunks.get(number // CHUNK, 0) | 1 << number % CHUNK
        return Flags(chunks={**self.chunks, number // CHUNK: bits})


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The record. At any time ``sent == done + failed + withdrawn + len(outstanding)``."""

    id: str
    created: datetime
    #: `FILES`, `LIST`, or ``s3://bucket/prefix/``
    source: str
    #: members that are known; all of them once it is ``listed``
    total: int = 0
    listed: bool = True
    #: the last key that was listed
    cursor: str = ""
    #: more objects were there than a batch may have
    truncated: bool = False
    #: the members below this number were sent, or refused
    sent: int = 0
    #: those of them without a result, as far as the holder has heard
    outstanding: tuple[int, ...] = ()
    done: int = 0
    failed: Flags = field(default_factory=Flags)
    #: sent, and cancelled one by one since
    withdrawn: int = 0
    #: members refused when they were to be sent, and not yet noted in their chunk
    refused: Mapping[int, Failure] = field(default_factory=dict)
    #: results a second, of late
    rate: float = 0.0
    #: when it was asked to send nothing more
    cancelled: datetime | None = None
    #: uploads of a cancelled batch below this number are deleted, if they were not sent
    removed: int = 0
    finished: datetime | None = None
    #: the process that feeds it; empty: none, take it
    holder: str = ""
    #: writes so far: no two records are ever alike
    serial: int = 0

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self.cancelled is not None:
            return Phase.CANCELLED
        if self.finished is not None:
            return Phase.DONE
        return Phase.RUNNING if self.listed else Phase.LISTING

    @property
    def settled(self) -> int:
        """Members with an outcome."""
        return self.done + len(self.failed) + self.withdrawn

    @property
    def unsent(self) -> int:
        """Members that are still to be sent."""
        return 0 if self.cancelled is not None else self.total - self.sent

    @property
    def estimate(self) -> float | None:
        """Seconds until it is done; None where nobody can tell."""
        left = self.unsent + len(self.outstanding)
        if not left and self.listed:
            return 0.0
        return left / self.rate if self.rate > 0 and self.listed else None

    def counts(self) -> dict[str, int]:
        """Members by what has become of them."""
        called_off = self.total - self.sent if self.cancelled is not None else 0
        return {"queued": self.total - self.settled - called_off, "done": self.done,
                "failed": len(self.failed), "cancelled": called_off + self.withdrawn}

    def gone(self, number: int) -> bool:
        """Whether the member is cancelled: it was not sent and will not be."""
        return self.cancelled is not None and number >= self.sent

    def to_json(self) -> bytes:
        """The object's bytes."""
        return json.dumps({
            "schema": SCHEMA, "id": self.id, "created": stamp(self.created), "source": self.source,
            "total": self.total, "listed": self.listed, "cursor": self.cursor,
            "truncated": self.truncated, "sent": self.sent, "outstanding": self.outstanding,
            "done": self.done, "withdrawn": self.withdrawn, "rate": round(self.rate, 3),
            "failed": {str(chunk): f"{bits:x}" for chunk, bits in self.failed.chunks.items()},
            "refused": {str(number): [why.code, why.message] for number, why in self.refused.items()},
            "cancelled": self.cancelled and stamp(self.cancelled), "removed": self.removed,
            "finished": self.finished and stamp(self.finished),
            "holder": self.holder, "serial": self.serial,
        }, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Batch:
        """The opposite; raises `ValueError` for anything that is no record."""
        try:
            raw = json.loads(data)
            if int(raw["schema"]) > SCHEMA:
                raise ValueError(f"batch schema {raw['schema']} is newer than {SCHEMA}")
            names = ("total", "listed", "cursor", "truncated", "sent", "done", "withdrawn", "rate",
                     "removed", "holder", "serial")
            return cls(
                id=keys.parse_id(raw["id"]), created=datetime.fromisoformat(raw["created"]),
                source=str(raw["source"]), outstanding=tuple(map(int, raw["outstanding"])),
                failed=Flags(chunks={int(k): int(v, 16) for k, v in raw["failed"].items()}),
                refused={int(k): Failure(code=v[0], message=v[1]) for k, v in raw["refused"].items()},
                cancelled=moment(raw["cancelled"]), finished=moment(raw["finished"]),
                **{name: raw[name] for name in names})
        except (KeyError, TypeError, AttributeError, IndexError) as exc:
            raise ValueError(f"not a batch's record: {exc!r}") from exc
