"""The files of a zip that a client sent, each bounded; nothing of it is ever a path.

Hostile zips are small and unpack to much, say that they have millions of entries, or have
entries that share their bytes. So entries are counted before the library reads them, only
methods are unpacked whose memory is bounded, and there is a budget for all of it together.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from irs import errors

#: How a zip begins: its first entry, or the end of one that has none.
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
#: Bytes unpacked, as a multiple of those of the largest request: photographs do not shrink.
BUDGET = 10
#: What consoles and file managers put into zips beside the files: a folder's name, and files'.
_LITTER, _LITTER_FILES = "__MACOSX/", frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
#: APPNOTE.TXT of PKWARE, 4.3.16: the end record, after which a comment may follow.
_END, _END_SIZE, _COMMENT = b"PK\x05\x06", 22, 65_535
#: 4.3.15 and 4.3.14: its 64-bit relatives.
_LOCATOR, _LOCATOR_SIZE, _END64 = b"PK\x06\x07", 20, b"PK\x06\x06"
#: 4.3.12: an entry of the directory, and bytes of its name, extras and comment on average.
_ENTRY, _ENTRY_SIZE, _NAMES = b"PK\x01\x02", 46, 512
#: 4.3.7: what an entry's own bytes begin with.
_LOCAL_SIZE = 30
#: General purpose bit 0.
_ENCRYPTED = 1

File = tuple[str, bytes | errors.Refused]


def files(stream: IO[bytes], *, max_bytes: int, max_files: int, budget: int) -> Iterator[File]:
    """Each file's name and its bytes, or why it is refused; folders are left out.

    ``stream`` can be sought in. ``max_bytes`` are one file's, ``budget`` all files' together.
    Raises `errors.BadRequest` for what is no zip, and `errors.TooLarge` for more files than
    ``max_files``.
    """
    try:
        _count(stream, max_files)
        with zipfile.ZipFile(stream) as archive:
            entries = [info for info in archive.infolist() if not _is_litter(info)]
            overlapping = _overlapping(entries)
            for info in entries:
                try:
                    if info.header_offset in overlapping:
                        raise errors.UnsupportedFormat("the file shares its bytes with another of its zip")
                    data = _read(archive, info, min(max_bytes, budget))
                except errors.Refused as exc:
                    yield info.filename, exc
                    continue
                budget -= len(data)
                yield info.filename, data
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as exc:
        raise errors.BadRequest(f"the zip cannot be read: {_line(exc)}") from exc


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    """A file's bytes; raises `errors.Refused`."""
    if info.flag_bits & _ENCRYPTED:
        raise errors.UnsupportedFormat("the file is encrypted in its zip")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise errors.UnsupportedFormat("the file is compressed in a way that is not taken: use deflate")
    if info.file_size > limit:
        raise errors.TooLarge(f"file of {info.file_size} bytes; {limit} may be unpacked")
    try:
        with archive.open(info) as unpacked:
            data = unpacked.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError,
            RuntimeError, ValueError) as exc:
        raise errors.Undecodable(f"the file is damaged in its zip: {_line(exc)}") from exc
    if len(data) > limit:
        raise errors.TooLarge(f"the file unpacks to more than {limit} bytes")
    if data.startswith(MAGIC):
        raise errors.UnsupportedFormat("a zip within a zip is not opened")
    return data


def _is_litter(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    return info.is_dir() or name.startswith(_LITTER) or name.rpartition("/")[2] in _LITTER_FILES


def _overlapping(entries: Sequence[zipfile.ZipInfo]) -> frozenset[int]:
    """Offsets of entries whose bytes begin before those of the entry before them end."""
    found, end, last = set(), 0, -1
    for info in sorted(entries, key=lambda entry: entry.header_offset):
        if info.header_offset < end:
            found |= {info.header_offset, last}
        if info.header_offset + _LOCAL_SIZE + info.compress_size > end:
            end, last = info.header_offset + _LOCAL_SIZE + info.compress_size, info.header_offset
    return frozenset(found)


def _count(stream: IO[bytes], most: int) -> None:
    """Count the directory's entries before anything is made of them; raises as `files` does."""
    size, offset = _directory(stream)
    if size > most * (_ENTRY_SIZE + _NAMES):
        raise errors.TooLarge("the zip's directory is larger than that of any batch")
    stream.seek(offset)
    data = stream.read(size)
    at = count = 0
    while data[at:at + 4] == _ENTRY and at + _ENTRY_SIZE <= len(data):
        count += 1
        at += _ENTRY_SIZE + sum(struct.unpack_from("<3H", data, at + 28))
        if count > 2 * most:  # folders are entries as well
            raise errors.TooLarge(f"more than {most} files in one batch")


def _directory(stream: IO[bytes]) -> tuple[int, int]:
    """Bytes of the directory, and where it begins."""
    length = stream.seek(0, 2)
    start = max(0, length - _END_SIZE - _COMMENT)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(_END)
    if at < 0:
        raise zipfile.BadZipFile("it has no end of a zip's directory")
    size, offset = struct.unpack_from("<2L", tail, at + 12)
    end = start + at
    if tail[max(0, at - _LOCATOR_SIZE):at].startswith(_LOCATOR):
        stream.seek(struct.unpack_from("<Q", tail, at - _LOCATOR_SIZE + 8)[0])
        record = stream.read(56)
        if record.startswith(_END64):
            size, offset = struct.unpack_from("<2Q", record, 40)
            return size, offset
    # What stands before the zip, as in an archive that unpacks itself, shifts every offset.
    return size, max(offset, end - size)


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
