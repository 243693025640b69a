"""Decode no more rows of a JPEG than are looked at.

A decode's time is libjpeg-turbo's entropy decoder's, and what lies below the square that is
cut out is a sixteenth of a landscape's rows, a sixth or more of a portrait's. Pillow cannot
stop early, as libjpeg then calls the file damaged; but a frame header that says a smaller
height makes it decode so many rows and step over the rest of the coded data, ten times as fast,
to the end of the image. Nothing above the last rows of such a picture is changed by it.

Works on images that `irs.domain.images` has opened; opens none itself.
"""

from __future__ import annotations

from PIL import Image, JpegImagePlugin

#: Fewer rows than one in so many are not worth the trouble.
_WORTH = 32
#: The segments before the coded data of a plain file; MPOs and colour profiles have dozens.
_SEGMENTS = 256
#: Bytes of them that are copied at most: nobody counts these as a decode's memory.
_COPIED = 1 << 20
#: The end of the image is looked for in so many of the last bytes: cameras append a little.
_TAIL = 65_536
#: Rows and columns that libjpeg takes at most, whatever it may take in a smaller frame.
_TALLEST = 65_500
#: Sequential, Huffman coded: baseline and extended (ISO/IEC 10918-1, table B.1).
_FRAMES = (b"\xff\xc0", b"\xff\xc1")
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
#: Huffman and quantisation tables, restart interval, comment, application data.
_OTHERS = frozenset([b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xfe",
                     *(bytes([0xFF, kind]) for kind in range(0xE0, 0xF0))])


def load(image: JpegImagePlugin.JpegImageFile, data: bytes, rows: int) -> Image.Image:
    """Decode ``rows`` rows from the top at least, exactly as all would be; others may be black.

    ``image`` is ``data`` opened, with a draft's scale set and not loaded; ``rows`` are of that
    scale. Raises whatever Pillow raises, for the same files as if it decoded all.
    """
    if (top := _top(image, data, rows)) is not None:
        return top
    # In one piece: else Pillow gives the decoder 64 kB at a time, and takes the
    # interpreter's lock back in between.
    image.decodermaxblock = max(image.decodermaxblock, len(data))
    image.load()
    return image


def _top(image: JpegImagePlugin.JpegImageFile, data: bytes, rows: int) -> Image.Image | None:
    """None where that saves little, the file is of another kind, or its decoder complains."""
    scale = image.decoderconfig[0] if image.decoderconfig else 1  # of a file without a scan
    tall = max((vertical for _, _, vertical, _ in image.layer), default=1) or 1
    # Rows that share a sample of colour may be mixed with what is below them; at 1/8, where a
    # block is one pixel, nothing is mixed. An MCU, the unit of coding, has 8 of such groups.
    unit = 8 * tall
    height = -(-(rows + (tall if scale < 8 else 0)) * scale // unit) * unit
    if image.height * scale * (_WORTH - 1) < height * _WORTH or not (head := _head(data, height)):
        return None
    # Of the full height: Pillow's resampling chooses by it whether rows or columns come first.
    core = Image.core.new(image.mode, image.size)
    decoder = Image._getdecoder(image.mode, "jpeg", image.tile[0][3], image.decoderconfig)
    try:
        decoder.setimage(core, (0, 0, image.width, height // scale))
        used, error = decoder.decode(head)
        if used >= 0:  # the rest as it is: no copy is made
            used, error = decoder.decode(memoryview(data)[used:])
    finally:
        decoder.cleanup()
    return None if error or used >= 0 else image._new(core)


def _head(data: bytes, height: int) -> bytes:
    """``data`` up to the coded data, with another height; empty where the file is not plain.

    Plain is: one sequential frame, one scan with all its components, and an end of the image.
    By that end, or by another marker before it, the entropy decoder makes up what is missing, so
    that decoding all rows of such a file comes to where stepping over them comes. A file
    that is cut off is decoded whole, which finds it out.
    """
    at, components, position = 0, b"", 2
    for _ in range(_SEGMENTS):
        marker = data[position:position + 2]
        if marker in _FRAMES and not at:
            at, components = position + 5, data[position + 9:position + 10]
        elif marker not in _OTHERS and (marker != _SCAN or not at):
            return b""
        # A segment's length counts its own two bytes.
        end = position + 2 + int.from_bytes(data[position + 2:position + 4], "big")
        if marker == _SCAN:
            plain = (data[position + 4:position + 5] == components and end <= _COPIED
                     and height < int.from_bytes(data[at:at + 2], "big") <= _TALLEST
                     and data.rfind(_END, max(end, len(data) - _TAIL)) >= 0)
            return data[:at] + height.to_bytes(2, "big") + data[at + 2:end] if plain else b""
        position = end
    return b""
