"""A batch's members: read a chunk at a time, listed where they come from an S3 address.

A chunk is only ever created, or replaced conditionally on what was read: who was stalled and
comes back when the batch is another's changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from irs import errors, log
from irs.bulk.ports import Sources
from irs.bulk.store import Batches
from irs.domain import keys
from irs.domain.bulk import CHUNK, LOST, Batch, Member

#: Seconds for which a chunk must be absent or make no sense before its members are given up:
#: time for a person to put back what another person has removed.
PATIENCE = 300.0

_log = log.get("bulk")


class Roll:
    """One batch's. For one thread. Methods raise `errors.CloudError`.

    ``most``: members that a batch may have; ``clock`` gives seconds; ``unsent`` tells which of
    some members have no outcome and none under way.
    """

    def __init__(self, batches: Batches, batch_id: str, *, most: int, clock: Callable[[], float],
                 unsent: Callable[[range], Collection[int]]) -> None:
        self._batches = batches
        self._id = batch_id
        self._most = most
        self._clock = clock
        self._unsent = unsent
        self._number = -1
        self._chunk: list[Member] = []
        self._etag = ""
        #: the chunk that cannot be read, and since when
        self._unreadable = (-1, 0.0)

    def member(self, number: int, batch: Batch) -> Member:
        """The member of that number."""
        return self._members(number // CHUNK, batch)[number % CHUNK]

    def _members(self, chunk: int, batch: Batch) -> list[Member]:
        """The chunk's members, all that ``batch`` says there are."""
        if self._number != chunk:
            try:
                self._chunk, self._etag = self._whole(chunk, batch)
            except errors.NoBucket:
                raise
            except errors.NotFound:
                if not self._hopeless(chunk):
                    raise
                self._chunk, self._etag = self._given_up(chunk, batch)
            self._number, self._unreadable = chunk, (-1, 0.0)
        return self._chunk

    def _whole(self, chunk: int, batch: Batch) -> tuple[list[Member], str]:
        members, etag = self._batches.read_chunk_tagged(self._id, chunk)
        if len(members) < min(CHUNK, batch.total - chunk * CHUNK):
            raise errors.NotFound(f"chunk {chunk} of batch {self._id} has {len(members)} members")
        return members, etag

    def _hopeless(self, chunk: int) -> bool:
        known, since = self._unreadable
        if known != chunk:
            self._unreadable = (chunk, since := self._clock())
        return self._clock() - since >= PATIENCE

    def _given_up(self, chunk: int, batch: Batch) -> tuple[list[Member], str]:
        """A chunk in the place of one that is lost: what was not sent has failed, the rest of the
        batch goes on.
        """
        numbers = range(chunk * CHUNK, min((chunk + 1) * CHUNK, batch.total))
        lost = self._unsent(numbers)
        members = [Member(name=keys.display_name(None), error=LOST if number in lost else None)
                   for number in numbers]
        etag = self._batches.write_chunk(self._id, chunk, members, self._batches.chunk_tag(self._id, chunk))
        _log.error("batch.members_lost", batch=self._id, chunk=chunk, failed=len(lost))
        return members, etag

    def extended(self, batch: Batch, sources: Sources, still: Callable[[], Batch]) -> Batch:
        """``batch`` with the next objects below its address as members.

        ``still`` writes the record, which proves that no other process has the batch and so
        that nobody has written since what is read here before; it returns the record. The
        longer one has to be written before any of them is sent: a number is never another
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
        if new[:room]:
            batch = self._append(batch, new[:room], still)
        return batch if batch.cancelled is not None else replace(
            batch, total=batch.total + len(new[:room]), cursor=found[-1] if found else batch.cursor,
            listed=not more or len(new) > room, truncated=len(new) > room)

    def _append(self, batch: Batch, new: list[Member], still: Callable[[], Batch]) -> Batch:
        """Write them behind those that ``batch`` has; returns its record as it is now."""
        chunk, filled = divmod(batch.total, CHUNK)
        # Another page may follow one that a process wrote and did not live to record.
        members = [*(self._members(chunk, batch)[:filled] if filled else []), *new]
        starts = range(0, len(members), CHUNK)
        tags = [self._batches.chunk_tag(self._id, chunk + start // CHUNK) for start in starts]
        batch = still()
        if batch.cancelled is None:
            for start, etag in zip(starts, tags, strict=True):
                self._batches.write_chunk(
                    self._id, chunk + start // CHUNK, members[start:start + CHUNK], etag)
            self._number = -1
        return batch

    def noted(self, batch: Batch, below: int) -> Batch:
        """``batch`` with its refusals in the chunks, for chunks of which all are below ``below``."""
        ready = {number // CHUNK for number in batch.refused}
        for chunk in sorted(c for c in ready if (c + 1) * CHUNK <= below):
            self._number = -1
            members = list(self._members(chunk, batch))
            mine = {n: why for n, why in batch.refused.items() if n // CHUNK == chunk}
            for number, why in mine.items():
                members[number % CHUNK] = replace(members[number % CHUNK], error=why)
            self._batches.write_chunk(self._id, chunk, members, self._etag)
            self._number = -1
            batch = replace(batch, refused={n: w for n, w in batch.refused.items() if n not in mine})
        return batch
