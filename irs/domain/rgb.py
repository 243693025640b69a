"""From any of Pillow's modes to a small RGB square, in strips, so that memory stays bounded.

Works on images that `irs.domain.images` has opened; opens none itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image

Box = tuple[float, float, float, float]
Flatten = Callable[[Image.Image], Image.Image]

#: Pixels converted at a time: a few MB whatever the mode.
_STRIP = 1 << 20
#: A box filter first brings the picture to at least this many times the final size. Pillow's
#: documentation of ``reducing_gap`` calls 3 indistinguishable from resampling in one step.
_GAP = 3.0
#: The filter that the default model was trained with, which is also torchvision's default.
_FILTER = Image.Resampling.BILINEAR
#: Largest sample of the raw modes that Pillow unpacks without scaling to 16 bits.
_TWELVE_BITS, _SIXTEEN_BITS = 4095, 65535
#: Pillow scales 2- and 4-bit greys to 0..255 but leaves PNG's transparent grey as stored.
_GREY_STEP = {"L;2": 85, "L;4": 17}


def raw_mode(image: Image.Image) -> str:
    """How the file stores its samples; known only before the image is loaded."""
    tile = getattr(image, "tile", None)
    args = tile[0][3] if tile else ""
    name = args[0] if isinstance(args, tuple) and args else args
    return name if isinstance(name, str) else ""


def rows(image: Image.Image, box: Box, size: int) -> int:
    """How many rows from the top `square` looks at; there may be fewer. Told before loading."""
    factor = _factor(box, size)
    if _is_plain(image, factor):
        # The filter reaches one pixel of the square, or of the image if that is larger, around
        # the middle of its last row.
        return math.ceil(box[3] + (box[3] - box[1]) / size / 2 + 1.5)
    return math.ceil(box[3]) + _margin(box, size)


def square(image: Image.Image, raw: str, box: Box, size: int) -> Image.Image:
    """``box`` (left, top, right, bottom; pixels) of a loaded image as ``size`` by ``size`` RGB.

    Alpha is laid over white; 16-bit samples are scaled, not clipped. ``raw`` is from
    `raw_mode`. Raises whatever Pillow raises for damaged palettes and the like.
    """
    left, top, right, bottom = box
    factor = _factor(box, size)
    if _is_plain(image, factor):
        return image.resize((size, size), _FILTER, box=box)
    margin = _margin(box, size)
    # The core's size: a TIFF that has not been turned reports its size as if it had.
    width, height = image.im.size
    x0, y0 = max(0, math.floor(left) - margin), max(0, math.floor(top) - margin)
    x1, y1 = min(width, math.ceil(right) + margin), min(height, math.ceil(bottom) + margin)
    flatten = _flattener(image, raw)
    canvas = Image.new("RGB", (-(-(x1 - x0) // factor), -(-(y1 - y0) // factor)))
    rows = factor * max(1, _STRIP // ((x1 - x0) * factor))
    for y in range(y0, y1, rows):
        strip = flatten(image.crop((x0, y, x1, min(y + rows, y1))))
        canvas.paste(strip.reduce(factor) if factor > 1 else strip, (0, (y - y0) // factor))
    reduced = ((left - x0) / factor, (top - y0) / factor,
               (right - x0) / factor, (bottom - y0) / factor)
    return canvas.resize((size, size), _FILTER, box=reduced)


def _factor(box: Box, size: int) -> int:
    """Of the box filter that comes first."""
    return max(1, int((box[2] - box[0]) / (size * _GAP)))


def _is_plain(image: Image.Image, factor: int) -> bool:
    """Whether one resampling of the image as it is makes the square."""
    return factor == 1 and image.mode == "RGB" and "transparency" not in image.info


def _margin(box: Box, size: int) -> int:
    """Pixels around the box: twice the scale is more than the filter reaches beyond it."""
    return 2 * math.ceil((box[2] - box[0]) / size) + _factor(box, size)


def _flattener(image: Image.Image, raw: str) -> Flatten:
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_flattener(image, raw)
    _mend_transparency(image, raw)
    return _over_white if image.has_transparency_data else _to_rgb


def _to_rgb(strip: Image.Image) -> Image.Image:
    return strip.convert("RGB")


def _over_white(strip: Image.Image) -> Image.Image:
    rgba = strip.convert("RGBA")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba)
    return white


def _mend_transparency(image: Image.Image, raw: str) -> None:
    """PNG's transparent colour is in the file's depth; bring it to the 8 bits of the pixels."""
    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int):
        image.info["transparency"] = min(255, colour * _GREY_STEP.get(raw, 1))
    elif image.mode == "RGB" and isinstance(colour, tuple) and ";16" in raw:
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _wide_flattener(image: Image.Image, raw: str) -> Flatten:
    """For integer and float greys of more than 8 bits."""
    low, high = _range(image, raw)
    scale = 255.0 / ((high - low) or 1.0)
    transparent = image.info.get("transparency")

    def flatten(strip: Image.Image) -> Image.Image:
        # `point` takes scale and offset alone in these modes; half a step rounds.
        wide = strip if strip.mode == "F" else strip.convert("I")
        grey = wide.point(lambda v: v * scale + (0.5 - low * scale)).convert("L")
        if isinstance(transparent, int):
            # Exactly the transparent value becomes 1; smaller ones clip to 0.
            marked = wide.point(lambda v: v * 1 + (1 - transparent)).convert("L")
            grey.paste(255, mask=marked.point([0, 255] + [0] * 254))
        return grey.convert("RGB")

    return flatten


def _range(image: Image.Image, raw: str) -> tuple[float, float]:
    """The samples that become black and white.

    16-bit files use their full range. 32-bit integers and floats have no agreed range:
    the first usual one that holds them all, else from their least to their greatest.
    """
    if image.mode.startswith("I;16"):
        return 0.0, float(_TWELVE_BITS if raw.startswith("I;12") else _SIXTEEN_BITS)
    low, high = (float(value) for value in image.getextrema())
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 255.0
    usual = (1.0, 255.0, float(_SIXTEEN_BITS)) if image.mode == "F" else (255.0, float(_SIXTEEN_BITS))
    for white in usual:
        if low >= 0 and high <= white:
            return 0.0, white
    return low, high
