"""The records of callbacks, in the output bucket.

Those that are still to be made are in one folder and those that are over in another, so that
a look at what is to be done lists nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from irs import errors, log
from irs.domain import keys
from irs.domain.callbacks import Record

#: Folders of the records that are pending and of those that are over.
OPEN, OVER = "callbacks/", "called/"

_log = log.get("callbacks")


class Store(Protocol):
    """The output bucket: `irs.aws.objects.Objects`, as far as it is used here."""

    def put(self, key: str, data: bytes, *, content_type: str = ...,
            replaces: str | None = ...) -> str: ...
    def get_tagged(self, key: str) -> tuple[bytes, str]: ...
    def delete(self, key: str) -> None: ...
    def tags(self, prefix: str = ...) -> Iterator[tuple[str, str]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A record as one process knows it."""

    record: Record
    #: the stored object's
    etag: str
    #: whether this process wrote it last, which makes the next attempt its own
    own: bool


class Records:
    """Methods raise `irs.errors.CloudError`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, record: Record) -> Held:
        """Store a pending record, whatever was there."""
        return Held(record=record, etag=self._put(OPEN, record), own=True)

    def replace(self, held: Held, record: Record) -> Held | None:
        """Store ``record`` in the place of ``held``; None: another process was quicker."""
        try:
            etag = self._put(OPEN, record, replaces=held.etag)
        except errors.NoBucket:
            raise
        except (errors.AlreadyExists, errors.NotFound):
            return None
        return Held(record=record, etag=etag, own=True)

    def end(self, record: Record) -> None:
        """Move a record that is over out of the way; one that has been moved is no error."""
        self._put(OVER, record)
        self._store.delete(_key(OPEN, record.id))

    def read(self, record_id: str, folder: str = OPEN) -> Held | None:
        """A record; None where there is none, or the object is not one."""
        try:
            raw, etag = self._store.get_tagged(_key(folder, record_id))
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return None
        try:
            record = Record.from_json(raw)
        except ValueError as exc:
            _log.warning("callback.invalid", id=record_id, why=str(exc))
            return None
        return Held(record=record, etag=etag, own=False) if record.id == record_id else None

    def find(self, record_id: str) -> Record | None:
        """A record wherever it is. In this order, as one that moves is in both for a moment."""
        held = self.read(record_id) or self.read(record_id, OVER)
        return held and held.record

    def pending(self) -> Iterator[tuple[str, str]]:
        """The id and the ETag of each record that is not over."""
        for key, etag in self._store.tags(OPEN):
            try:
                yield keys.parse_id(key.removeprefix(OPEN).removesuffix(".json")), etag
            except ValueError:
                continue

    def _put(self, folder: str, record: Record, *, replaces: str | None = None) -> str:
        return self._store.put(_key(folder, record.id), record.to_json(),
                               content_type="application/json", replaces=replaces)


def _key(folder: str, record_id: str) -> str:
    return f"{folder}{keys.parse_id(record_id)}.json"
