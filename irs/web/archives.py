"""The files of a zip that a client sent, each bounded; nothing of it is ever a path.

Hostile zips are small and unpack to much, say that they have millions of entries, or have
entries that share their bytes. So entries are counted before the library makes
objects of them, only
methods are unpacked whose memory is bounded, and there is a budget for all of it together.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from irs import errors

#: How a zip begins: its first entry, or the end of one that has none.
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
#: Bytes unpacked, as a multiple of those of the largest request: photographs do not shrink.
BUDGET = 10
#: What consoles and file managers put into zips beside the files: a folder's name, and files'.
_LITTER, _LITTER_FILES = "__MACOSX/", frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
#: APPNOTE.TXT of PKWARE, 4.3.12: an entry of the directory, and bytes of its name, extras and
#: comment on average.
_ENTRY, _ENTRY_SIZE, _NAMES = b"PK\x01\x02", 46, 512
#: Bytes of a directory that are never too many: a thousand entries, of the smallest.
_SMALL = 65_536
#: 4.3.7: what an entry's own bytes begin with.
_LOCAL_SIZE = 30
#: General purpose bit 0.
_ENCRYPTED = 1

File = tuple[str, bytes | errors.Refused]


@dataclass(kw_only=True, slots=True)
class Budget:
    """What may be unpacked of one request, whatever becomes of it."""

    #: bytes
    left: int


def files(stream: IO[bytes], *, max_bytes: int, max_files: int, budget: Budget) -> Iterator[File]:
    """Each file's name and its bytes, or why it is refused; folders are left out.

    ``stream`` can be sought in. ``max_bytes`` are one file's, ``budget`` all files' together.
    Raises `errors.BadRequest` for what is no zip, and `errors.TooLarge` for more files than
    ``max_files``.
    """
    try:
        counting = _Counting(stream, max_files)
        with zipfile.ZipFile(counting) as archive:  # type: ignore[arg-type]
            counting.directory = False
            entries = [info for info in archive.infolist() if not _is_litter(info)]
            if len(entries) > max_files:
                raise errors.TooLarge(f"more than {max_files} files in one zip")
            overlapping = _overlapping(entries)
            for info in entries:
                try:
                    if info.header_offset in overlapping:
                        raise errors.UnsupportedFormat("the file shares its bytes with another of its zip")
                    if not 0 <= info.header_offset < archive.start_dir:
                        raise errors.Undecodable("the file is damaged in its zip: it begins outside of it")
                    data = _read(archive, info, max_bytes, budget)
                except errors.Refused as exc:
                    yield info.filename, exc
                    continue
                yield info.filename, data
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as exc:
        raise errors.BadRequest(f"the zip cannot be read: {_line(exc)}") from exc


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int, budget: Budget) -> bytes:
    """A file's bytes; raises `errors.Refused`."""
    if info.flag_bits & _ENCRYPTED:
        raise errors.UnsupportedFormat("the file is encrypted in its zip")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise errors.UnsupportedFormat("the file is compressed in a way that is not taken: use deflate")
    limit = min(max_bytes, budget.left)
    if info.file_size > limit:
        raise errors.TooLarge(f"file of {info.file_size} bytes; {limit} may be unpacked")
    # What is damaged, or no image in the end, has cost as much.
    budget.left -= info.file_size
    try:
        with archive.open(info) as unpacked:
            # No more than was paid for, whatever there is. To its end, where its checksum is checked.
            data = unpacked.read(info.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError,
            RuntimeError, ValueError) as exc:
        raise errors.Undecodable(f"the file is damaged in its zip: {_line(exc)}") from exc
    if data.startswith(MAGIC):
        raise errors.UnsupportedFormat("a zip within a zip is not opened")
    return data


def _is_litter(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    # Not its is_dir(), which has no answer for a name without a character.
    return name.endswith("/") or name.startswith(_LITTER) or name.rpartition("/")[2] in _LITTER_FILES


def _overlapping(entries: Sequence[zipfile.ZipInfo]) -> frozenset[int]:
    """Offsets of entries whose bytes begin before those of the entry before them end."""
    found, end, last = set(), 0, -1
    for info in sorted(entries, key=lambda entry: entry.header_offset):
        if info.header_offset < end:
            found |= {info.header_offset, last}
        if info.header_offset + _LOCAL_SIZE + info.compress_size > end:
            end, last = info.header_offset + _LOCAL_SIZE + info.compress_size, info.header_offset
    return frozenset(found)


class _Counting:
    """A file that the library may read what it likes of, but for a directory of too many entries.

    It reads a directory at once and makes an object of each entry, which is when it is too
    late to count them.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        # Folders are entries as well.
        self._most = 2 * most
        #: whether what is read may be the directory
        self.directory = True
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self.close = stream.close

    def read(self, size: int = -1) -> bytes:
        """The file's; raises `errors.TooLarge`."""
        if not self.directory:
            return self._stream.read(size)
        if size > max(_SMALL, self._most * (_ENTRY_SIZE + _NAMES)):
            raise errors.TooLarge("the zip's directory is larger than that of any batch")
        data = self._stream.read(size)
        at = count = 0
        while len(data) > _SMALL and data[at:at + 4] == _ENTRY and at + _ENTRY_SIZE <= len(data):
            count += 1
            at += _ENTRY_SIZE + sum(struct.unpack_from("<3H", data, at + 28))
            if count > self._most:
                raise errors.TooLarge(f"more than {self._most // 2} files in one zip")
        return data


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
