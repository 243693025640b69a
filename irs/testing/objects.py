"""An S3 bucket in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from irs import errors
from irs.testing.clock import FakeClock, SystemClock


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object, as a test wants to look at it."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]
    modified: datetime


class MemoryObjects:
    """The methods of `irs.aws.objects.Objects`, kept in a dictionary."""

    def __init__(self, bucket: str = "memory", *, clock: FakeClock | SystemClock | None = None) -> None:
        self.bucket = bucket
        #: key to object, for a test to read
        self.stored: dict[str, StoredObject] = {}
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream",
            metadata: Mapping[str, str] | None = None, create: bool = False) -> None:
        """Write one object, whole; ``create`` raises `errors.AlreadyExists` over another."""
        new = StoredObject(data=bytes(data), content_type=content_type,
                           metadata=dict(metadata or {}), modified=self._clock.now())
        with self._lock:
            if create and key in self.stored:
                raise errors.AlreadyExists(
                    f"S3 PUT to {self.bucket}: already there", code="PreconditionFailed")
            self.stored[key] = new

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes; raises `errors.NotFound`, and `errors.TooLarge` beyond ``max_bytes``."""
        with self._lock:
            found = self.stored.get(key)
        if found is None:
            raise errors.NotFound(f"S3 GET from {self.bucket}: not found", code="NoSuchKey")
        if max_bytes is not None and len(found.data) > max_bytes:
            raise errors.TooLarge(f"object of {len(found.data)} bytes; the limit is {max_bytes}")
        return found.data

    def exists(self, key: str) -> bool:
        """Whether the object is there now."""
        return self.modified(key) is not None

    def modified(self, key: str) -> datetime | None:
        """When the object was last written; None where there is none."""
        with self._lock:
            found = self.stored.get(key)
        return found.modified if found else None

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        with self._lock:
            self.stored.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys below ``prefix``, which ends at a slash or is empty."""
        folder = prefix.rstrip("/") + "/" if prefix else ""
        with self._lock:
            found = sorted(key for key in self.stored if key.startswith(folder))
        yield from found
