"""Trace files, scaling and draws."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from irs.simulate import traces


def test_a_file_is_read_gaps_filled_and_the_width_found(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    path.write_bytes(gzip.compress(b"second,requests\n0,3\n60,5\n180,2\n"))
    trace = traces.load(path)
    assert (trace.name, trace.width, trace.duration) == ("day", 60.0, 240.0)
    assert trace.counts.tolist() == [3, 5, 0, 2]


@pytest.mark.parametrize(("text", "says"), [
    ("second,requests\n", "no rows"), ("0,1\n1,x\n", "line 2: want second,requests"),
    ("0\n", "line 1"), ("0,-1\n", "out of range"), ("0,nan\n", "out of range"),
    ("5,1\n5,1\n", "do not increase"), ("5,1\n4,1\n", "do not increase"),
])
def test_what_is_not_a_trace_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        traces.load(path)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(b"second,requests\n")
    with pytest.raises(ValueError, match="not a trace"):
        traces.load(path)


@pytest.mark.parametrize("width", [1.0, 60.0])
def test_scaling_sets_the_peak(width: float) -> None:
    shape = 5 + np.sin(np.arange(5000) / 200)
    trace = traces.Trace(name="t", counts=shape, width=width)
    assert traces.peak(traces.scaled(trace)) == pytest.approx(14.0)
    with pytest.raises(ValueError, match="nothing arrives"):
        traces.scaled(traces.Trace(name="empty", counts=np.zeros(100)))


def test_a_draw_is_sorted_seeded_and_has_the_rate() -> None:
    trace = traces.scaled(traces.diurnal(1))
    one, two, other = (traces.draw(trace, seed) for seed in (1, 1, 2))
    assert (np.diff(one) >= 0).all()
    assert 0 <= one[0] <= one[-1] < trace.duration
    assert np.array_equal(one, two)
    assert len(one) != len(other)
    assert len(one) == pytest.approx(trace.counts.sum(), rel=0.01)


def test_a_burst_is_exact_and_coursework_comes_in_bursts() -> None:
    assert traces.draw(traces.burst(100), 1).tolist() == [0.0] * 100
    course = traces.coursework(1)
    assert (course.counts == 0).mean() > 0.5
    assert course.counts.max() > 5
