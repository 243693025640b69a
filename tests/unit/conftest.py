"""What several units' tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.httpkit import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers what it is told to."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Three files; what is in them is their name."""
    paths = [tmp_path / f"photo_{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]
