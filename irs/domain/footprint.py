"""Bytes of memory that decoding an image will take at its peak, told from its header.

Measured with Pillow 13 on images of 40 megapixels, and rounded up. The image is one that
`irs.domain.images` has opened and not yet loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: TIFF tags: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH = 258, 262, 278, 322, 323
_SAMPLES_PER_PIXEL = 277
_YCBCR = 6


def peak(image: Image.Image, size: tuple[int, int], *, length: int, passes: int) -> int:
    """Bytes, for a file of ``length`` bytes with an image of ``size`` (width, height as stored).

    ``passes`` is from `containers.passes`. The file's own bytes are not counted.
    """
    width, height = size
    if image.format in ("WEBP", "AVIF"):
        # Two canvases, or the planes and an RGB copy of them; and the frame's bytes. The
        # file is copied, for Python and for the decoder.
        return 12 * width * height + 2 * length
    own = _pillow(image.mode, width, height)
    if image.format in ("JPEG", "MPO"):
        # libjpeg decodes at half the size or less where the shorter side allows it.
        own = own // 4 if min(size) >= 1200 else own
        return own + (_jpeg_coefficients(image, size) if passes > 1 else 0)
    if image.format == "TIFF":
        return own + _tiff_buffer(image, size)
    # A GIF's first frame may ask for a second canvas, to be disposed of to.
    return 2 * own if image.format == "GIF" else own


def _pillow(mode: str, width: int, height: int) -> int:
    """Pillow's own copy: rows padded to 4 bytes, and a pointer to each."""
    sample = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4
    return height * (8 + (width * sample + 3) // 4 * 4)


def _jpeg_coefficients(image: Image.Image, size: tuple[int, int]) -> int:
    """A JPEG of several scans keeps 2 bytes a coefficient of every component until the last."""
    factors = [max(1, h) * max(1, v) for _, h, v, _ in image.layer]
    return 2 * size[0] * size[1] * sum(factors) // max(factors)


def _tiff_buffer(image: Image.Image, size: tuple[int, int]) -> int:
    """libtiff unpacks one strip or tile at a time; many files are one single strip."""
    if not image.use_load_libtiff:
        return 0
    width, height = size
    tags = image.tag_v2
    if tags.get(_TILE_WIDTH):
        area = int(tags[_TILE_WIDTH]) * int(tags.get(_TILE_LENGTH, height))
    else:
        area = width * min(height, int(tags.get(_ROWS_PER_STRIP, height)))
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    samples = int(tags.get(_SAMPLES_PER_PIXEL, 1))
    deep = sum(bits) if len(bits) > 1 else bits[0] * samples
    # YCbCr that is not JPEG is unpacked to four bytes a pixel.
    return area * max(deep, 32 if tags.get(_PHOTOMETRIC) == _YCBCR else 0) // 8
