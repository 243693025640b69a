"""Which files a command line names: those in it, and the images in its folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

#: What images are usually called; a file of another name is looked into.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".bmp",
                      ".dib", ".tif", ".tiff", ".avif"})
#: Bytes that tell an image by its signature.
_HEAD = 64


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Each file once, in the order given; a folder's images sorted, those of its folders too.

    A file that is named is taken whatever it is. In a folder, what is hidden is passed over,
    as are links to folders, which may lead back. Raises `OSError` for a folder that cannot
    be read.
    """
    seen: set[Path] = set()
    for path in paths:
        for found in _images(path) if path.is_dir() else (path,):
            if found not in seen:
                seen.add(found)
                yield found


def _images(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        listed = sorted((entry for entry in entries if not entry.name.startswith(".")),
                        key=lambda entry: entry.name)
    for entry in listed:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _images(path)
        elif entry.is_file() and _is_image(path):
            yield path


def _is_image(path: Path) -> bool:
    from irs.domain import containers

    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return containers.sniff(file.read(_HEAD)) is not None
    except OSError:
        return False  # nobody said that it is one
