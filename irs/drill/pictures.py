"""Images made in code, no two alike; and some that look like images and are none."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from dataclasses import dataclass

#: Pixels of a side.
SIDE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One upload."""

    name: str
    data: bytes
    #: it can be decoded
    good: bool = True

    @property
    def sha256(self) -> str:
        """The hex digest of the upload, as its result tells it."""
        return hashlib.sha256(self.data).hexdigest()


def draw(name: str, seed: int, *, good: bool = True) -> Picture:
    """A PNG of noise, the same for the same ``seed``; a bad one has a sound header and no pixels."""
    rows = random.Random(seed).randbytes(3 * SIDE * SIDE)  # noqa: S311 - a test image
    raw = b"".join(b"\0" + rows[start:start + 3 * SIDE] for start in range(0, len(rows), 3 * SIDE))
    pixels = zlib.compress(raw) if good else b"not what zlib writes" + rows[:64]
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return Picture(name=name, data=data, good=good)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
