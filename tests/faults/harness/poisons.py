"""Images that are meant to harm whoever decodes them. The same bytes each time."""

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n/x { x } def x\n%%EOF\n"
_SVG = (b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">'
        b'<!ENTITY c SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg" width="9" '
        b'height="9"><image href="http://127.0.0.1:9/x"/><text>&b;&c;</text></svg>')


@dataclass(frozen=True, kw_only=True, slots=True)
class Poison:
    """One hostile file."""

    name: str
    data: bytes
    #: it may get a label: nothing in it is wrong enough to say no
    harmless: bool = False


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour: int = 2) -> bytes:
    """A PNG of 8 bits a sample with ``chunks`` between its header and its end."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return _SIGNATURE + b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def _zeros(megabytes: int, begins: bytes = b"") -> bytes:
    """Deflated: ``begins``, then so many million zeros."""
    packer = zlib.compressobj(9)
    block = bytes(1_000_000)
    return packer.compress(begins) + b"".join(
        packer.compress(block) for _ in range(megabytes)) + packer.flush()


def _jpeg(size: tuple[int, int] = (640, 480), **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(out, "JPEG", **options)
    return out.getvalue()


@functools.cache
def good() -> bytes:
    """An image that nothing is wrong with."""
    return _jpeg()


@functools.cache
def large() -> bytes:
    """A good image of about 3 MB: more than a web tier keeps in memory."""
    return png(1000, 1000, (b"IDAT", zlib.compress(b"".join(
        b"\0" + random.Random(row).randbytes(3000) for row in range(1000)), 1)))


@functools.cache
def wide() -> bytes:
    """A good image of 30 megapixels, which take 90 MB, in a few kB."""
    return png(6000, 5000, (b"IDAT", _zeros(90, bytes(5000))))


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", data)
    return out.getvalue()


@functools.cache
def all_of_them() -> tuple[Poison, ...]:
    """Each about one way to harm; made at first use, in a second or two."""
    photo = good()
    scans = _jpeg((2000, 2000), progressive=True, quality=20)
    last = scans.rindex(b"\xff\xda")
    frames = [Image.new("L", (900, 900), i % 256) for i in range(200)]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    return (
        # 57 bytes that ask for 80 million rows.
        Poison(name="rows.png", data=png(1, 80_000_000, (b"IDAT", b""))),
        # 0.7 MB that inflate to 676 MB: as pixels, beyond the picture's own, and as text.
        Poison(name="inflates.png", data=png(13_000, 13_000, (b"IDAT", _zeros(676)), colour=6)),
        Poison(name="surplus.png", data=png(64, 64, (b"IDAT", _zeros(676))), harmless=True),
        Poison(name="text.png", data=png(64, 64, (b"zTXt", b"Comment\0\0" + _zeros(300)),
                                         (b"IDAT", zlib.compress(bytes(64 * 193)))), harmless=True),
        Poison(name="profile.png", data=png(64, 64, (b"iCCP", b"icc\0\0" + _zeros(300)),
                                            (b"IDAT", zlib.compress(bytes(64 * 193)))), harmless=True),
        Poison(name="largest-allowed.png", data=png(8_000, 5_000, (b"IDAT", _zeros(121))), harmless=True),
        Poison(name="cut.jpg", data=photo[:len(photo) // 2]),
        Poison(name="header-only.jpg", data=photo[:photo.index(b"\xff\xda")]),
        # One scan after another over four million pixels.
        Poison(name="scans.jpg", data=scans[:-2] + scans[last:-2] * 4 + scans[-2:], harmless=True),
        Poison(name="frames.gif", data=gif.getvalue(), harmless=True),
        Poison(name="drawing.svg", data=_SVG), Poison(name="page.eps", data=_EPS),
        Poison(name="page.jpg", data=_EPS), Poison(name="archive.zip", data=_zip(photo)),
        # Two files in one: whichever a reader takes it for.
        Poison(name="photo-and-zip.jpg", data=photo + _zip(photo), harmless=True),
        Poison(name="script.gif", data=b"GIF89a/*" + b"\0" * 20 + b"*/=1;alert(1)//"),
        Poison(name="page.pdf", data=b"%PDF-1.7\n1 0 obj<<>>endobj\n" + photo),
        Poison(name="empty.jpg", data=b""), Poison(name="zeros.png", data=bytes(4096)),
    )
