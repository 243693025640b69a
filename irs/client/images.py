"""What can be uploaded: a path, bytes, an open file, or the address of an object in S3.

A body is read anew for each try, in pieces, so that memory does not grow with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from irs.client.errors import Unreadable

#: What the methods of a client take for an image. A string is a path, or ``s3://bucket/key``.
Image = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
#: Bytes read and sent at a time.
CHUNK = 256 * 1024
#: Bytes of a stream that cannot be rewound that are kept in memory; the rest in a temporary file.
_SPOOL = 1024 * 1024
_S3 = "s3://"
_UNNAMED = "image"


class Body(Protocol):
    """What a request sends."""

    @property
    def size(self) -> int:
        """Bytes."""

    def chunks(self) -> Iterator[bytes]:
        """All of it, from its beginning at each call; raises `Unreadable`."""

    def close(self) -> None:
        """It is sent no more."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A body that is in memory."""

    data: bytes | bytearray | memoryview

    @property
    def size(self) -> int:
        """Bytes."""
        return memoryview(self.data).nbytes

    def chunks(self) -> Iterator[bytes]:
        """In pieces, so that a large body is not copied whole."""
        view = memoryview(self.data).cast("B")
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start:start + CHUNK])

    def close(self) -> None:
        """Nothing is held between two tries."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on the disk, opened only while it is sent."""

    path: Path
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Exactly `size` bytes."""
        try:
            with self.path.open("rb") as file:
                yield from _exactly(file, self.size, str(self.path))
        except OSError as exc:
            raise _unreadable(exc) from exc

    def close(self) -> None:
        """Nothing is held between two tries."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An open file of the caller's, from where it stood, or a copy of one."""

    file: BinaryIO
    start: int
    size: int
    #: the copy is ours, and gone when it is closed
    copied: bool

    def chunks(self) -> Iterator[bytes]:
        """Exactly `size` bytes."""
        try:
            self.file.seek(self.start)
            yield from _exactly(self.file, self.size, "the open file")
        except (OSError, ValueError) as exc:  # ValueError: it has been closed
            raise _unreadable(exc) from exc

    def close(self) -> None:
        """The caller's file is the caller's."""
        if self.copied:
            self.file.close()


@dataclass(frozen=True, slots=True)
class Form:
    """Several bodies as one multipart/form-data; each is opened when its turn comes."""

    parts: Sequence[tuple[str, Body]]
    boundary: str

    @property
    def kind(self) -> str:
        """Its content type."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(self._head(name)) + body.size + 2 for name, body in self.parts) + len(self._tail)

    def chunks(self) -> Iterator[bytes]:
        """Part by part."""
        for name, body in self.parts:
            yield self._head(name)
            yield from body.chunks()
            yield b"\r\n"
        yield self._tail

    def close(self) -> None:
        """All of them."""
        for _, body in self.parts:
            body.close()

    @property
    def _tail(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode()

    def _head(self, name: str) -> bytes:
        # HTML's rule for names in form data: percent-encode what would end the header.
        safe = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        return (f'--{self.boundary}\r\nContent-Disposition: form-data; name="myfile"; '
                f'filename="{safe}"\r\nContent-Type: application/octet-stream\r\n\r\n'
                ).encode("utf-8", "replace")


def form(images: Sequence[Image]) -> Form:
    """The multipart body of ``images``; raises `Unreadable`, which says of which."""
    return Form([(name_of(image), _part_of(image)) for image in images], secrets.token_hex(16))


def _part_of(image: Image) -> Body:
    try:
        return body_of(image)
    except Unreadable as exc:
        named = str(image) if isinstance(image, str | os.PathLike) else name_of(image)
        if str(exc).startswith(f"{named} "):
            raise
        raise Unreadable(f"{named}: {exc}") from exc


def s3_address(image: object) -> str | None:
    """``image`` where it is the address of an object in S3, else None."""
    return image if isinstance(image, str) and image.startswith(_S3) else None


def name_of(image: Image) -> str:
    """The name to show: the file's, where it has one."""
    found = image if isinstance(image, str | os.PathLike) else getattr(image, "name", None)
    if not isinstance(found, str | os.PathLike):
        return _UNNAMED
    return Path(os.fspath(found)).name or _UNNAMED


def body_of(image: Image) -> Body:
    """What is sent for ``image``; raises `Unreadable`."""
    if isinstance(image, bytes | bytearray | memoryview):
        return Bytes(image)
    if isinstance(image, str | os.PathLike):
        path = Path(os.fspath(image))
        try:
            if path.is_dir():
                raise Unreadable(f"{path} is a folder, not an image")
            return File(path, path.stat().st_size)
        except (OSError, ValueError) as exc:  # ValueError: a null character in the name
            raise _unreadable(exc) from exc
    return _stream(image)


def _stream(file: BinaryIO) -> Body:
    try:
        copied = not file.seekable()
        if copied:
            file = _copy(file)
        start = file.tell()
        size = file.seek(0, io.SEEK_END) - start
        file.seek(start)
    except (OSError, ValueError) as exc:
        raise _unreadable(exc) from exc
    return Stream(file, start, max(0, size), copied)


def _copy(file: BinaryIO) -> BinaryIO:
    """What can be sent again of a file that cannot be rewound."""
    copy = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 - closed by its body
    with contextlib.ExitStack() as stack:
        stack.callback(copy.close)
        while data := file.read(CHUNK):
            copy.write(data)
        stack.pop_all()
    copy.seek(0)
    return cast("BinaryIO", copy)  # it has what one is used for here


def _exactly(file: BinaryIO, size: int, name: str) -> Iterator[bytes]:
    """The length was announced: a file that changes its own meanwhile cannot be sent."""
    left = size
    while left:
        data = file.read(min(CHUNK, left))
        if not isinstance(data, bytes):
            raise Unreadable(f"{name} is open as text: open it in binary mode")
        if not data:
            raise Unreadable(f"{name} became shorter while it was read")
        left -= len(data)
        yield data


def _unreadable(exc: Exception) -> Unreadable:
    return Unreadable(getattr(exc, "strerror", None) or str(exc) or type(exc).__name__)
