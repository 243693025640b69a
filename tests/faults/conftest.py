"""Options and fixtures of the fault matrix: `make faults`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cloud
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.harness import runner
from tests.faults.harness.history import History
from tests.faults.harness.pictures import Pictures
from tests.faults.harness.runner import Report
from tests.faults.harness.stack import Stack


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--matrix", action="store_true", help="every fault, not the short run")
    group.addoption("--seed", type=int, default=1, help="of load, chance and pairs")
    group.addoption("--pairs-minutes", type=float, default=0.0,
                    help="random pairs of faults for so long, at steady load")
    group.addoption("--faults-report", type=Path, help="a JSON file for the figures")


def option(config: pytest.Config, name: str, default: Any) -> Any:
    """An option's value, also where pytest has met this file too late to have it."""
    return config.getoption(name, default=default)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        whole = option(metafunc.config, "matrix", False)
        metafunc.parametrize("fault", [f for f in FAULTS if whole or f.short], ids=str)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of load, chance and pairs."""
    return option(request.config, "seed", 1)


@pytest.fixture
def pictures(seed: int) -> Pictures:
    """Distinct images with known answers."""
    return Pictures(seed)


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[list[Report]]:
    """The lines so far; written as JSON in the end where that was asked for."""
    found: list[Report] = []
    yield found
    target = option(request.config, "faults_report", None)
    if target is not None:
        target.write_text(json.dumps([report.as_dict() for report in found], indent=1) + "\n")


@pytest.fixture
def make_stack(cloud: Cloud, model_dir: Path, tmp_path: Path,
               seed: int) -> Callable[..., Stack]:
    """``make_stack(**settings)``: a context manager, nothing started yet."""
    def make(**overrides: Any) -> Stack:
        return Stack(cloud, model_dir, tmp_path, seed=seed, **overrides)
    return make


@pytest.fixture
def judged(capsys: pytest.CaptureFixture[str], reports: list[Report], pictures: Pictures,
           tmp_path: Path) -> Callable[..., None]:
    """``judged(stack, faults, seed)``: run them, print the line, fail for a broken promise."""
    def run(stack: Stack, faults: Sequence[Fault], seed: int) -> None:
        history = History()
        try:
            report = runner.run(stack, faults, pictures, history, seed=seed)
        finally:
            history.dump(tmp_path / "history.jsonl")
        with capsys.disabled():
            print(("" if reports else f"\n{Report.HEAD}") + f"\n{report.line}", end=" ", flush=True)
        reports.append(report)
        assert not report.broken, "\n".join(
            (f"{report.name}, seed {seed}; logs and history in {tmp_path}", *report.broken))
    return run
