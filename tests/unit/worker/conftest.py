"""Celery's app without its claim on the process's logging, which is pytest's here."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _patience_is_back(_clean_slate: None) -> Iterator[None]:
    from irs.worker import patience

    yield
    patience.hurry.clear()


@pytest.fixture(autouse=True)
def _logging_stays(_clean_slate: None) -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    import irs.celery  # noqa: F401 - configures logging at its first import

    root.handlers[:] = before
    root.setLevel(level)
    yield
