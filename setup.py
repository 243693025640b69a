"""The wheel's dependencies, read from requirements.txt: each pin is written down once.

All else about the package is in pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

#: ``# -- engine [worker, export]``: the heading of a section, and the extras that it is for.
_HEADING = re.compile(r"# -- [^\[]+(?:\[([a-z, ]+)\])?\s*")


def sections(text: str) -> dict[str, list[str]]:
    """Pins by extra; those of every installation under the empty name."""
    found: dict[str, list[str]] = {"": []}
    extras = [""]
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            extras = heading[1].replace(" ", "").split(",") if heading[1] else [""]
        elif pin := line.partition("#")[0].strip():
            for extra in extras:
                found.setdefault(extra, []).append(pin)
    return found


def main() -> None:
    """Build what setuptools was asked for."""
    pins = sections((Path(__file__).parent / "requirements.txt").read_text("utf-8"))
    setup(install_requires=pins.pop(""), extras_require=pins)


if __name__ == "__main__":
    main()
