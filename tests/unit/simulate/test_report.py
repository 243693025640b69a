"""Runs in numbers: the row, the table, JSON and the plot."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from irs.simulate import engine, policies, report, traces
from irs.simulate.world import World


@pytest.fixture(scope="module")
def arrivals() -> np.ndarray:
    return traces.draw(traces.burst(40, duration=120.0), 0)


@pytest.fixture(scope="module")
def run(arrivals: np.ndarray) -> engine.Run:
    return engine.simulate(arrivals, policies.make("fixed", policies.Setting(peak=3.0)), World(), 0,
                           duration=120.0)


def test_a_row_is_the_run_in_hours_dollars_and_percentiles(run: engine.Run) -> None:
    row = report.row(run, wait=60.0, price=2.0, bound=run.instance_seconds / 4)
    assert row.instance_hours == pytest.approx(run.instance_seconds / 3600)
    assert row.dollars == pytest.approx(2 * row.instance_hours)
    assert row.ratio == pytest.approx(4.0)
    assert (row.launches, row.busy_kills, row.unserved) == (3, 0, 0)
    assert row.p50 <= row.p95 <= row.p99 <= row.longest == pytest.approx(float(run.waits.max()))
    assert row.over_target == pytest.approx(float((run.waits > 60).mean()))
    assert report.row(run, wait=60.0, price=2.0).ratio is None


def test_a_day_without_a_message_has_a_row() -> None:
    quiet = engine.simulate(np.zeros(0), policies.make("original", policies.Setting()), World(), 0,
                            duration=30.0)
    row = report.row(quiet, wait=30.0, price=1.0)
    assert (row.instance_hours, row.p99, row.over_target) == (0.0, 0.0, 0.0)


def test_the_table_has_equal_columns_and_dashes_for_what_is_not_known(run: engine.Run) -> None:
    text = report.table([report.Row(policy="bound", instance_hours=1.5, dollars=0.1),
                         report.row(run, wait=30.0, price=0.1)])
    head, bound, fixed = text.splitlines()
    assert head.split()[:3] == ["policy", "inst-h", "$"]
    assert bound.split()[:4] == ["bound", "1.50", "0.10", "–"]
    assert fixed.startswith("fixed ")
    assert head.index("inst-h") + len("inst-h") == bound.index("1.50") + len("1.50")


def test_json_holds_every_field_and_can_be_read(run: engine.Run) -> None:
    row = report.row(run, wait=30.0, price=0.1)
    again = json.loads(json.dumps(report.as_dict(row)))
    assert set(again) == set(report.Row.__dataclass_fields__)
    assert again["p95"] == pytest.approx(row.p95, abs=1e-4)


def test_the_plot_is_a_png_with_axes_and_units(tmp_path: Path, run: engine.Run, arrivals: np.ndarray,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    drawn = []
    real = pyplot.subplots
    monkeypatch.setattr(pyplot, "subplots", lambda *a, **k: drawn.append(real(*a, **k)) or drawn[-1])
    path = tmp_path / "out.png"
    fixed = policies.make("fixed", policies.Setting())
    empty = engine.simulate(np.zeros(0), fixed, World(), 0, duration=60.0)
    report.plot(path, [("one", [(run, arrivals)]), ("none", [(empty, np.zeros(0))])], wait=30.0)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", data[16:24])) > 500
    axes = drawn[0][1]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == [
        "messages waiting in the queue", "instances, booting included", "95th percentile of the wait (s)"]
    assert axes[2][0].get_xlabel() == "time (minutes)"
    assert [axis.get_title() for axis in axes[0]] == ["one", "none"]
    assert not pyplot.get_fignums(), "closed: a second plot does not pile up"


def test_a_plot_of_an_unknown_kind_is_refused(
        tmp_path: Path, run: engine.Run, arrivals: np.ndarray) -> None:
    with pytest.raises(ValueError, match="xyz"):
        report.plot(tmp_path / "out.xyz", [("one", [(run, arrivals)])], wait=30.0)


def test_a_gap_without_arrivals_is_a_gap_in_the_line() -> None:
    at, waits = report._waits(np.array([1.0, 2.0, 130.0]), np.array([1.0, 3.0, 5.0]), 60.0, 60.0)
    assert at == [0.0, 1.0, 2.0]
    assert np.isnan(waits[1])
    assert waits[2] == 5.0
