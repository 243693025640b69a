"""Which way up an image is, by EXIF: its pixels as stored may be turned or mirrored.

Works on images that `irs.domain.images` has opened; opens none itself.
"""

from __future__ import annotations

from PIL import ExifTags, Image

#: EXIF's tag.
TAG = ExifTags.Base.Orientation

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}


def of(image: Image.Image) -> int:
    """EXIF's 1..8; 1 where the metadata are absent or damaged, as browsers have it."""
    try:
        # The base class's method: PNG's own loads the whole image to look behind it.
        value = Image.Image.getexif(image).get(TAG)
    except Exception:  # the picture is good even where its metadata are not
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as stored, before orientation; Pillow reports a TIFF's after it."""
    if image.format == "TIFF":
        return image.tag_v2[256], image.tag_v2[257]
    return image.size


def upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Width and height after orientation."""
    width, height = stored_size(image)
    return (height, width) if orientation >= 5 else (width, height)


def upright(stored: Image.Image, orientation: int) -> Image.Image:
    """What is stored, or a centred square of it, turned as it is meant to be seen."""
    return stored.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else stored
