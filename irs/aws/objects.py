"""Objects in one S3 bucket, over obstore."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import obstore

from irs import errors, tracing
from irs.aws import calls, clients, hurry
from irs.aws.faults import translated
from irs.settings import Settings

#: obstore switches to a multipart upload above this, which cannot be create-once; our
#: largest object (an upload) is far below S3's 5 GB limit for one PUT.
_ONE_PUT = {"use_multipart": False}
#: Objects in one answer to a list, as S3 has it: so each of obstore's chunks is one call.
_PAGE = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One object, as a listing tells of it."""

    key: str
    #: when it was last written
    modified: datetime


class Objects:
    """One bucket. Every method raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings, bucket: str) -> None:
        self.bucket = bucket
        self._settings = settings
        self._store = clients.store(settings, bucket)

    @contextlib.contextmanager
    def _called(self, operation: str, what: str) -> Iterator[None]:
        with (tracing.s3(operation, self.bucket), calls.timed("s3", operation),
              translated(f"S3 {what} {self.bucket}")):
            yield

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream",
            metadata: Mapping[str, str] | None = None, create: bool = False,
            replaces: str | None = None) -> str:
        """Write one object, whole; returns its ETag.

        ``create`` refuses to overwrite (``If-None-Match: *``) and ``replaces`` to overwrite
        anything but the object of that ETag (``If-Match``), with `errors.AlreadyExists`.
        Where an answer was lost the refusal may be that of one's own write.
        ``metadata`` values are percent-encoded: headers carry ASCII only. A caller in a hurry
        (`irs.aws.hurry`) hears sooner that it has not worked; as with every lost answer, it may have.
        """
        attributes = {"Content-Type": content_type}
        attributes.update({k: quote(v, safe=" ()") for k, v in (metadata or {}).items()})
        mode: Any = "create" if create else {"e_tag": replaces} if replaces else "overwrite"
        soon = clients.soon(hurry.left(), len(data))
        store = self._store if soon is None else clients.store(self._settings, self.bucket, soon)
        with self._called("PutObject", "PUT to"):
            answer = obstore.put(store, key, data, attributes=attributes,
                                 mode=mode, **_ONE_PUT)
        return answer["e_tag"] or ""

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes; raises `errors.NotFound`, and `errors.TooLarge` beyond ``max_bytes``."""
        with self._called("GetObject", "GET from"):
            answer = obstore.get(self._store, key)
            size = answer.meta["size"]
            if max_bytes is not None and size > max_bytes:
                raise errors.TooLarge(f"object of {size} bytes; the limit is {max_bytes}")
            return bytes(answer.bytes())

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """The object's bytes and ETag, for a write that ``replaces`` it; raises `errors.NotFound`."""
        with self._called("GetObject", "GET from"):
            answer = obstore.get(self._store, key)
            return bytes(answer.bytes()), answer.meta["e_tag"] or ""

    def exists(self, key: str) -> bool:
        """Whether the object is there now."""
        return self.modified(key) is not None

    def modified(self, key: str) -> datetime | None:
        """When the object was last written; None where there is none."""
        try:
            with self._called("HeadObject", "HEAD in"):
                return obstore.head(self._store, key)["last_modified"]
        except errors.NotFound:
            return None

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        try:
            with self._called("DeleteObject", "DELETE in"):
                obstore.delete(self._store, key)
        except errors.NotFound:
            return

    def metadata(self, key: str) -> dict[str, str]:
        """What `put` was given as ``metadata``; raises `errors.NotFound`."""
        with self._called("HeadObject", "HEAD in"):
            found = obstore.get(self._store, key, options={"head": True}).attributes
        return {name: unquote(value) for name, value in found.items() if name.islower()}

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Objects below ``prefix``, in the order of their keys, a page at a time."""
        for page in self._pages(prefix):
            for item in page:
                yield Entry(key=item["path"], modified=item["last_modified"])

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys below ``prefix``, which ends at a slash or is empty."""
        for key, _ in self.tags(prefix):
            yield key

    def tags(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """The same, each with its ETag, which changes with the object."""
        for page in self._pages(prefix):
            for item in page:
                yield item["path"], item["e_tag"] or ""

    def _pages(self, prefix: str) -> Iterator[Any]:
        pages = iter(obstore.list(self._store, prefix or None, chunk_size=_PAGE))
        more = True
        while more:
            with self._called("ListObjectsV2", "LIST of"):
                page = next(pages, ())
            yield page
            more = len(page) == _PAGE
