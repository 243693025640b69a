"""Validate and decode an upload; the only place that opens image bytes.

The web tier calls `validate`, which reads the header; a worker calls `decode`. Both take
hostile bytes from many threads at once, raise nothing but `irs.errors.Refused` and
`irs.errors.OutOfMemory`, and print nothing. An empty file is an `UnsupportedFormat`, as a
file of zeros is: nothing in either says that it was meant as an image. Bytes that begin like
an image and go wrong later, in the header or after it, are `Undecodable`.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin, TiffTags, features

from irs.domain import containers, footprint, jpeg, orientation, pillow, rgb
from irs.domain.room import Room
from irs.errors import OutOfMemory, Refused, TooLarge, Undecodable, UnsupportedFormat

#: Pillow's names of the formats taken. A multi-picture JPEG opens as JPEG and says MPO.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", *(
    ("AVIF",) if features.check("avif") else ()))

#: Bytes of memory that decoding may take for each pixel of the limit: 296 MB at 40 MP.
#: Pillow keeps 4 bytes a pixel; some decoders need up to 16 while they work.
_MEMORY_PER_PIXEL = 7.4
_MEMORY_FLOOR = 64_000_000
#: Pillow unpacks run-length coded BMPs in Python, byte by byte: 0.1 s a megapixel, with the
#: interpreter's lock held. They get this fraction of the pixel limit.
_RLE_SHARE = 8
#: All decodes of a process together get the memory of the largest one allowed, so that a pool
#: of threads that all meet large images needs no more than one thread. What takes no more
#: than this, as the photograph of a telephone does, never waits.
_SMALL = 16_000_000
_room = Room()

@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an upload may cost."""

    #: bytes of the file
    max_bytes: int = 20_000_000
    #: width times height, as the header has them
    max_pixels: int = 40_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """The geometry that a model was trained with; see `decode`."""

    #: pixels that the shorter side is scaled to
    resize: int = 256
    #: side of the square cut from the centre
    crop: int = 224

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise ValueError(f"crop ({self.crop}) must be 1..resize ({self.resize})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What the file's header says."""

    #: Pillow's name: JPEG, MPO, PNG, …
    format: str
    #: pixels, after EXIF orientation
    width: int
    #: pixels, after EXIF orientation
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """An image ready for a model."""

    header: Header
    #: ``crop * crop * 3`` bytes: rows from the top, pixels from the left, R G B, 0..255
    pixels: bytes


pillow.confine(Limits().max_pixels)


def validate(data: bytes, limits: Limits) -> Header:
    """Check size, format and dimensions from the header alone; no pixel is decoded.

    Raises `TooLarge`, `UnsupportedFormat`, `Undecodable` or `OutOfMemory`.
    """
    kind = _kind(data, limits)
    with _refusals(kind, limits), _open(data, kind, limits) as (image, _):
        return _header(image, orientation.of(image))


def decode(data: bytes, limits: Limits, preprocess: Preprocess) -> Decoded:
    """Decode the first frame, upright, over white, and cut the model's square out of it.

    The square is what scaling the shorter side to ``preprocess.resize`` and cutting the
    centre ``preprocess.crop`` pixels gives, in one resampling. Because it is centred, it is
    the same square before and after any of EXIF's eight orientations: only the finished
    crop is turned, never the full image.

    Raises `TooLarge`, `UnsupportedFormat`, `Undecodable` or `OutOfMemory`.
    """
    kind = _kind(data, limits)
    with _refusals(kind, limits), _open(data, kind, limits) as (image, peak), \
            _place(peak, limits), contextlib.closing(image):  # which frees it within its place
        return _decode(image, kind, preprocess, data)


def _place(peak: int, limits: Limits) -> contextlib.AbstractContextManager[None]:
    return _room.take(peak, _allowed(limits)) if peak > _SMALL else contextlib.nullcontext()


def _allowed(limits: Limits) -> int:
    """Bytes of memory."""
    return int(max(_MEMORY_FLOOR, _MEMORY_PER_PIXEL * limits.max_pixels))


def _decode(image: Image.Image, kind: str, preprocess: Preprocess, data: bytes) -> Decoded:
    raw = rgb.raw_mode(image)
    if kind == "PNG":  # its EXIF may follow its pixels
        image.load()
    turned = orientation.of(image)
    header = _header(image, turned)
    width, height = orientation.stored_size(image)
    # JPEG only: libjpeg scales by 1/2, 1/4 or 1/8 while it decodes.
    if drafted := image.draft(None, (preprocess.resize, preprocess.resize)):
        width, height = drafted[1][2:]
    side = min(width, height) * preprocess.crop / preprocess.resize
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        frame = jpeg.load(image, data, rgb.rows(image, box, preprocess.crop))
    else:
        frame = _load(image, kind)
    crop = rgb.square(frame, raw, box, preprocess.crop)
    return Decoded(header=header, pixels=orientation.upright(crop, turned).tobytes())


def _kind(data: bytes, limits: Limits) -> str:
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the file has {len(data):,} bytes; at most {limits.max_bytes:,} are taken")
    if not data:
        raise UnsupportedFormat("the file is empty")
    kind = containers.sniff(data)
    if kind not in FORMATS:
        raise UnsupportedFormat(f"not an image of a format taken here: {', '.join(FORMATS)}")
    return kind


@contextlib.contextmanager
def _refusals(kind: str, limits: Limits) -> Iterator[None]:
    """Turn what Pillow raises into `Refused`."""
    try:
        yield
    except Refused:
        raise
    except Image.DecompressionBombError as exc:
        raise TooLarge(f"the {kind} has more than {limits.max_pixels:,} pixels") from exc
    # Pillow has no list of what a hostile file can raise: OSError, ValueError, SyntaxError,
    # NotImplementedError, KeyError, struct.error, … have been seen. The bytes are in
    # memory, so nothing but a want of memory is the machine's fault; the rest is the file's.
    except Exception as exc:
        if isinstance(exc, MemoryError) or not _is_free(_allowed(limits)):
            raise OutOfMemory(f"no memory for decoding the {kind} now") from exc
        raise Undecodable(f"the {kind} is damaged, truncated or of an unusual kind") from exc


def _is_free(memory: int) -> bool:
    """Whether so many bytes can be had: libjpeg and libwebp do not say why they gave up.

    A good photograph must not be called damaged because the machine was short of memory.
    """
    try:
        mmap.mmap(-1, memory).close()  # asked for, never touched
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _open(data: bytes, kind: str, limits: Limits) -> Iterator[tuple[Image.Image, int]]:
    """The image, its header read and within the limits, and the bytes that decoding takes."""
    passes = containers.passes(data, kind)
    pillow.ready(limits.max_pixels)
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        width, height = image.size
        if width * height > limits.max_pixels:
            raise TooLarge(f"the {kind} has more than {limits.max_pixels:,} pixels")
        if kind == "BMP" and image.tile[0][0] == "bmp_rle" and \
                width * height > limits.max_pixels // _RLE_SHARE:
            raise TooLarge(f"the run-length coded BMP has {width} × {height} pixels; "
                           f"at most {limits.max_pixels // _RLE_SHARE:,} are taken")
        peak = footprint.peak(image, orientation.stored_size(image), length=len(data), passes=passes)
        allowed = _allowed(limits)
        if peak > allowed:
            raise TooLarge(f"decoding this {kind} would take {peak / 1e6:.0f} MB of memory; "
                           f"at most {allowed / 1e6:.0f} MB are given")
        yield image, peak


def _header(image: Image.Image, turned: int) -> Header:
    width, height = orientation.upright_size(image, turned)
    return Header(format=image.format or "", width=width, height=height)


def _load(image: Image.Image, kind: str) -> Image.Image:
    """Decode the first frame."""
    if kind in ("WEBP", "AVIF"):
        return _load_frame(image, kind)
    if kind == "TIFF":
        # Pillow would turn a full copy of the image, and expand the directories of its
        # metadata; we turn the crop and need none of them.
        exif = Image.Image.getexif(image)
        for tag in (orientation.TAG, *TiffTags.TAGS_V2_GROUPS):
            if tag in exif:
                del exif[tag]
    image.load()
    return image


def _load_frame(image: Image.Image, kind: str) -> Image.Image:
    """Decode as Pillow's ``load`` does, but free the decoder before the pixels are copied.

    Its canvases and Pillow's copies together take 16 bytes a pixel, so that a photograph
    of 24 megapixels would need 400 MB.
    """
    decoder, image._decoder = image._decoder, None
    frame = decoder.get_next() if kind == "WEBP" else decoder.get_frame(0)
    del decoder
    if frame is None:
        raise EOFError("no frame")
    raw = image.rawmode if kind == "WEBP" else image.mode
    # RGBX and RGBA are mapped, not copied.
    return Image.frombuffer(raw, image.size, frame[0], "raw", raw, 0, 1)
