"""What is sent for an image: whole, again if need be, and in pieces."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from irs.client import Unreadable, images
from irs.client.images import CHUNK

DATA = os.urandom(CHUNK * 2 + 17)


def sent(body: images.Body) -> bytes:
    return b"".join(body.chunks())


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "bytearray", "memoryview", "file", "memory"])
def test_everything_is_sent_whole_and_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        image: Any = {"path": path, "text": str(path), "bytes": DATA, "bytearray": bytearray(DATA),
                      "memoryview": memoryview(DATA), "file": file, "memory": io.BytesIO(DATA)}[kind]
        body = images.body_of(image)
        assert (body.size, sent(body), sent(body)) == (len(DATA), DATA, DATA)
        assert max(map(len, body.chunks())) <= CHUNK
        body.close()
        assert not file.closed  # it is the caller's


def test_an_open_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(b"header image")
    file.seek(7)
    body = images.body_of(file)
    assert (body.size, sent(body), sent(body)) == (5, b"image", b"image")


def test_what_cannot_be_rewound_is_copied_and_the_copy_goes() -> None:
    class Pipe(io.RawIOBase):
        left = io.BytesIO(DATA)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.left.readinto(buffer)

    body = images.body_of(Pipe())
    assert (body.size, sent(body), sent(body)) == (len(DATA), DATA, DATA)
    body.close()
    with pytest.raises(Unreadable):
        sent(body)


@pytest.mark.parametrize(("image", "name"), [
    ("a/b c.jpg", "b c.jpg"), (Path("/x/y.png"), "y.png"), (b"x", "image"), (io.BytesIO(), "image"),
    ("/", "image"),
])
def test_names(image: Any, name: str) -> None:
    assert images.name_of(image) == name


def test_the_name_of_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with (tmp_path / "a.jpg").open("rb") as file:
        assert images.name_of(file) == "a.jpg"
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert images.name_of(pipe) == "image"  # its name is a number


@pytest.mark.parametrize(("given", "why"), [
    ("absent.jpg", "No such file or directory"), (".", "is a folder"), ("a\0b", "null"),
])
def test_what_is_not_there(given: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        images.body_of(given)


def test_a_file_that_changes_its_length_cannot_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(DATA)
    body = images.body_of(path)
    path.write_bytes(DATA[:100])
    with pytest.raises(Unreadable, match="became shorter"):
        sent(body)
    path.write_bytes(DATA + b"more")
    assert sent(body) == DATA  # what was announced, and no more
    path.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        sent(body)


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with (tmp_path / "a.txt").open() as file, pytest.raises(Unreadable, match="binary mode"):
        sent(images.body_of(file))  # type: ignore[arg-type]


def test_a_closed_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with (tmp_path / "a.jpg").open("rb") as file:
        pass
    with pytest.raises(Unreadable, match="closed"):
        images.body_of(file)


def test_a_form_opens_one_file_at_a_time_and_knows_its_length(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    form = images.form([*paths, b"bytes"])
    data = sent(form)
    assert (len(data), data) == (form.size, sent(form))
    assert data.count(form.boundary.encode()) == 5
    assert b'filename="1.jpg"' in data
    assert b"\r\n\r\n" + b"1.jpg" * 10 + b"\r\n--" in data


def test_of_many_it_is_said_which_cannot_be_read(tmp_path: Path) -> None:
    there, absent = tmp_path / "a.jpg", tmp_path / "b.jpg"
    there.write_bytes(DATA)
    with pytest.raises(Unreadable) as told:
        images.form([there, absent])
    assert str(told.value) == f"{absent}: No such file or directory"
    with pytest.raises(Unreadable) as told:
        images.form([there, tmp_path])
    assert str(told.value) == f"{tmp_path} is a folder, not an image"


def test_a_name_cannot_end_its_header(tmp_path: Path) -> None:
    odd = tmp_path / 'a"\r\nX: y.jpg'
    odd.write_bytes(b"x")
    assert b'filename="a%22%0D%0AX: y.jpg"' in sent(images.form([odd]))


def test_addresses_in_s3() -> None:
    assert images.s3_address("s3://b/k") == "s3://b/k"
    assert images.s3_address("b/k") is images.s3_address(b"s3://b/k") is None
