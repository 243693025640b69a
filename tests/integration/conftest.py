"""Fixtures for the integration tests; the processes are in `tests.processes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, START, Answer, Process, Service, Web, Worker, environment, form, until

__all__ = [
    "ROOT", "START", "Answer", "Process", "Service", "Web", "Worker", "environment", "form", "until",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("openapi")
    group.addoption("--examples", type=int, default=5, help="requests an operation that are made up")
    group.addoption("--fuzz-seed", type=int, default=1, help="of what is made up")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an embedded cloud answers that makes stacks and enforces permissions."""
    from irs.local.emulator import Emulator

    directory = tmp_path_factory.mktemp("strict")
    with Emulator(directory, log=directory / "emulator.log", strict=True) as emulator:
        yield emulator.endpoint


@pytest.fixture(scope="module")
def make_service(model_dir: Path,
                 tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """``make_service(cloud, **settings)``: buckets and queues made, no process yet.

    Nothing is reused: the same few photographs are sent over and over, and each is meant
    to be classified.
    """
    from irs.aws import provision

    with ExitStack() as stack:
        def make(cloud: Any, **overrides: Any) -> Service:
            settings = cloud.fresh(**{
                "model_dir": model_dir, "engine_threads": 1, "reuse": "off", **overrides})
            provision.ensure(settings)
            return Service(settings, tmp_path_factory.mktemp("service"), stack)

        yield make
