"""A batch's members: read a chunk at a time, listed where they come from an S3 address."""

from __future__ import annotations

from dataclasses import replace

from irs import errors, log
from irs.bulk.ports import Sources
from irs.bulk.store import Batches
from irs.domain import keys
from irs.domain.bulk import CHUNK, Batch, Member

_log = log.get("bulk")


class Roll:
    """One batch's. For one thread. Methods raise `errors.CloudError`."""

    def __init__(self, batches: Batches, batch_id: str, *, most: int) -> None:
        """``most``: members that a batch may have."""
        self._batches = batches
        self._id = batch_id
        self._most = most
        self._number = -1
        self._chunk: list[Member] = []

    def member(self, number: int) -> Member:
        """The member of that number."""
        return self._members(number // CHUNK)[number % CHUNK]

    def _members(self, chunk: int) -> list[Member]:
        if self._number != chunk:
            self._chunk = self._batches.read_chunk(self._id, chunk)
            self._number = chunk
        return self._chunk

    def extended(self, batch: Batch, sources: Sources) -> Batch:
        """``batch`` with the next objects below its address as members.

        The record has to be written before any of them is sent: a number is never another
        object's.
        """
        try:
            found = sources.below(batch.source, batch.cursor, CHUNK)
        except (errors.Refused, errors.Permanent) as exc:
            # It could be listed when the batch was made.
            _log.warning("batch.listing_refused", batch=batch.id, why=str(exc))
            return replace(batch, listed=True, truncated=True)
        bucket = batch.source.removeprefix("s3://").partition("/")[0]
        # What consoles make for a folder is no image.
        new = [Member(name=keys.display_name(key.rpartition("/")[2]), source=f"s3://{bucket}/{key}")
               for key in found if not key.endswith("/")]
        more = len(found) == CHUNK
        room = self._most - batch.total
        self._append(batch.total, new[:room])
        return replace(
            batch, total=batch.total + len(new[:room]), cursor=found[-1] if found else batch.cursor,
            listed=not more or len(new) > room, truncated=len(new) > room)

    def _append(self, total: int, new: list[Member]) -> None:
        chunk, filled = divmod(total, CHUNK)
        # Another page may follow one that a process wrote and did not live to record.
        members = [*(self._members(chunk)[:filled] if filled else []), *new]
        for start in range(0, len(members), CHUNK):
            self._batches.write_chunk(self._id, chunk + start // CHUNK, members[start:start + CHUNK])
        self._number = -1

    def noted(self, batch: Batch, below: int) -> Batch:
        """``batch`` with its refusals in the chunks, for chunks of which all are below ``below``."""
        ready = {number // CHUNK for number in batch.refused}
        for chunk in sorted(c for c in ready if (c + 1) * CHUNK <= below):
            members = list(self._batches.read_chunk(self._id, chunk))
            mine = {n: why for n, why in batch.refused.items() if n // CHUNK == chunk}
            for number, why in mine.items():
                members[number % CHUNK] = replace(members[number % CHUNK], error=why)
            self._batches.write_chunk(self._id, chunk, members)
            self._number = -1
            batch = replace(batch, refused={n: w for n, w in batch.refused.items() if n not in mine})
        return batch
