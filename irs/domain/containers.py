"""What the outside of an image file says, before any decoder touches it. Standard library only.

Some decoders spend far more on a file than its bytes and pixels suggest, so its structure
is checked here first. Opening a TIFF makes an object for each strip: 20 MB of strip
offsets took 3 GB and a minute. Each further scan of a progressive JPEG, 65 bytes long,
passes over the whole picture again: 160 kB took 3 s, 20 MB would take hours.
"""

from __future__ import annotations

import re
import struct

from irs.errors import Undecodable

#: Scans of one JPEG; encoders write about 10, and 64 is the most that a script can use well.
MAX_SCANS = 64
#: Segments of a JPEG, chunks of a PNG: Pillow takes some microseconds for each. Encoders
#: write a few, and a chunk for each 8 kB of pixels.
MAX_SEGMENTS = 65_536
#: Values of one TIFF tag: 40 megapixels in 16 by 16 tiles have 156,000.
MAX_VALUES = 200_000
#: Entries of a TIFF directory; a camera writes fewer than 100.
MAX_ENTRIES = 4096

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    # With the two orders of bytes that are wrong and yet written, and BigTIFF.
    "TIFF": (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
}
#: A DIB header's length follows the 14 bytes of a BMP's file header: two letters alone
#: would make an image of every text that begins with BM.
_DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)
#: A marker that matters: not a stuffed byte (FF00), not fill (FFFF), and not one of those
#: without a segment (TEM, RST0 to RST7, SOI). One literal byte first: the search is memchr's.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_EOI, _SOS = 0xD9, 0xDA
#: The beginning of a scan; ``bytes.find`` would take four times as long for these two bytes.
_SCAN = re.compile(rb"\xff\xda")
#: Frame headers (ISO/IEC 10918-1, table B.1): C4, C8 and CC are others. The first two are of
#: sequential JPEG, Huffman coded.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
#: TIFF tags with a value per strip, tile or sample, which are expanded whatever type they claim.
_STRUCTURAL = frozenset({258, 273, 279, 320, 322, 323, 324, 325, 338, 339})
#: TIFF types that stay byte strings: BYTE, ASCII, UNDEFINED.
_BYTES = (1, 2, 7)


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format whose signature ``data`` begins with, else None.

    A multi-picture JPEG (MPO) is a ``JPEG`` here.
    """
    for kind, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return kind
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _DIB_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp" and _brands(data) & {b"avif", b"avis"}:
        return "AVIF"
    return None


def passes(data: bytes, kind: str) -> int:
    """How often decoding a file of format ``kind`` passes over its picture; 1 but for JPEG.

    Raises `Undecodable` where the structure asks for unbounded work.
    """
    if kind == "TIFF":
        _check_tiff(data)
    elif kind == "PNG":
        _check_png(data)
    elif kind == "JPEG":
        return _jpeg_scans(data)
    return 1


def _jpeg_scans(data: bytes) -> int:
    # As libjpeg does, anything between a segment's end and the next marker is skipped,
    # entropy-coded data included. Thumbnails lie within segments and are stepped over.
    scans, position, components = 0, 2, b""
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        # Pillow reads on after an end that comes before the first scan.
        if not found or (found[1][0] == _EOI and scans):
            return scans
        if found[1][0] in _FRAMES:
            # Of a sequential one, how many there are; another kind has scans for each of them.
            components = data[found.end() + 7:found.end() + 8] if found[1][0] in _SEQUENTIAL else b""
        if found[1][0] == _SOS:
            scans += 1
            # One with all of them is the only one: libjpeg refuses another. To look for it in the
            # coded data takes as long as all of the headers do.
            if scans == 1 and (data[found.end() + 2:found.end() + 3] == components
                               or not _SCAN.search(data, found.end())):
                return scans
            if scans > MAX_SCANS:
                raise Undecodable(f"the JPEG has more than {MAX_SCANS} scans")
        # A segment's length counts its own two bytes.
        position = found.end() + int.from_bytes(data[found.end():found.end() + 2], "big")
    raise Undecodable(f"the JPEG has more than {MAX_SEGMENTS} segments")


def _check_png(data: bytes) -> None:
    position = 8
    for _ in range(MAX_SEGMENTS):
        if position >= len(data):
            return
        # Length, type, content, checksum.
        position += 12 + int.from_bytes(data[position:position + 4], "big")
    raise Undecodable(f"the PNG has more than {MAX_SEGMENTS} chunks")


def _check_tiff(data: bytes) -> None:
    order = "<" if data.startswith(b"II") else ">"
    big = data[2] == 43
    entry = struct.Struct(order + ("HHQ8x" if big else "HHL4x"))
    number = order + ("Q" if big else "H")
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
        (entries,) = struct.unpack_from(number, data, offset)
    except (struct.error, OverflowError):
        raise Undecodable("the TIFF has no directory") from None
    if entries > MAX_ENTRIES:
        raise Undecodable(f"the TIFF's directory has more than {MAX_ENTRIES} entries")
    start = offset + struct.calcsize(number)
    whole = min(entries, max(0, len(data) - start) // entry.size)
    for tag, kind, count in entry.iter_unpack(data[start:start + whole * entry.size]):
        if count > MAX_VALUES and (kind not in _BYTES or tag in _STRUCTURAL):
            raise Undecodable(f"the TIFF's tag {tag} has more than {MAX_VALUES} values")


def _brands(data: bytes) -> frozenset[bytes]:
    """Major and compatible brands of an ISO media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return frozenset([data[8:12], *(data[at:at + 4] for at in range(16, end, 4))])
