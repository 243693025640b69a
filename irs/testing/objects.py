"""An S3 bucket in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from irs import errors
from irs.aws.objects import Entry
from irs.testing.clock import FakeClock, SystemClock


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object, as a test wants to look at it."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]
    modified: datetime

    @property
    def etag(self) -> str:
        """As S3's for an object that was put whole: the MD5 of its bytes, quoted."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class MemoryObjects:
    """The methods of `irs.aws.objects.Objects`, kept in a dictionary."""

    def __init__(self, bucket: str = "memory", *, clock: FakeClock | SystemClock | None = None) -> None:
        self.bucket = bucket
        #: key to object, for a test to read
        self.stored: dict[str, StoredObject] = {}
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream",
            metadata: Mapping[str, str] | None = None, create: bool = False,
            replaces: str | None = None) -> str:
        """Write one object, whole, and return its ETag.

        ``create`` raises `errors.AlreadyExists` over another, ``replaces`` over any but
        the one of that ETag.
        """
        new = StoredObject(data=bytes(data), content_type=content_type,
                           metadata=dict(metadata or {}), modified=self._clock.now())
        with self._lock:
            if create and key in self.stored:
                raise errors.AlreadyExists(
                    f"S3 PUT to {self.bucket}: already there", code="PreconditionFailed")
            if replaces and (key not in self.stored or self.stored[key].etag != replaces):
                raise errors.AlreadyExists(
                    f"S3 PUT to {self.bucket}: it has changed", code="PreconditionFailed")
            self.stored[key] = new
        return new.etag

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes; raises `errors.NotFound`, and `errors.TooLarge` beyond ``max_bytes``."""
        with self._lock:
            found = self.stored.get(key)
        if found is None:
            raise errors.NotFound(f"S3 GET from {self.bucket}: not found", code="NoSuchKey")
        if max_bytes is not None and len(found.data) > max_bytes:
            raise errors.TooLarge(f"object of {len(found.data)} bytes; the limit is {max_bytes}")
        return found.data

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """The object's bytes and ETag; raises `errors.NotFound`."""
        data = self.get(key)
        return data, StoredObject(data=data, content_type="", metadata={},
                                  modified=self._clock.now()).etag

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

    def metadata(self, key: str) -> dict[str, str]:
        """What `put` was given as ``metadata``; raises `errors.NotFound`."""
        self.get(key)
        return dict(self.stored[key].metadata)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Objects below ``prefix``, in the order of their keys."""
        for key in self.keys(prefix):
            yield Entry(key=key, modified=self.stored[key].modified)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys below ``prefix``, which ends at a slash or is empty."""
        for key, _ in self.tags(prefix):
            yield key

    def tags(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """The same, each with its ETag."""
        folder = prefix.rstrip("/") + "/" if prefix else ""
        with self._lock:
            found = sorted((key, o.etag) for key, o in self.stored.items() if key.startswith(folder))
        yield from found


class MemoryForeign:
    """`irs.aws.foreign.Foreign` on objects in memory, each of one version, which is its ETag."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.objects = objects
        #: raised by every call
        self.fails: errors.CloudError | None = None

    def get(self, key: str, *, max_bytes: int, version: str | None = None) -> bytes:
        """The object's bytes; raises `errors.NotFound`, and `errors.TooLarge` beyond ``max_bytes``."""
        if self.fails is not None:
            raise self.fails
        if version is not None and self.objects.get_tagged(key)[1] != version:
            raise errors.NotFound("S3 GET: not found", code="NoSuchVersion")
        return self.objects.get(key, max_bytes=max_bytes)
