"""Programs that tests run and that pip does not install: a skip on a laptop, a failure in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, *, package: str) -> Path:
    """Where ``name`` is; ends the test where it is not, saying which Debian package has it."""
    found = shutil.which(name)
    if found is None:
        missing(f"no {name} here; on Debian: apt install {package}")
    return Path(found)


def missing(why: str) -> NoReturn:
    """End the test: what it needs is not here."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing may be missing: {why}")
    pytest.skip(why)
