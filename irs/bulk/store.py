"""Batches in the output bucket: records, chunks of members, and the list of those that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from irs import errors, log
from irs.aws.objects import Entry
from irs.domain import bulk, keys, pacing
from irs.domain.bulk import Batch, Member
from irs.domain.pacing import Backlog

_log = log.get("bulk")


class Records(Protocol):
    """The output bucket: `irs.aws.objects.Objects`, as far as batches use it."""

    def put(self, key: str, data: bytes, *, content_type: str = ..., create: bool = ...,
            replaces: str | None = ...) -> str: ...
    def get(self, key: str, *, max_bytes: int | None = ...) -> bytes: ...
    def get_tagged(self, key: str) -> tuple[bytes, str]: ...
    def delete(self, key: str) -> None: ...
    def entries(self, prefix: str = ...) -> Iterator[Entry]: ...


class Batches:
    """Methods raise `irs.errors.CloudError`; what is there and makes no sense counts as absent."""

    def __init__(self, records: Records, cluster: str) -> None:
        self._records = records
        self._cluster = cluster

    # -- the record ----------------------------------------------------------------------------
    def read(self, batch_id: str) -> Batch | None:
        """The batch; None where there is none."""
        found = self.read_tagged(batch_id)
        return found and found[0]

    def read_tagged(self, batch_id: str) -> tuple[Batch, str] | None:
        """The same with the ETag that a write replaces."""
        try:
            data, etag = self._records.get_tagged(bulk.record_key(batch_id))
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return None
        try:
            return Batch.from_json(data), etag
        except ValueError as exc:
            _log.error("batch.unreadable", batch=batch_id, why=str(exc))
            return None

    def create(self, batch: Batch) -> Batch:
        """Store a batch whose members are stored; what is there already stays, and is returned."""
        try:
            self._put(batch, create=True)
            return batch
        except errors.AlreadyExists:
            # Of another who was told to make the same one, or of a write whose answer was lost.
            return self.read(batch.id) or batch

    def replace(self, batch: Batch, etag: str) -> str:
        """Store it over what was read with ``etag``; raises `errors.AlreadyExists` over any other."""
        return self._put(batch, replaces=etag)

    def _put(self, batch: Batch, *, create: bool = False, replaces: str | None = None) -> str:
        return self._records.put(bulk.record_key(batch.id), batch.to_json(),
                                 content_type="application/json", create=create, replaces=replaces)

    # -- members -------------------------------------------------------------------------------
    def write_chunk(self, batch_id: str, chunk: int, members: Sequence[Member],
                    replaces: str | None = None) -> str:
        """Store ``members``, which are those of this chunk; returns its ETag.

        Over what was read with the ETag ``replaces``, without one where nothing is; raises
        `errors.AlreadyExists` over anything else.
        """
        return self._records.put(bulk.chunk_key(batch_id, chunk), bulk.chunk_bytes(members),
                                 content_type="application/x-ndjson", create=replaces is None,
                                 replaces=replaces)

    def read_chunk(self, batch_id: str, chunk: int) -> list[Member]:
        """The chunk's members; raises `errors.NotFound` where it is not there or makes no sense."""
        return self.read_chunk_tagged(batch_id, chunk)[0]

    def read_chunk_tagged(self, batch_id: str, chunk: int) -> tuple[list[Member], str]:
        """The same with the ETag that a write replaces."""
        data, etag = self._records.get_tagged(bulk.chunk_key(batch_id, chunk))
        try:
            return bulk.members(data), etag
        except ValueError as exc:
            raise errors.NotFound(f"chunk {chunk} of batch {batch_id}: {exc}") from exc

    def chunk_tag(self, batch_id: str, chunk: int) -> str | None:
        """The ETag of whatever is in the chunk's place; None: nothing is."""
        try:
            return self._records.get_tagged(bulk.chunk_key(batch_id, chunk))[1]
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return None

    def drop_chunk(self, batch_id: str, chunk: int) -> None:
        """Remove the chunk: there will be no batch."""
        self._records.delete(bulk.chunk_key(batch_id, chunk))

    # -- those that run ------------------------------------------------------------------------
    def tell(self, batch_id: str, backlog: Backlog) -> None:
        """Say that the batch runs, and what of it is not on the queue yet."""
        self._records.put(pacing.backlog_key(self._cluster, batch_id), backlog.to_json(),
                          content_type="application/json")

    def told(self, batch_id: str) -> Backlog | None:
        """What was last said of it; None where it does not run."""
        try:
            return Backlog.from_json(self._records.get(
                pacing.backlog_key(self._cluster, batch_id), max_bytes=10_000))
        except (errors.NotFound, errors.TooLarge, ValueError):
            return None

    def ended(self, batch_id: str) -> None:
        """Say that it runs no more."""
        self._records.delete(pacing.backlog_key(self._cluster, batch_id))

    def running(self) -> Iterator[tuple[str, datetime]]:
        """The ids of batches that run or are being made, and when each was last told of. One LIST."""
        for entry in self._records.entries(pacing.backlog_folder(self._cluster)):
            try:
                yield keys.parse_id(entry.key.rpartition("/")[2].removesuffix(".json")), entry.modified
            except ValueError:
                _log.warning("batch.stray", key=entry.key)
