"""A batch's results, one line a member, in its order; in memory are a chunk and what is read ahead."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from irs.bulk.store import Batches
from irs.domain import bulk, cells, keys
from irs.domain.bulk import CHUNK, Batch, Member
from irs.domain.jobs import Result, Status

#: Results that are read ahead of the line that is written.
READ_AHEAD = 32
#: The columns of a table.
COLUMNS = ("number", "id", "image", "source", "status", "label", "confidence", "error", "message")

#: A line, or None where it is not wanted.
Line = Mapping[str, Any] | None


class Results(Protocol):
    """The results: `irs.results.store.ResultStore`."""

    def read(self, job_id: str) -> Result | None: ...


def lines(batches: Batches, results: Results, batch: Batch, pool: Executor, *,
          status: Status | None = None, start: int = 0) -> Iterator[Mapping[str, Any]]:
    """Each member as JSON, from number ``start`` on, or only those of a ``status``.

    A result is read only where the record does not tell already that it is of another
    status. Raises `irs.errors.CloudError`.
    """
    ahead: deque[Line | Future[Line]] = deque()
    for number, member in _members(batches, batch, start):
        known = {"number": number, "id": bulk.member_id(batch.id, number), "image": member.name,
                 **({"source": member.source} if member.source is not None else {})}
        line = _line(batch, known, member, status)
        ahead.append(pool.submit(_read, results, known, line, status) if isinstance(line, Status) else line)
        if len(ahead) >= READ_AHEAD:
            yield from _ready(ahead.popleft())
    while ahead:
        yield from _ready(ahead.popleft())


def _members(batches: Batches, batch: Batch, start: int) -> Iterator[tuple[int, Member]]:
    for chunk in range(start // CHUNK, -(-batch.total // CHUNK)):
        first = chunk * CHUNK
        for number, member in enumerate(batches.read_chunk(batch.id, chunk), first):
            if start <= number < batch.total:
                yield number, member


def _ready(item: Line | Future[Line]) -> Iterator[Mapping[str, Any]]:
    line = item.result() if isinstance(item, Future) else item
    if line is not None:
        yield line


def _line(batch: Batch, known: Mapping[str, Any], member: Member, wanted: Status | None) -> Line | Status:
    """The member's line, as far as the record tells; where the result has to be read, what to say
    where there is none.
    """
    number: int = known["number"]
    why = member.error or batch.refused.get(number)
    if why is not None:
        error = {"error": {"code": why.code, "message": why.message}}
        return _wanted(known, Status.FAILED, f"error: {why.message}", wanted, error)
    if batch.gone(number):
        return _wanted(known, Status.CANCELLED, "cancelled", wanted)
    if number >= batch.sent:
        return _wanted(known, Status.QUEUED, "queued", wanted)
    told = _told(batch, number)
    if wanted is not None and told is not None and wanted not in told:
        return None
    # What was there and is no more has expired.
    return Status.QUEUED if told is None else Status.UNKNOWN


def _told(batch: Batch, number: int) -> tuple[Status, ...] | None:
    """What the record says of a member that was sent; None: nothing."""
    if number in batch.failed:
        return (Status.FAILED,)
    if number in batch.outstanding:
        return None
    return (Status.DONE, Status.CANCELLED) if batch.withdrawn else (Status.DONE,)


def _read(results: Results, known: Mapping[str, Any], absent: Status, wanted: Status | None) -> Line:
    result = results.read(known["id"])
    if result is None:
        return _wanted(known, absent, str(absent), wanted)
    if wanted is not None and result.status is not wanted:
        return None
    return {**known, **result.as_dict()}


def _wanted(known: Mapping[str, Any], status: Status, text: str, wanted: Status | None,
            more: Mapping[str, Any] | None = None) -> Line:
    if wanted is not None and wanted is not status:
        return None
    return {**known, "status": str(status), "result": f"({keys.in_line(known['image'])}, {text})",
            **(more or {})}


def as_ndjson(found: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """JSON Lines."""
    for line in found:
        yield json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def as_csv(found: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """A table as RFC 4180 describes it, with a line of names; see `irs.domain.cells`."""
    out = io.StringIO()
    rows = csv.writer(out)

    def taken() -> str:
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return text

    rows.writerow(COLUMNS)
    yield taken()
    for line in found:
        best = (line.get("predictions") or [{}])[0]
        error = line.get("error") or {}
        rows.writerow(map(cells.safe, (
            line["number"], line["id"], line["image"], line.get("source", ""), line["status"],
            line.get("label", ""), best.get("confidence", ""), error.get("code", ""),
            error.get("message", ""))))
        yield taken()


def in_blocks(text: Iterator[str], size: int = 65_536,
              encode: Callable[[str], bytes] = str.encode) -> Iterator[bytes]:
    """The same in blocks of about ``size`` bytes, so that not each line is a packet."""
    block: list[bytes] = []
    held = 0
    for piece in text:
        block.append(encode(piece))
        held += len(block[-1])
        if held >= size:
            yield b"".join(block)
            block, held = [], 0
    if block:
        yield b"".join(block)
