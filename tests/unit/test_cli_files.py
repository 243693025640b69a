"""Which files a folder stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from irs.cli import files

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in {"b.JPG": b"x", "a.webp": b"x", "notes.txt": b"x", "looks-like-none": PNG,
                       "empty": b"", ".hidden.jpg": b"x", ".git/x.jpg": b"x", "deep/er/c.png": b"x",
                       "deep/z.tiff": b"x", "not.jpg.txt": b"BM"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "b.JPG")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe.jpg")
    return tmp_path


def names(*paths: Path, below: Path) -> list[str]:
    return [str(path.relative_to(below)) for path in files.find(paths)]


def test_images_by_suffix_and_content_without_what_is_hidden(tree: Path) -> None:
    assert names(tree, below=tree) == [
        "a.webp", "b.JPG", "deep/er/c.png", "deep/z.tiff", "link.jpg", "looks-like-none"]


def test_what_is_named_is_taken_whatever_it_is(tree: Path) -> None:
    given = [tree / "notes.txt", tree / ".hidden.jpg", tree / "absent.jpg"]
    assert list(files.find(given)) == given
    assert names(tree / ".git", below=tree) == [".git/x.jpg"]


def test_each_file_once_in_the_order_given(tree: Path) -> None:
    assert names(tree / "deep" / "z.tiff", tree / "deep", tree / "b.JPG", tree / "b.JPG", below=tree) == [
        "deep/z.tiff", "deep/er/c.png", "b.JPG"]


def test_relative_paths_stay_relative(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert [str(path) for path in files.find([Path("./deep")])] == ["deep/er/c.png", "deep/z.tiff"]
