"""From the scaler's looks to minutes, today and the last five minutes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irs.domain.chronicle import Decision, Point
from irs.domain.facts import Facts, Look
from irs.domain.observing import Report
from irs.domain.states import Doing

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def look(second: float, *, visible: int = 0, done: int | None = None, billed: int = 0,
         **more: Any) -> Look:
    """One instance's worker has ``done`` so many; ``billed`` instances run since the beginning."""
    reports = [] if done is None else [Report(
        instance="i-0", at=at(second), started_at=START, done=done, failed=done // 10, waits=(0, done))]
    return Look(**{
        "now": at(second), "visible": visible, "in_flight": 0, "delayed": 0, "left": 0, "reports": reports,
        "billed": {f"i-{n}": START for n in range(billed)}} | more)


def facts(before: Any = None, **more: Any) -> Facts:
    return Facts(json.loads(json.dumps(before)) if before else {}, epoch=1, **more)


def run(kept: Facts, looks: list[Look]) -> list[Point]:
    """The minutes that ended, and the one under way."""
    return [point for point in [*map(kept.look, looks), kept.close()] if point is not None]


def test_a_minute_is_the_mean_of_its_looks_and_the_sum_of_what_was_done() -> None:
    doing = Doing(id="i-0", name="n", state="busy", launched_at=START)
    first, second = run(facts(), [
        look(0, visible=10), look(20, visible=20, done=30, billed=2, active=frozenset({"i-0", "i-1"})),
        look(40, visible=30, done=50, billed=2, doings=[doing, doing], active=frozenset({"i-0"})),
        look(60, visible=5, done=55, billed=1, dead=4)])
    assert (first.at, second.at) == (START, at(60))
    assert (first.visible, first.images, first.failed, first.looks) == (20, 50, 5, 3)
    assert first.busy == pytest.approx(2 / 3)
    assert (first.launched, first.ended) == (2, 1)
    assert first.instance_seconds == 80
    assert (second.images, second.instance_seconds, second.dead) == (5, 20, 4)
    assert first.wait_p50 == pytest.approx(0.00125)
    assert first.infer_p95 is None


def test_ages_are_the_longest_of_the_minute() -> None:
    (point,) = run(facts(), [look(0, visible=1), look(30, visible=1), look(50)])
    assert point.oldest_seconds == 30


def test_latency_is_of_five_minutes() -> None:
    kept = facts()
    kept.look(look(0))
    kept.look(look(10, done=10))
    assert kept.told()["latency"]["wait_p50"] is not None
    for second in range(20, 340, 20):
        kept.look(look(second, done=10))
    assert kept.told()["latency"] == dict.fromkeys(("wait_p50", "wait_p95", "infer_p50", "infer_p95"))


def test_before_the_first_look_nothing_is_told() -> None:
    assert facts().told() == {}
    assert facts().close() is None


def test_a_successor_goes_on() -> None:
    kept = facts()
    run(kept, [look(0), look(10, visible=4, done=100, billed=2)])
    kept.decided(Decision(at=at(10), text="launching 1"))
    after = facts(kept.told())
    (point,) = run(after, [look(30, visible=4, done=140, billed=2)])
    assert (point.images, point.instance_seconds) == (40, 40), "twenty seconds without a look"
    assert point.oldest_seconds == 20
    told = after.told()
    assert told["today"] == {"day": "2026-01-01", "images": 140, "failed": 14, "instance_seconds": 60.0}
    assert [d["text"] for d in told["decisions"]] == ["launching 1"]
    assert kept.close() is None, "it ended in order"
    assert after.left is None


def test_the_minute_of_one_that_was_killed_is_left_to_its_successor() -> None:
    kept = facts()
    kept.look(look(0))
    kept.look(look(10, visible=4, done=100))
    left = facts(kept.told()).left
    assert left is not None
    assert (left.at, left.looks, left.images, left.visible) == (START, 2, 100, 2)
    assert left.wait_p50 is not None


def test_a_long_pause_is_todays_and_no_minutes() -> None:
    kept = facts()
    run(kept, [look(0), look(10, visible=4, done=100, billed=1)])
    after = facts(kept.told())
    (point,) = run(after, [look(3610, visible=4, done=140, billed=1)])
    assert (point.images, point.instance_seconds) == (0, 0)
    assert point.oldest_seconds == 0, "nobody knows whether these are the same four"
    assert after.told()["today"] == {
        "day": "2026-01-01", "images": 140, "failed": 14, "instance_seconds": 3610.0}


def test_a_day_begins_at_midnight() -> None:
    kept = facts()
    night = 12 * 3600
    run(kept, [look(0), look(night - 5, done=100, billed=1)])
    assert kept.told()["today"]["instance_seconds"] == night - 5
    kept.look(look(night + 10, done=103, billed=1))
    assert kept.told()["today"] == {"day": "2026-01-02", "images": 3, "failed": 0, "instance_seconds": 10.0}
    # What was done in a pause around midnight is nobody's; who runs has run since then.
    after = facts(kept.told())
    after.look(look(2 * night + night + 60, done=999, billed=1))
    assert after.told()["today"] == {
        "day": "2026-01-03", "images": 0, "failed": 0, "instance_seconds": 60.0}


def test_an_instance_that_one_look_missed_is_made_up_for() -> None:
    (point,) = run(facts(), [look(0, billed=2), look(10, billed=2), look(20, billed=1), look(30, billed=2)])
    assert point.instance_seconds == 60


def test_a_clock_that_is_set_back_counts_nothing_twice() -> None:
    kept = facts()
    run(kept, [look(0, billed=1), look(50, billed=1), look(20, billed=1), look(30, billed=1)])
    assert kept.told()["today"]["instance_seconds"] <= 60


def test_a_clock_that_is_set_back_leaves_no_latency_of_the_future() -> None:
    kept = facts()
    kept.look(look(600, done=1))
    kept.look(look(610, done=10))
    assert kept.told()["latency"]["wait_p50"] is not None
    kept.look(look(0))
    assert kept.told()["latency"]["wait_p50"] is None


@pytest.mark.parametrize("change", [
    {"since": None}, {"until": "2026-01-01T12:00:00"}, {"workers": 5}, {"today": {}}, {"dead": "x"},
    {"decisions": [{}]}, {"minute": {"at": "now"}}, {"minute": 5},
    {"today": {"day": 5, "images": "x", "failed": 0, "instance_seconds": 0}}])
def test_what_cannot_be_gone_on_from(change: dict[str, Any]) -> None:
    kept = facts()
    kept.look(look(0))
    with pytest.raises(ValueError, match=r"."):
        facts(kept.told() | change)


STEPS = st.lists(st.tuples(st.floats(0.5, 400), st.integers(0, 50), st.integers(0, 5), st.booleans()),
                 min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(STEPS)
def test_nothing_that_was_done_is_lost_or_counted_twice(steps: list[tuple[float, int, int, bool]]) -> None:
    """Through restarts at any time: today's sums are all, the minutes' what came without a pause."""
    kept, now, done, points, seconds = facts(), 0.0, 0, [], 0.0
    points += filter(None, [kept.look(look(0))])
    for number, (wait, more, billed, restarted) in enumerate(steps):
        now, done = now + wait, done + more
        if now >= 12 * 3600:
            break
        if restarted:
            points += filter(None, [kept.close()])
            kept = facts(kept.told())
        # Other ones each time: one that is there again was only missed.
        others = {f"i-{number}-{n}": START for n in range(billed)}
        points += filter(None, [kept.look(replace(look(now, done=done), billed=others))])
        seconds += wait * billed
        told = kept.told()["today"]
        assert told["images"] == done
        assert told["instance_seconds"] == pytest.approx(seconds, abs=0.1 * len(steps) + 0.1)
    points += filter(None, [kept.close()])
    assert sum(p.images for p in points) <= done
    if all(wait <= 120 for wait, *_ in steps):
        assert sum(p.images for p in points) == done
    assert all(min(p.images, p.failed, p.instance_seconds, p.launched, p.ended) >= 0 for p in points)
