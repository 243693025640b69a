"""The window, the rate that it is made of, and what is told of a batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from irs.domain import pacing
from irs.domain.pacing import Backlog, Pace

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

WINDOWS = [
    # results a second, instances, engine's batch   window
    (0.0, 0, 8, 24, "nothing is known: an instance's worth, and what is on its way"),
    (0.0, 1, 8, 24, "an instance without results keeps its place"),
    (5.0, 1, 8, 24, "a slow one is kept at work"),
    (40.0, 1, 8, 60, "a fast one has a second and a half of work"),
    (5.0, 19, 8, 312, "each of a slow fleet has two batches of its engine"),
    (400.0, 10, 8, 600, "a fast fleet"),
    (4.0, 1, 1, 6, "an engine that takes one at a time"),
    (1e6, 19, 1024, 2_000, "never more than can be looked after"),
]


@pytest.mark.parametrize(("rate", "instances", "batch", "window", "why"), WINDOWS)
def test_the_window(rate: float, instances: int, batch: int, window: int, why: str) -> None:
    assert pacing.window(rate, instances, batch) == window, why


def test_the_rate_is_that_of_late() -> None:
    pace = Pace()
    pace.began(0.0)
    for tenth in range(100):
        pace.result(tenth / 10, "i-1")
    assert pace.rate(10.0) == pytest.approx(10.0, rel=0.02)
    assert pace.rate(15.0) == pytest.approx(5.0, rel=0.05)
    assert pace.rate(30.0) == 0


def test_a_pause_before_the_first_result_makes_no_pace_slower() -> None:
    pace = Pace()
    pace.began(100.0)
    for tenth in range(20):
        pace.result(100 + tenth / 10, "i-1")
    assert pace.rate(102.0) == pytest.approx(10.0)
    pace.began(102.0)  # nothing is outstanding for a moment, and the pace is known
    assert pace.rate(102.0) == pytest.approx(10.0)


def test_instances_are_those_heard_of_in_the_last_minute() -> None:
    pace = Pace()
    for name, at in (("i-1", 0.0), ("i-2", 30.0), ("i-2", 31.0), ("", 31.0)):
        pace.result(at, name)
    assert [pace.instances(at) for at in (31.0, 61.0, 92.0)] == [2, 1, 0]


def test_a_backlog_comes_back_and_only_a_fresh_one_counts() -> None:
    told = [Backlog(at=NOW, unsent=100, rate=2.5), Backlog(at=NOW - timedelta(seconds=40), unsent=10),
            Backlog(at=NOW - timedelta(seconds=50), unsent=1)]
    assert [Backlog.from_json(each.to_json()) for each in told] == told
    assert pacing.waiting(told, NOW) == 110


@pytest.mark.parametrize("raw", [
    b"", b"{}", b"[]", b'{"at": null, "unsent": 1, "rate": 1}',
    b'{"at": "2026-01-01T00:00:00", "unsent": 1, "rate": 1}',
    b'{"at": "2026-01-01T00:00:00Z", "unsent": -1, "rate": 1}',
    b'{"at": "2026-01-01T00:00:00Z", "unsent": 1, "rate": NaN}'])
def test_what_is_no_backlog_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Backlog.from_json(raw)
