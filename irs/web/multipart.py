"""A multipart body, part by part, into files that are bounded and complete.

Werkzeug's own form parser answers a broken body with an empty form, and drops a file
whose name it cannot decode; its decoder, used here directly, lets us say what is wrong.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio import multipart

from irs import errors
from irs.domain import keys

#: Bytes read from the request at a time.
CHUNK = 65_536
#: Bytes of one file kept in memory; more goes to a temporary file.
IN_MEMORY = 1_048_576
#: Bytes of a part's headers: a name of 5,000 characters, in UTF-8 and escaped, fits.
MAX_HEADERS = 16_384
#: Form fields beside the files, most of which are read and ignored, and their bytes together.
MAX_FIELDS, MAX_FIELD_BYTES = 100, 1_000_000
#: RFC 2046, section 5.1.1: a boundary has at most 70 characters.
_MAX_BOUNDARY = 200
#: What a boundary's line may have behind it so far, where a read ends within it; and its bytes.
_UNFINISHED = re.compile(rb"-|[^\S\r\n]*")
_PADDING = 64

_EXAMPLE = "send it as multipart/form-data, e.g. curl -F myfile=@photo.jpg"


class Upload:
    """One file of a request. ``size`` counts its bytes, also those beyond the limit."""

    #: of the job that it becomes: a new one
    id: str | None = None

    def __init__(self, name: str | None, limit: int) -> None:
        #: display name: no path, no control characters
        self.name = keys.display_name(name)
        self.size = 0
        #: where its result is to be sent besides
        self.callback_url: str | None = None
        self._named = name != ""
        self._limit = limit
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `close`

    def write(self, data: bytes) -> None:
        """Append, but store nothing beyond the limit."""
        self.size += len(data)
        if self.size <= self._limit:
            self._file.write(data)

    def read(self) -> bytes:
        """The whole file; raises `errors.TooLarge`."""
        return self.file().read()

    def file(self) -> IO[bytes]:
        """The whole file to be read from its beginning; raises `errors.TooLarge`."""
        if self.size > self._limit:
            raise errors.TooLarge(f"file of {self.size} bytes; the limit is {self._limit}")
        self._file.seek(0)
        return self._file

    @property
    def unfilled(self) -> bool:
        """No name and no bytes: what a browser sends for a file input left empty."""
        return not self._named and not self.size

    def release(self) -> None:
        """It is not read again."""
        self.close()

    def close(self) -> None:
        """Give the memory or the temporary file back."""
        with contextlib.suppress(OSError):  # it writes first what has found no room before
            self._file.close()


class _Boundary:
    """``pattern`` of a boundary with the end of the line before it, as far as it is used."""

    def __init__(self, boundary: bytes, pattern: re.Pattern[bytes]) -> None:
        self._marker = b"--" + boundary
        self._pattern = pattern

    def search(self, data: bytes | bytearray) -> re.Match[bytes] | None:
        """The first match, which has the marker after one byte or two."""
        found = data.find(self._marker)
        return self._pattern.search(data, max(0, found - 2)) if found >= 0 else None


class _Decoder(multipart.MultipartDecoder):
    """Takes header bytes that are not UTF-8: an old client's file name must not cost the file.

    And looks for a boundary where there may be one: its own pattern begins with any end of a
    line, and is tried at each byte of a photograph.
    """

    def __init__(self, boundary: bytes, most: int, *, max_parts: int) -> None:
        super().__init__(boundary, most, max_parts=max_parts)
        self._marker = b"--" + boundary
        self.boundary_re = _Boundary(boundary, self.boundary_re)  # type: ignore[assignment]

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        """Where a boundary may begin of which the rest has not been read.

        werkzeug's own knows of none that is there but for the end of its line: the file before
        it got a byte of it.
        """
        found = data.rfind(self._marker, max(0, len(data) - len(self._marker) - _PADDING))
        if found > 0 and _UNFINISHED.fullmatch(data, found + len(self._marker)):
            ending = data[max(0, found - 2):found]
            if ending.endswith((b"\r", b"\n")):
                return found - (2 if ending == b"\r\n" else 1)
        return super()._last_partial_boundary_index(data)

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > MAX_HEADERS:
            raise RequestEntityTooLarge
        return super()._parse_headers(bytes(data).decode(errors="replace").encode())


def boundary(content_type: str | None) -> bytes:
    """The boundary named in a Content-Type; raises `errors.BadRequest` or `errors.NoFile`."""
    if not content_type:
        raise errors.NoFile(f"no file in the request: {_EXAMPLE}")
    kind, options = parse_options_header(content_type)
    if kind.lower() != "multipart/form-data":
        raise errors.BadRequest(f"cannot read this content type: {_EXAMPLE}")
    found = options.get("boundary", "")
    if not found or len(found) > _MAX_BOUNDARY:
        raise errors.BadRequest("multipart/form-data without a usable boundary")
    return found.encode(errors="replace")


@contextlib.contextmanager
def received(stream: IO[bytes], content_type: str | None, *, max_bytes: int, max_files: int,
             wanted: dict[str, bytes | None] | None = None) -> Iterator[list[Upload]]:
    """The files of a multipart body, in order; they are closed at the end of the block.

    Raises `errors.NoFile`, `errors.BadRequest` for a body that breaks off or makes no
    sense, and `errors.TooLarge` for more than ``max_files`` files. A single file of more
    than ``max_bytes`` bytes is no error yet: its `Upload.read` raises. The keys of
    ``wanted`` get what form fields of those names hold; all other fields are ignored.
    """
    with contextlib.ExitStack() as stack:
        files = []
        for part in each(stream, content_type, limit=lambda _: max_bytes, max_files=max_files,
                         wanted=wanted):
            stack.callback(part.close)
            files.append(part)
        yield files


def each(stream: IO[bytes], content_type: str | None, *, limit: Callable[[str | None], int],
         max_files: int, wanted: dict[str, bytes | None] | None = None) -> Iterator[Upload]:
    """The same, one after the other as each has come; whoever is given one closes it.

    ``limit`` gives the bytes that a file of that name may have.
    """
    decoder = _Decoder(boundary(content_type), MAX_HEADERS + CHUNK, max_parts=max_files + MAX_FIELDS)
    part: Upload | None = None
    fields = _Fields({} if wanted is None else wanted)
    count = 0
    try:
        for event in _events(decoder, stream):
            if isinstance(event, multipart.File | multipart.Field):
                part = _begin(event, limit)
                if part is None:
                    fields.begin(event.name)
                count += part is not None
                if count > max_files:
                    raise errors.TooLarge(f"more than {max_files} files in one request")
            elif isinstance(event, multipart.Data) and part is not None:
                part.write(event.data)
                if not event.more_data:
                    whole, part = part, None
                    if whole.unfilled:
                        count -= 1
                        whole.close()
                    else:
                        yield whole
            elif isinstance(event, multipart.Data):
                fields.take(event.data)
    finally:
        if part is not None:
            part.close()
    if not count:
        raise errors.NoFile(f"no file in the request: {_EXAMPLE}")


class _Fields:
    """Form fields that are no files: those that are wanted are kept, and all are counted."""

    def __init__(self, wanted: dict[str, bytes | None]) -> None:
        self._wanted = wanted
        self._name: str | None = None
        self._size = 0

    def begin(self, name: str | None) -> None:
        """A field of that name follows; raises `errors.BadRequest` for a wanted one's second."""
        self._name = name if name in self._wanted else None
        if self._name is not None:
            if self._wanted[self._name] is not None:
                raise errors.BadRequest(f"{self._name} is given twice")
            self._wanted[self._name] = b""

    def take(self, data: bytes) -> None:
        """Bytes of the field; raises `errors.TooLarge` where all fields have too many."""
        self._size += len(data)
        if self._size > MAX_FIELD_BYTES:
            raise errors.TooLarge(f"more than {MAX_FIELD_BYTES} bytes in fields that are no files")
        if self._name is not None:
            self._wanted[self._name] = (self._wanted[self._name] or b"") + data


def _begin(event: multipart.File | multipart.Field, limit: Callable[[str | None], int]) -> Upload | None:
    """An upload for a part that holds a file; None for an ordinary form field."""
    if isinstance(event, multipart.File):
        return Upload(event.filename, limit(event.filename))
    # A file whose name could not be decoded comes without one, but says what it is.
    kind = event.headers.get("Content-Type", "text/plain").lower()
    return None if kind.startswith("text/") else Upload(None, limit(None))


def _events(decoder: _Decoder, stream: IO[bytes]) -> Iterator[multipart.Event]:
    """Every event up to the closing boundary; raises as `received` does."""
    try:
        while True:
            data = stream.read(CHUNK)
            decoder.receive_data(data or None)
            while not isinstance(event := decoder.next_event(), multipart.NeedData):
                yield event
                if isinstance(event, multipart.Epilogue):
                    return
    except RequestEntityTooLarge as exc:
        raise errors.TooLarge("the request has more bytes or more parts than the service takes") from exc
    except ValueError as exc:
        raise errors.BadRequest("the multipart body is malformed, or broke off before its end") from exc
