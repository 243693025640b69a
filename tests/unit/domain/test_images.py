"""Every way an upload can look, and every way it can be wrong."""

from __future__ import annotations

import concurrent.futures
import io
import pathlib
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import warnings
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFile, ImageStat, features
from skimage import data as photographs

from irs.domain import containers, images
from irs.errors import Refused, TooLarge, Undecodable, UnsupportedFormat

LIMITS = images.Limits()
PREPROCESS = images.Preprocess()
SIDE = PREPROCESS.crop


def encode(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    if kind == "PNG":
        options = {"compress_level": 1, **options}  # ten times faster
    image.save(out, kind, **options)
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    decoded = images.decode(data, LIMITS, PREPROCESS)
    return Image.frombytes("RGB", (SIDE, SIDE), decoded.pixels)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of two RGB images, 0..255."""
    assert (a.mode, a.size) == (b.mode, b.size)
    return sum(ImageStat.Stat(ImageChops.difference(a, b)).mean) / 3


def textbook(image: Image.Image) -> Image.Image:
    """Shorter side to 256, centre crop of 224: two steps on the whole image."""
    scale = PREPROCESS.resize / min(image.size)
    resized = image.convert("RGB").resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (resized.width - SIDE) // 2, (resized.height - SIDE) // 2
    return resized.crop((left, top, left + SIDE, top + SIDE))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff(*entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value), then ``tail``."""
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + packed + bytes(4) + tail


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    """450 by 300, which 256 by 384 and the crop divide evenly: no half pixels to argue about."""
    return Image.fromarray(photographs.chelsea()).crop((0, 0, 450, 300))


@pytest.fixture(scope="module")
def rocket() -> Image.Image:
    """640 by 427."""
    return Image.fromarray(photographs.rocket())


# -- formats -----------------------------------------------------------------------------

#: format, options, mean difference that its compression may make
KINDS = [
    ("JPEG", {"quality": 95}, 3), ("JPEG", {"quality": 95, "progressive": True}, 3),
    ("PNG", {}, 1), ("WEBP", {"quality": 95}, 4), ("WEBP", {"lossless": True}, 1), ("BMP", {}, 1),
    ("TIFF", {}, 1), ("TIFF", {"compression": "tiff_lzw"}, 1), ("TIFF", {"compression": "jpeg"}, 6),
    ("GIF", {}, 12),
    pytest.param("AVIF", {"quality": 95}, 4, marks=pytest.mark.skipif(
        not features.check("avif"), reason="this Pillow has no AVIF")),
]


@pytest.mark.parametrize(("kind", "options", "tolerance"), KINDS)
def test_each_format_gives_the_same_picture(cat, kind, options, tolerance):
    data = encode(cat, kind, **options)
    header = images.validate(data, LIMITS)
    assert header == images.Header(format=kind, width=450, height=300)
    decoded = images.decode(data, LIMITS, PREPROCESS)
    assert decoded.header == header
    assert len(decoded.pixels) == SIDE * SIDE * 3
    assert difference(decode(data), textbook(cat)) < tolerance


def test_formats_are_those_tested_here():
    assert {kind.values[0] if hasattr(kind, "values") else kind[0] for kind in KINDS} >= set(images.FORMATS)


def test_the_pictures_of_a_camera_are_mpo(cat, rocket):
    data = encode(cat, "MPO", save_all=True, append_images=[rocket])
    assert images.validate(data, LIMITS) == images.Header(format="MPO", width=450, height=300)
    assert difference(decode(data), textbook(cat)) < 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind):
    frames = [Image.new("RGB", (300, 300), colour) for colour in ("red", "blue", "lime")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    red, green, blue = decode(data).getpixel((100, 100))
    assert red > 240 and green < 15 and blue < 15


# -- geometry ----------------------------------------------------------------------------

@pytest.mark.parametrize("size", [(451, 300), (300, 451), (256, 256), (224, 224), (1000, 260),
                                  (100, 80), (1700, 1300), (2600, 2500)])
def test_the_crop_is_the_textbook_one(rocket, size):
    image = rocket.resize(size, Image.Resampling.BICUBIC)
    assert difference(decode(encode(image, "PNG")), textbook(image)) < 2.5


def test_a_large_jpeg_scaled_while_decoding_gives_the_same_crop(rocket):
    image = rocket.resize((4001, 2999), Image.Resampling.BICUBIC)
    assert difference(decode(encode(image, "JPEG", quality=90)), textbook(image)) < 3


def test_the_crop_shows_the_centre():
    image = Image.new("RGB", (512, 256), "red")
    image.paste((0, 0, 255), (256 - 64, 64, 256 + 64, 192))
    crop = decode(encode(image, "PNG"))
    # 64 pixels either side of the centre, at scale 1: from 48 to 176 of 224.
    assert [crop.getpixel(at) for at in ((46, 112), (49, 112), (174, 112), (177, 112))] == [
        (255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 0, 0)]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (3000, 20)])
def test_tiny_and_thin_images_are_images(size):
    data = encode(Image.new("RGB", size, (10, 200, 30)), "PNG")
    assert decode(data).getextrema() == ((10, 10), (200, 200), (30, 30))


def test_other_models_have_other_crops(cat):
    decoded = images.decode(encode(cat, "PNG"), LIMITS, images.Preprocess(resize=342, crop=299))
    assert len(decoded.pixels) == 299 * 299 * 3
    with pytest.raises(ValueError, match="crop"):
        images.Preprocess(resize=224, crop=256)


# -- orientation -------------------------------------------------------------------------

#: What a camera that wrote this orientation did to the upright picture.
TURNED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}


def turned(image: Image.Image, orientation: int, kind: str, **options) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    how = TURNED[orientation]
    return encode(image if how is None else image.transpose(how), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("kind", "options", "tolerance"), [
    ("JPEG", {"quality": 95}, 2), ("PNG", {}, 0.5), ("WEBP", {"lossless": True}, 0.5),
    ("TIFF", {}, 0.5), ("TIFF", {"compression": "tiff_lzw"}, 0.5)])
def test_every_orientation_is_upright_in_the_end(cat, orientation, kind, options, tolerance):
    data = turned(cat, orientation, kind, **options)
    header = images.validate(data, LIMITS)
    assert (header.width, header.height) == cat.size
    assert images.decode(data, LIMITS, PREPROCESS).header == header
    upright = decode(encode(cat, kind, **options))
    assert difference(decode(data), upright) < tolerance


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_reduced_image_is_turned_too(rocket, orientation):
    image = rocket.resize((2600, 1900))
    assert difference(decode(turned(image, orientation, "PNG")), textbook(image)) < 2.5


def test_exif_behind_the_pixels_of_a_png_is_found(cat):
    exif = Image.Exif()
    exif[274] = 3
    plain = encode(cat.transpose(Image.Transpose.ROTATE_180), "PNG")
    end = plain.rindex(b"IEND") - 4
    data = plain[:end] + png_chunk(b"eXIf", exif.tobytes()[6:]) + plain[end:]
    assert difference(decode(data), textbook(cat)) < 1


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense" * 9])
def test_damaged_exif_does_not_spoil_a_good_picture(cat, exif):
    assert difference(decode(encode(cat, "JPEG", quality=95, exif=exif)), textbook(cat)) < 3


# -- modes -------------------------------------------------------------------------------

@pytest.mark.parametrize(("mode", "kind"), [
    ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF"), ("RGBA", "PNG"),
    ("RGBX", "TIFF")])
def test_colour_modes_keep_their_colours(cat, mode, kind):
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(cat, srgb, lab, outputMode="LAB")
    else:
        image = cat.convert(mode)
    assert difference(decode(encode(image, kind)), textbook(cat)) < 4


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_few_colours_are_still_the_picture(cat, mode):
    image = cat.convert(mode)
    assert difference(decode(encode(image, "PNG")), textbook(image.convert("RGB"))) < 1


@pytest.mark.parametrize(("mode", "kind"), [
    ("RGBA", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("PA", "TIFF")])
def test_alpha_is_laid_over_white(mode, kind):
    # Left half clear, right half half-clear black.
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    image.paste((0, 0, 0, 128), (128, 0, 256, 256))
    options = {"lossless": True} if kind == "WEBP" else {}
    crop = decode(encode(image.convert(mode), kind, **options))
    assert crop.getpixel((20, 100)) == (255, 255, 255)
    assert all(abs(band - 127) <= 1 for band in crop.getpixel((200, 100)))


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_transparent_palette_entry_is_white(transparency):
    image = Image.new("P", (256, 256), 0)
    image.putpalette([200, 30, 40, 0, 0, 0])
    image.paste(1, (128, 0, 256, 256))
    crop = decode(encode(image, "PNG", transparency=transparency))
    assert crop.getpixel((20, 100)) == (200, 30, 40)
    assert crop.getpixel((200, 100)) == (255, 255, 255)


def halves(depth: int, colour: int, left: bytes, right: bytes, transparent: bytes) -> bytes:
    """A PNG of 256 rows: ``left`` and ``right`` are the bytes of 128 pixels each."""
    pixels = zlib.compress((b"\0" + left + right) * 256)
    return png(256, 256, png_chunk(b"tRNS", transparent), png_chunk(b"IDAT", pixels),
               depth=depth, colour=colour)


@pytest.mark.parametrize(("data", "grey"), [
    (halves(1, 0, b"\0" * 16, b"\xff" * 16, b"\0\0"), 255),
    (halves(2, 0, b"\x55" * 32, b"\0" * 32, b"\0\x01"), 0),
    (halves(4, 0, b"\x33" * 64, b"\x11" * 64, b"\0\x03"), 17),
    (halves(8, 0, b"\x40" * 128, b"\x80" * 128, b"\0\x40"), 128),
    (halves(16, 0, b"\x40\x01" * 128, b"\x80\x80" * 128, b"\x40\x01"), 128),
    (halves(8, 2, b"\1\2\3" * 128, b"\x64\x64\x64" * 128, b"\0\1\0\2\0\3"), 100),
    (halves(16, 2, b"\x10\0\x20\0\x30\0" * 128, b"\x64\0" * 384, b"\x10\0\x20\0\x30\0"), 100),
], ids=["grey1", "grey2", "grey4", "grey8", "grey16", "rgb8", "rgb16"])
def test_a_transparent_colour_of_any_depth_is_white(data, grey):
    crop = decode(data)
    assert crop.getpixel((20, 100)) == (255, 255, 255)
    assert crop.getpixel((200, 100)) == (grey, grey, grey)


def ramp(mode: str, scale: float, offset: float = 0) -> Image.Image:
    """A gradient from black to white, top to bottom, whose samples are ``grey * scale + offset``."""
    wide = Image.linear_gradient("L").convert("F").point(lambda v: v * scale + offset)
    return wide if mode == "F" else wide.convert("I") if mode == "I" else wide.convert("I").convert(mode)


@pytest.mark.parametrize(("image", "kind"), [
    (ramp("I;16", 257), "PNG"), (ramp("I;16", 257), "TIFF"), (ramp("I;16B", 257), "TIFF"),
    (ramp("I", 1), "TIFF"), (ramp("I", 257), "TIFF"), (ramp("I", 1e6, -3e7), "TIFF"),
    (ramp("F", 1 / 255), "TIFF"), (ramp("F", 1), "TIFF"), (ramp("F", 257), "TIFF"),
    (ramp("F", 40, -5000), "TIFF"),
], ids=["png16", "tiff16", "tiff16B", "int8", "int16", "int32", "unit", "float8", "float16", "float"])
def test_deep_samples_are_scaled_not_clipped(image, kind):
    crop = decode(encode(image, kind))
    # Row y of the crop is row y + 16 of the gradient.
    for y in (0, 50, 112, 200, 223):
        assert all(abs(band - (y + 16)) <= 1 for band in crop.getpixel((112, y)))


def test_floats_that_are_no_numbers_are_still_a_picture():
    values = struct.pack("<4f", float("nan"), float("inf"), float("-inf"), 7.0) * 64
    image = Image.frombytes("F", (16, 16), values)
    assert len(images.decode(encode(image, "TIFF"), LIMITS, PREPROCESS).pixels) == SIDE * SIDE * 3


# -- refusals ----------------------------------------------------------------------------

NOT_IMAGES = [
    b"", bytes(1000), b"BM, said the text, is not a bitmap", b"%PDF-1.7", b"P6 1 1 255 abc",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\0\0\0\0WAVEfmt ",
    b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"]


@pytest.mark.parametrize("data", NOT_IMAGES)
def test_what_is_no_image_is_an_unsupported_format(data):
    for call in (images.validate, lambda d, limits: images.decode(d, limits, PREPROCESS)):
        with pytest.raises(UnsupportedFormat) as caught:
            call(data, LIMITS)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "options", "tolerance"), KINDS)
def test_a_file_cut_in_half_is_undecodable(cat, kind, options, tolerance):
    data = encode(cat, kind, **options)
    with pytest.raises(Undecodable) as caught:
        images.decode(data[:len(data) // 2], LIMITS, PREPROCESS)
    assert (caught.value.status, "\n" in str(caught.value)) == (422, False)


def test_a_cut_jpeg_stays_undecodable_because_pillow_is_not_told_to_fill_it_in():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"MM\0+",
                                  b"RIFF\x04\0\0\0WEBP", b"BM" + bytes(12) + b"\x28\0\0\0"])
def test_a_signature_alone_is_undecodable_at_the_door(data):
    with pytest.raises(Undecodable):
        images.validate(data, LIMITS)


def test_too_many_bytes_are_refused_unread():
    with pytest.raises(TooLarge, match="1,001 bytes"):
        images.validate(bytes(1001), images.Limits(max_bytes=1000))


@pytest.mark.parametrize(("width", "height"), [
    (8000, 7500), (1, 80_000_000), (80_000_000, 1), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(width, height):
    data = png(width, height, png_chunk(b"IDAT", b""))
    assert len(data) == 57
    for call in (images.validate, lambda d, limits: images.decode(d, limits, PREPROCESS)):
        with pytest.raises(TooLarge, match="40,000,000 pixels"):
            call(data, LIMITS)


def test_the_limit_itself_is_taken(cat):
    data = encode(cat, "PNG")
    images.decode(data, images.Limits(max_pixels=450 * 300, max_bytes=len(data)), PREPROCESS)
    with pytest.raises(TooLarge):
        images.validate(data, images.Limits(max_pixels=450 * 300 - 1))


def test_a_higher_limit_is_not_undone_by_pillows_own():
    data = png(20_000, 20_000, png_chunk(b"IDAT", b""), depth=1)
    header = images.validate(data, images.Limits(max_pixels=500_000_000))
    assert header.width == 20_000
    with pytest.raises(TooLarge):
        images.validate(data, LIMITS)


def test_rows_cost_memory_even_where_pixels_are_few():
    with pytest.raises(TooLarge, match="MB of memory"):
        images.validate(png(1, 39_000_000, png_chunk(b"IDAT", b"")), LIMITS)


def test_a_tiff_of_millions_of_strips_is_refused_before_it_is_opened():
    count = 1_000_000
    data = tiff((256, 3, 1, 8), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                (273, 4, count, 110), (277, 3, 1, 1), (278, 4, 1, 1), tail=bytes(4 * count))
    with pytest.raises(Undecodable, match="tag 273"):
        images.validate(data, LIMITS)


def test_a_jpeg_of_nothing_but_scans_takes_no_memory():
    data = b"\xff\xd8" + b"\xff\xda" * 500_000
    tracemalloc.start()
    try:
        assert containers.passes(data, "JPEG") > 1
        assert tracemalloc.get_traced_memory()[1] < len(data)
    finally:
        tracemalloc.stop()


def test_a_jpeg_of_endless_scans_is_refused():
    data = encode(Image.new("L", (640, 640)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(Undecodable, match="64 scans"):
        images.decode(data[:-2] + data[last:-2] * 100 + data[-2:], LIMITS, PREPROCESS)
    # Thumbnails and the data behind the picture are no scans of it.
    thumbnail = b"\xff\xe1\x04\x02" + b"\xff\xda" * 512
    images.decode(data[:2] + thumbnail + data[2:] + b"\xff\xda" * 1000, LIMITS, PREPROCESS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_scans_of_a_jpeg_are_as_many_as_libjpeg_reads(mode, options):
    data = encode(Image.new(mode, (64, 64)), "JPEG", **options)
    scans = containers.passes(data, "JPEG")
    assert (scans > 1) == bool(options)
    # What follows the one scan that has all components is not read, however long it is.
    last = data.rindex(b"\xff\xda")
    more = data[:-2] + data[last:-2] * 30 + data[-2:]
    assert containers.passes(more, "JPEG") == (scans + 30 if options else 1)


def test_a_jpeg_whose_components_have_scans_of_their_own_has_as_many():
    data = encode(Image.new("RGB", (64, 64)), "JPEG")
    first = data.index(b"\xff\xda")
    one = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + b"\x55" * 9
    assert containers.passes(data[:first] + one * 3 + b"\xff\xd9", "JPEG") == 3


def test_a_jpeg_decodes_the_same_in_one_piece_and_in_many():
    photo = Image.fromarray(photographs.astronaut()).resize((900, 700))
    data = encode(photo, "JPEG", quality=98)
    assert len(data) > 3 * ImageFile.MAXBLOCK
    whole = images.decode(data, LIMITS, PREPROCESS).pixels
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (PREPROCESS.resize, PREPROCESS.resize))
        pieces = image.copy()
    plain = encode(pieces, "BMP")
    assert images.decode(plain, LIMITS, PREPROCESS).pixels == whole


@pytest.mark.parametrize("data", [
    b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000, png(8, 8, png_chunk(b"prVt", b"") * 100_000)])
def test_a_flood_of_segments_is_refused(data):
    with pytest.raises(Undecodable, match="65536"):
        images.validate(data, LIMITS)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_metadata_that_unpack_to_much_are_refused(kind):
    bomb = png_chunk(kind, b"name\0\0" + zlib.compress(bytes(50_000_000)))
    with pytest.raises(Undecodable):
        images.validate(png(8, 8, bomb, png_chunk(b"IDAT", zlib.compress(bytes(72)))), LIMITS)


def test_a_large_run_length_coded_bitmap_is_refused():
    info = struct.pack("<LllHHLLllLL", 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 256, 0)
    data = b"BM" + struct.pack("<LHHL", 2000, 0, 0, 14 + 40 + 1024) + info + bytes(1024) + b"\0\1"
    with pytest.raises(TooLarge, match="run-length"):
        images.validate(data, LIMITS)


# -- all at once -------------------------------------------------------------------------

@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(
    [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0\x08\0\0\0", b"RIFF\x10\0\0\0WEBPVP8 ",
     b"BM" + bytes(12) + b"\x28\0\0\0", b"\0\0\0\x18ftypavif"]))
def test_random_bytes_raise_nothing_but_refusals(tail, signature):
    for call in (images.validate, lambda d, limits: images.decode(d, limits, PREPROCESS)):
        try:
            call(signature + tail, LIMITS)
        except Refused as refused:
            assert "\n" not in str(refused)


SEEDS = [
    encode(Image.effect_noise((40, 30), 90).convert(mode), kind, **options)
    for mode, kind, options in [
        ("RGB", "JPEG", {}), ("CMYK", "JPEG", {"progressive": True}), ("RGBA", "PNG", {}),
        ("P", "PNG", {"transparency": 3}), ("LA", "PNG", {}), ("P", "GIF", {"transparency": 3}),
        ("RGBA", "WEBP", {}), ("P", "BMP", {}), ("F", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"})]]
#: where in the file, as a fraction, and what to write there
EDIT = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(EDIT, min_size=1, max_size=6), st.floats(0, 1))
def test_mutated_images_raise_nothing_but_refusals(seed, edits, kept):
    data = bytearray(seed)
    for where, what in edits:
        at = int(where * len(data))
        data[at:at + len(what)] = what
    if kept < 0.3:
        del data[int(kept / 0.3 * len(data)):]
    try:
        assert len(images.decode(bytes(data), LIMITS, PREPROCESS).pixels) == SIDE * SIDE * 3
    except Refused as refused:
        assert "\n" not in str(refused)


def test_many_threads_decode_at_once_and_agree(cat, rocket):
    files = [encode(cat, "JPEG"), encode(rocket, "PNG"), encode(rocket, "WEBP"), encode(cat, "TIFF"),
             b"\xff\xd8\xff"]
    large = encode(Image.effect_noise((4100, 4100), 9), "PNG", compress_level=1)

    def outcome(data: bytes) -> bytes:
        try:
            return images.decode(data, LIMITS, PREPROCESS).pixels
        except Undecodable:
            return b"refused"

    expected = [outcome(data) for data in [*files, large]]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, [*files, large] * 4)) == expected * 4


def test_nothing_is_printed_or_warned(tmp_path):
    """In a process of its own: libtiff writes to the file descriptor, not to sys.stderr."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\0\0\x01\0\0\0"
    files = {
        "odd_exif.jpg": encode(Image.new("RGB", (64, 64)), "JPEG", exif=exif),
        "cut.tif": encode(Image.effect_noise((300, 300), 90), "TIFF", compression="tiff_lzw")[:30_000],
        "bad.tif": bytes(b ^ 0x55 if 100 < i < 40_000 else b for i, b in enumerate(
            encode(Image.effect_noise((300, 300), 90), "TIFF", compression="jpeg"))),
        "cut.jpg": encode(Image.effect_noise((300, 300), 90), "JPEG")[:5000],
        "thirty_megapixels.png": encode(Image.new("1", (6000, 5000)), "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    script = textwrap.dedent("""
        import logging, pathlib, sys
        from irs.domain import images
        from irs.errors import Refused
        logging.basicConfig(level=logging.DEBUG)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                images.decode(path.read_bytes(), images.Limits(), images.Preprocess())
            except Refused as refused:
                print(path.name, refused.status)
    """)
    done = subprocess.run([sys.executable, "-W", "always", "-c", script, str(tmp_path)],
                          cwd=pathlib.Path(images.__file__).parents[2],
                          capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["bad.tif", "422", "cut.jpg", "422", "cut.tif", "422"]


def test_others_keep_their_warnings():
    images.validate(encode(Image.new("L", (8, 8)), "PNG"), LIMITS)
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


# -- memory ------------------------------------------------------------------------------
def test_an_image_that_finds_no_memory_is_not_called_damaged():
    script = pathlib.Path(__file__).with_name("starved.py")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True,
                           timeout=60, env={"PYTHONPATH": str(script.parents[3])})
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert len(lines) == 5
    assert [line for line in lines if line[1:] != ["OutOfMemory", "decoded"]] == []
