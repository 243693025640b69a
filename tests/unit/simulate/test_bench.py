"""bench/scaling.py: what it promises and how it says so."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from irs.simulate import traces

SCRIPT = Path(__file__).resolve().parents[3] / "bench" / "scaling.py"


@pytest.fixture
def bench() -> Iterator[ModuleType]:
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location("bench_scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
    sys.path[:] = path


@pytest.mark.parametrize(("kept", "beyond", "verdict"), [
    (True, False, "ok"), (True, True, "ok"), (False, False, "MISSED"), (False, True, "beyond")])
def test_a_promise_is_kept_missed_or_beyond_anybody(bench: ModuleType, kept: bool, beyond: bool,
                                                    verdict: str) -> None:
    assert bench.Promise(says="", reached="", kept=kept, beyond=beyond).verdict == verdict


def test_a_day_is_compared_with_the_cheapest_setting_that_is_as_quick(
        bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    trace = traces.scaled(traces.diurnal(1, duration=1200.0), 4.0)
    case = bench.Case(name="short", arrivals=traces.draw(trace, 0), duration=trace.duration)
    run = bench.Bench(jobs=1, tune=("idle-timeout",))
    run.day(case, 0.25)
    told = capsys.readouterr().out
    assert "lower bound (p95 <= 30 s)" in told
    assert "counts 20 s late" in told
    says = [promise.says for promise in run.promises]
    assert [line.split(": ")[1] for line in says] == [
        "p95 <= 30 s", "instance-hours <= 1.08 x the bound", "<= 0.55 x the original rule",
        "25% below the best-tuned idle-timeout at equal p95 and p99", "counts 20 s late, p95 <= 30 s"]


def test_without_traces_it_says_what_it_left_out(bench: ModuleType, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["scaling.py"])
    assert bench.main() in (0, 1)
    told = capsys.readouterr().out
    for name in (*bench.DAYS, *bench.BURSTY):
        assert f"{name}: no such trace here, left out" in told
    assert "no busy kill anywhere: 0" in told
