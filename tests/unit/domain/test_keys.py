"""A user's file name is data: shown, never obeyed."""

from __future__ import annotations

import string
import uuid
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs.domain import keys

SAFE = set(string.ascii_letters + string.digits + "._-")
#: Any string a server may hand over, lone surrogates included; and long names of few
#: characters, so that something awkward lies where a name is cut.
ANY_NAME = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=400),
    st.text(st.sampled_from("𠀀🐯写é."), min_size=140, max_size=220),
    st.builds(lambda length, tail: "x" * length + tail,
              st.integers(80, 210), st.text(". _-/xé", max_size=150)),
)
JOB = "7f3c1d0e-8a7b-4c55-9f6e-0123456789ab"


@given(ANY_NAME)
def test_a_safe_name_is_ascii_and_never_empty_nor_a_path(name):
    safe = keys.safe_name(name)
    assert safe and set(safe) <= SAFE
    assert len(safe) <= 100
    assert not safe.startswith(".")


@given(ANY_NAME)
def test_a_safe_name_stays_as_it_is(name):
    safe = keys.safe_name(name)
    assert keys.safe_name(safe) == safe


@given(st.one_of(st.none(), ANY_NAME))
def test_a_display_name_is_printable_short_and_stays_as_it_is(raw):
    shown = keys.display_name(raw)
    assert 0 < len(shown) <= keys.MAX_NAME
    assert keys.as_metadata(shown) <= keys.MAX_NAME_BYTES
    assert not set("/\\\0\r\n\t\u202e\u200b") & set(shown)
    shown.encode()  # no lone surrogate
    assert keys.display_name(shown) == shown


@given(ANY_NAME)
def test_a_key_has_two_parts_and_fits_s3(name):
    key = keys.input_key(JOB, name)
    job, _, rest = key.partition("/")
    assert job == JOB and rest and "/" not in rest
    assert len(key.encode()) <= 1024


@given(ANY_NAME)
def test_a_stem_is_the_beginning_of_its_name(name):
    stem = keys.stem(name)
    assert name.startswith(stem)
    assert stem or not name


@pytest.mark.parametrize(("raw", "shown", "safe"), [
    ("test_0.JPEG", "test_0.JPEG", "test_0.JPEG"),
    ("../../etc/passwd", "passwd", "passwd"),
    ("C:\\Users\\me\\cat.png", "cat.png", "cat.png"),
    ("/", "image", "image"),
    ("..", "image", "image"),
    ("", "image", "image"),
    ("   ", "image", "image"),
    (".bashrc", ".bashrc", "bashrc"),
    ("a\0b\r\nSet-Cookie: x.png", "abSet-Cookie: x.png", "abSet-Cookie_x.png"),
    ("\u202egnp.exe", "gnp.exe", "gnp.exe"),
    ("Ärger im Café.jpg", "Ärger im Café.jpg", "Arger_im_Cafe.jpg"),
    ("写真.jpg", "写真.jpg", "jpg"),
    ("🐯", "🐯", "image"),
    ("\udcff.png", ".png", "png"),
])
def test_names_seen_in_the_wild(raw, shown, safe):
    assert (keys.display_name(raw), keys.safe_name(raw)) == (shown, safe)


def test_a_name_that_could_not_be_decoded_has_a_name_all_the_same():
    assert keys.display_name(None) == "image"


def test_a_long_name_keeps_its_extension():
    assert keys.display_name("x" * 5000 + ".jpeg") == "x" * 195 + ".jpeg"
    assert keys.safe_name("x" * 5000 + ".jpeg") == "x" * 95 + ".jpeg"
    assert keys.safe_name("x" * 5000) == "x" * 100


@given(st.text(max_size=20))
def test_what_a_name_takes_as_metadata_is_what_is_sent(name):
    assert keys.as_metadata(name) == len(quote(name, safe=" ()"))


def test_a_name_of_four_byte_characters_fits_s3_s_metadata():
    assert keys.display_name("𠀀" * 196 + ".png") == "𠀀" * 149 + ".png"
    assert keys.display_name("🐯" * 200) == "🐯" * 150
    assert keys.display_name("写" * 196 + ".png") == "写" * 196 + ".png"


@pytest.mark.parametrize("name", [
    "x" * 199 + " " + "y" * 30, "x" * 99 + "_" * 30 + "y", "x" * 99 + ".y" * 30])
def test_a_name_cut_at_an_awkward_place_stays_as_it_is(name):
    shown, safe = keys.display_name(name), keys.safe_name(name)
    assert (keys.display_name(shown), keys.safe_name(safe)) == (shown, safe)


@pytest.mark.parametrize(("name", "stem"), [
    ("test_0.JPEG", "test_0"), ("archive.tar.gz", "archive.tar"), ("noext", "noext"),
    (".hidden", ".hidden"), ("dot.", "dot"), ("", "")])
def test_stems(name, stem):
    assert keys.stem(name) == stem


def test_ids_are_random_and_canonical():
    ids = {keys.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(keys.parse_id(one) == one and uuid.UUID(one).version == 4 for one in ids)


@pytest.mark.parametrize("text", [
    None, 5, b"7f3c1d0e-8a7b-4c55-9f6e-0123456789ab", "", "x" * 36, JOB + " ", JOB.replace("-", ""),
    "{" + JOB + "}", "../" + JOB[3:], "urn:uuid:" + JOB])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError):
        keys.parse_id(text)


def test_an_id_in_capitals_is_the_same_job():
    assert keys.parse_id(JOB.upper()) == JOB


def test_keys_of_a_job():
    assert keys.input_key(JOB, "../my cat.png") == f"{JOB}/my_cat.png"
    assert keys.output_key(JOB) == f"{JOB}.json"
    with pytest.raises(ValueError):
        keys.output_key("../../secret")
    with pytest.raises(ValueError):
        keys.input_key("../../secret", "cat.png")
