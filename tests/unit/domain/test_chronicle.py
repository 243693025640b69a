"""Points, hours, and what two writers make of one."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irs.domain import chronicle
from irs.domain.chronicle import COUNTS, MEANS, Decision, Hour, Point

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


_FIGURES = {name: st.integers(0, 1000) for name in (*COUNTS, *MEANS)} | {"looks": st.integers(1, 20)}
POINTS = st.builds(
    Point, at=st.integers(0, 59).map(minute), epoch=st.integers(0, 3),
    oldest_seconds=st.none() | st.integers(0, 100), dead=st.none() | st.integers(0, 9), **_FIGURES)
DECISIONS = st.builds(Decision, at=st.integers(0, 59).map(minute), text=st.text(max_size=10))


def hour(points: list[Point], decisions: list[Decision] | None = None) -> Hour:
    made = Hour(start=START)
    for point in points:
        made = made.with_point(point)
    return made.with_decisions(decisions or [])


HOURS = st.builds(hour, st.lists(POINTS, max_size=10), st.lists(DECISIONS, max_size=5))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(HOURS)
def test_an_hour_comes_back_as_it_was(made: Hour) -> None:
    found = Hour.from_json(made.to_json())
    assert (found.start, found.decisions, found.to_json()) == (made.start, made.decisions, made.to_json())
    for at, point in made.points.items():
        for name, value in dataclasses.asdict(point).items():
            assert getattr(found.points[at], name) == (
                pytest.approx(value, abs=1e-4) if isinstance(value, float) else value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(POINTS, POINTS)
def test_two_parts_of_a_minute_add_up(one: Point, other: Point) -> None:
    both = one.together(other)
    assert both.looks == one.looks + other.looks
    for name in COUNTS:
        assert getattr(both, name) == getattr(one, name) + getattr(other, name)
    for name in MEANS:
        low, high = sorted((getattr(one, name), getattr(other, name)))
        assert low <= getattr(both, name) <= high
        assert getattr(both, name) == pytest.approx(getattr(other.together(one), name))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(HOURS, HOURS)
def test_writing_an_hour_again_changes_nothing(mine: Hour, stored: Hour) -> None:
    """An answer that was lost: what is read is what was written, and is not added once more."""
    once = mine.over(stored)
    assert once.over(once) == once
    assert set(once.points) == set(mine.points) | set(stored.points)
    assert set(once.decisions) == set(mine.decisions) | set(stored.decisions)


def test_a_successor_adds_to_the_minute_that_its_predecessor_began() -> None:
    before = hour([Point(at=START, epoch=1, looks=3, images=5, busy=1)], [Decision(at=START, text="a")])
    after = hour([Point(at=START, epoch=2, images=7, busy=5)], [Decision(at=minute(1), text="b")])
    (point,) = after.over(before).points.values()
    assert (point.images, point.looks, point.busy, point.epoch) == (12, 4, 2, 2)
    assert [d.text for d in after.over(before).decisions] == ["a", "b"]


def test_a_minute_that_the_clock_passes_twice_is_both() -> None:
    (point,) = hour([Point(at=START, epoch=1, looks=20, images=5),
                     Point(at=START, epoch=1, looks=3, images=7)]).points.values()
    assert (point.images, point.looks) == (12, 23)


def test_an_hour_stays_small() -> None:
    full = hour([Point(at=minute(n), **dict.fromkeys(COUNTS, 1234), **dict.fromkeys(MEANS, 12.345),
                       oldest_seconds=123.4, dead=12, wait_p50=1.23, wait_p95=12.3, infer_p50=0.0123,
                       infer_p95=0.0456) for n in range(60)],
                [Decision(at=minute(n % 60) + timedelta(seconds=n), text="queue 140, need 5, have 2: "
                          f"launching {n}") for n in range(500)])
    assert len(full.decisions) == chronicle.DECISIONS
    assert len(full.to_json()) < 25_000


@pytest.mark.parametrize("change", [
    lambda raw: raw.pop("start"), lambda raw: raw.update(start="2026-01-01T12:00:00"),
    lambda raw: raw.update(points=5), lambda raw: raw["points"][0].pop(),
    lambda raw: raw["points"][0].__setitem__(raw["fields"].index("images"), -1),
    lambda raw: raw["points"][0].__setitem__(raw["fields"].index("images"), "many"),
    lambda raw: raw["points"][0].__setitem__(raw["fields"].index("busy"), None),
    lambda raw: raw["points"][0].__setitem__(raw["fields"].index("busy"), float("nan")),
    lambda raw: raw.update(decisions=[{"at": "now"}])])
def test_what_is_no_hour(change: Any) -> None:
    raw = json.loads(hour([Point(at=START)]).to_json())
    change(raw)
    with pytest.raises(ValueError, match=r"."):
        Hour.from_json(json.dumps(raw).encode())


def test_fields_of_another_version() -> None:
    raw = json.loads(hour([Point(at=START, images=4)]).to_json())
    raw["fields"].append("shade")
    raw["points"][0].append("red")
    gone = raw["fields"].index("launched")
    del raw["fields"][gone], raw["points"][0][gone]
    assert Hour.from_json(json.dumps(raw).encode()).points[START].images == 4


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_not_even_json(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Hour.from_json(data)


def test_keys_tell_their_hour() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)
    key = chronicle.key("irs", at)
    assert key == "scaler/irs/history/2026-01-01T21.json"
    assert chronicle.hour_in(key) == chronicle.hour_of(at) == datetime(2026, 1, 1, 21, tzinfo=UTC)
    assert chronicle.hour_in("scaler/irs/history/odd.json") is None
    assert chronicle.floor(at) == at.replace(second=0)


def test_a_decision_in_words() -> None:
    assert chronicle.sentence(visible=140, have=2, more=3, verdict="launching 3") == (
        "queue 140, need 5, have 2: launching 3")
