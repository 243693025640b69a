"""Fewer rows are decoded, and nobody can tell by what comes out."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from irs.domain import images, jpeg
from irs.errors import Refused, Undecodable

LIMITS = images.Limits()
#: Pillow's ``subsampling``, and sampling factors of the luma that make as many blocks of an MCU:
#: those that Pillow does not write are put into the frame header of what it does.
SAMPLINGS = {"4:4:4": (0, 0x11), "4:2:2": (1, 0x21), "4:4:0": (1, 0x12), "4:2:0": (2, 0x22),
             "4:1:1": (2, 0x41), "1 by 4": (2, 0x14)}
RESTARTS = [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}]


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    bands = [Image.effect_noise((-(-width // 3), -(-height // 3)), 60) for _ in "RGB"]
    return Image.merge("RGB", bands).resize((width, height)).convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", *, sampling: str = "4:2:0", turned: int = 1,
           **options) -> bytes:
    exif = Image.Exif()
    exif[274] = turned
    pillows, factors = SAMPLINGS[sampling]
    if image.mode == "RGB":
        options["subsampling"] = pillows
    out = io.BytesIO()
    image.save(out, kind, exif=exif, **options)
    data = bytearray(out.getvalue())
    if image.mode == "RGB":
        data[data.index(b"\xff\xc0") + 11] = factors
    return bytes(data)


def outcome(data: bytes, preprocess: images.Preprocess) -> images.Decoded | type[Refused]:
    try:
        return images.decode(data, LIMITS, preprocess)
    except Refused as refused:
        return type(refused)


def whole(data: bytes, preprocess: images.Preprocess) -> images.Decoded | type[Refused]:
    """The outcome where no file counts as plain, so that all rows are decoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "_SEGMENTS", 0)
        return outcome(data, preprocess)


def load(data: bytes, rows: int, scale: int = 1) -> tuple[Image.Image, Image.Image]:
    """What `jpeg.load` makes of it, and what Pillow does."""
    loaded = []
    for how in (lambda image: jpeg.load(image, data, rows), lambda image: image):
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (image.width // scale, image.height // scale))
            loaded.append(how(image).copy())
    return loaded[0], loaded[1]


def is_short(data: bytes) -> bool:
    top, full = load(data, 20)
    assert top.size == full.size
    assert top.crop((0, 0, top.width, 20)).tobytes() == full.crop((0, 0, top.width, 20)).tobytes()
    return top.tobytes() != full.tobytes()


@pytest.mark.parametrize("restarts", RESTARTS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_rows_that_are_wanted_are_exact_and_those_far_below_black(sampling, scale, restarts):
    data = encode(picture(72 * scale, 80 * scale), sampling=sampling, **restarts)
    for rows in (1, *range(12, 18), *range(28, 34)):
        top, full = load(data, rows, scale)
        assert top.size == full.size == (72, 80)
        assert top.crop((0, 0, 72, rows)).tobytes() == full.crop((0, 0, 72, rows)).tobytes()
    assert top.crop((0, 80 - 8, 72, 80)).getextrema() == ((0, 0),) * 3
    assert full.crop((0, 80 - 8, 72, 80)).getextrema() != ((0, 0),) * 3


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "MPO"), ("L", "MPO")])
def test_other_modes_and_the_first_of_several_pictures_are_cut_short_too(mode, kind):
    several = {"save_all": True, "append_images": [picture(30, 30)]} if kind == "MPO" else {}
    assert is_short(encode(picture(60, 90, mode), kind, **several))


def test_what_a_camera_appends_does_not_matter_unless_it_is_much():
    data = encode(picture(60, 90))
    assert is_short(data + bytes(1000))
    assert not is_short(data + bytes(100_000))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_crop_is_that_of_the_whole(data):
    width, height = data.draw(st.integers(1, 130), "width"), data.draw(st.integers(1, 320), "height")
    file = encode(picture(width, height, data.draw(st.sampled_from(["RGB", "RGB", "L", "CMYK"]))),
                  sampling=data.draw(st.sampled_from(sorted(SAMPLINGS))),
                  turned=data.draw(st.integers(1, 8)), quality=data.draw(st.sampled_from([30, 95])),
                  **data.draw(st.sampled_from(RESTARTS)))
    resize = data.draw(st.integers(3, 90), "resize")
    preprocess = images.Preprocess(resize=resize, crop=data.draw(st.integers(1, resize), "crop"))
    expected = whole(file, preprocess)
    assert isinstance(expected, images.Decoded)
    assert {expected.header.width, expected.header.height} == {width, height}
    assert outcome(file, preprocess) == expected


def test_a_very_tall_picture_is_resampled_in_the_same_order():
    """Pillow begins with the rows where there are so many more of them, by the full height."""
    for height in range(120, 400, 9):
        data = encode(picture(60, height))
        small = images.Preprocess(resize=16, crop=14)
        assert outcome(data, small) == whole(data, small)


# -- refusals ----------------------------------------------------------------------------

TALL = encode(picture(60, 160))
SMALL = images.Preprocess(resize=32, crop=28)
CODED = TALL.index(b"\xff\xda") + 14


def test_of_the_file_whose_refusals_follow_not_all_is_decoded():
    assert is_short(TALL)


def test_a_file_cut_off_anywhere_is_refused():
    # Without an end, but with all of its pixels, it has always been taken.
    for length in range(CODED, len(TALL) - 12, 29):
        assert outcome(TALL[:length], SMALL) is Undecodable


@pytest.mark.parametrize("at", [CODED + 9, len(TALL) - 40])
def test_a_second_scan_a_second_frame_or_an_unknown_marker_is_refused(at):
    frame = TALL.index(b"\xff\xc0")
    for odd in (TALL[CODED - 14:CODED], TALL[frame:frame + 19], b"\xff\x02", b"\xff\xdb\0\3\x77"):
        assert outcome(TALL[:at] + odd + TALL[at:], SMALL) is Undecodable


def test_what_is_too_tall_for_libjpeg_stays_so():
    at = TALL.index(b"\xff\xc0") + 5
    data = TALL[:at] + (65_501).to_bytes(2, "big") + TALL[at + 2:]
    assert whole(data, SMALL) is Undecodable
    assert outcome(data, SMALL) is Undecodable
    assert images.validate(data, LIMITS).height == 65_501


def test_what_is_not_plain_is_decoded_whole():
    frame, scan = TALL.index(b"\xff\xc0"), TALL.index(b"\xff\xda")
    assert jpeg._head(TALL, 32)[frame + 5:frame + 7] == b"\0\x20"
    for odd in (
            TALL[:frame + 1] + b"\xc2" + TALL[frame + 2:],  # progressive
            TALL[:frame + 1] + b"\xc9" + TALL[frame + 2:],  # arithmetic coding
            TALL[:frame + 5] + b"\0\0" + TALL[frame + 7:],  # a height that comes later
            TALL[:scan + 4] + b"\1" + TALL[scan + 5:],  # more scans to come
            TALL[:frame] + TALL[frame:frame + 19] + TALL[frame:],  # two frames
            TALL[:frame] + b"\xff" + TALL[frame:],  # a fill byte
            TALL[:frame] + b"\xff\x01" + TALL[frame:],  # a marker without a segment
            TALL[:scan] + b"\xff\xfe\0\2" * 300 + TALL[scan:],  # many comments
            TALL[:scan] + (b"\xff\xe5\xff\xff" + bytes(65_533)) * 16 + TALL[scan:],  # a MB of them
            TALL[:-2]):  # no end
        assert jpeg._head(odd, 32) == b""


SEEDS = [encode(picture(40, 120), sampling=sampling, turned=6, **restarts)
         for sampling in ("4:2:0", "4:4:4") for restarts in RESTARTS]
SEEDS.append(encode(picture(40, 120, "CMYK")))
#: Markers of all kinds, each of which the decoder treats in a way of its own.
MARKERS = [0x00, 0x01, 0x02, 0xBF, 0xC0, 0xC4, 0xD0, 0xD3, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE1,
           0xFE, 0xFF]
#: where in the coded data, as a fraction; what to write there, after FF or as it is
EDIT = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(MARKERS), st.binary(max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(EDIT, min_size=1, max_size=3), st.floats(0, 1), st.booleans())
def test_damaged_files_are_taken_and_refused_as_if_all_were_decoded(seed, edits, kept, ended):
    data, coded = bytearray(seed), seed.index(b"\xff\xda")
    for where, marker, what in edits:
        at = coded + int(where * (len(data) - coded))
        data[at:at + len(what)] = bytes([0xFF, marker]) + what
    if kept < 0.2:
        del data[coded + int(kept / 0.2 * (len(data) - coded)):]
    if ended:
        data += b"\xff\xd9"
    assert outcome(bytes(data), SMALL) == whole(bytes(data), SMALL)
