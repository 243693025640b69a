"""What workers did between looks, and how old the oldest message is."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irs.domain import counting
from irs.domain.counting import Arrivals, Counted, Gain
from irs.domain.observing import Report

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def report(name: str = "i-1", *, when: float, began: float = 0, **more: Any) -> Report:
    return Report(instance=name, at=at(when), started_at=at(began), ready_at=at(began), **more)


def gains(*looks: list[Report], known: dict[str, Counted] | None = None, since: float = 0) -> list[Gain]:
    seen, found = known or {}, []
    for number, reports in enumerate(looks):
        now = max([r.at for r in reports], default=at(number))
        seen, gain = counting.tally(seen, reports, since=at(since), now=now)
        found.append(gain)
    return found


def test_a_worker_that_began_with_us_counts_whole_and_then_what_is_new() -> None:
    first = report(when=5, done=3, failed=1, waits=(1, 2), infers=(3,))
    second = report(when=9, done=7, failed=1, waits=(1, 2, 4), infers=(7,))
    assert gains([first], [first], [second]) == [
        Gain(images=3, failed=1, waits=(1, 2), infers=(3,)), Gain(),
        Gain(images=4, waits=(0, 0, 4), infers=(4,))]


def test_one_that_is_older_counts_from_here_on() -> None:
    assert [g.images for g in gains([report(when=5, began=-50, done=90)],
                                    [report(when=9, began=-50, done=92)])] == [0, 2]


def test_one_that_starts_anew_counts_from_zero() -> None:
    old = report(when=5, done=90, failed=9, waits=(90,))
    new = report(when=9, began=7, done=2, waits=(2,))
    assert gains([old], [new])[1] == Gain(images=2, waits=(2,))


def test_one_that_vanishes_and_comes_back_is_no_new_one() -> None:
    late = report(when=400, done=7)
    assert [g.images for g in gains([report(when=5, done=5)], [], [late], [report(when=3, done=1)])] == [
        5, 0, 2, 0]


def test_a_worker_whose_clock_is_set_back_is_heard_at_once() -> None:
    assert [g.images for g in gains([report(when=900, done=5)], [report(when=12, done=8)],
                                    [report(when=22, done=9)])] == [5, 3, 1]


def test_a_successor_goes_on_with_the_numbers_and_begins_the_histograms_anew() -> None:
    seen, _ = counting.tally({}, [report(when=5, done=5, waits=(5,))], since=START, now=at(5))
    known = counting.from_json(json.loads(json.dumps(counting.as_json(seen))))
    assert gains([report(when=9, done=8, waits=(8,))], [report(when=12, done=9, waits=(8, 1))],
                 known=known) == [Gain(images=3), Gain(images=1, waits=(0, 1))]


@pytest.mark.parametrize("raw", [{"i-1": []}, {"i-1": [1, 2, 3, 4]}, {"i-1": "text"}, {"i-1": [
    "2026-01-01T12:00:00", "2026-01-01T12:00:00", 1, 1]}, 5])
def test_what_a_successor_cannot_read(raw: Any) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        counting.from_json(raw)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(max_size=30, elements=st.tuples(
    st.sampled_from("ab"), st.integers(0, 3), st.integers(-2, 20), st.integers(-2, 5))))
def test_nothing_is_ever_counted_below_zero_or_above_what_was_done(
        told: list[tuple[str, int, int, int]]) -> None:
    """Whatever workers say, in whatever order: lives are numbered by when they began."""
    known: dict[str, Counted] = {}
    total, most = Gain(), {}
    for when, (name, life, done, failed) in enumerate(told):
        said = report(name, when=when, began=life, done=max(0, done), failed=max(0, failed),
                      waits=(max(0, done),))
        known, gain = counting.tally(known, [said], since=START, now=at(when))
        assert min(gain.images, gain.failed, *gain.waits, 0) == 0
        total += gain
        # Within one life only growth counts, so at most what its largest report said, each time
        # that it is told of after another life.
        most.setdefault((name, life), []).append(max(0, done))
    assert total.images <= sum(sum(values) for values in most.values())


# -- the oldest message -----------------------------------------------------------------------
def test_the_oldest_is_the_first_that_has_not_left() -> None:
    arrivals = Arrivals()
    assert arrivals.oldest(at(0), left=0, visible=0, hidden=0) is None
    assert arrivals.oldest(at(3), left=0, visible=10, hidden=0) == at(3)
    assert arrivals.oldest(at(6), left=0, visible=15, hidden=5) == at(3), "five of ten are in hand"
    assert arrivals.oldest(at(9), left=8, visible=10, hidden=2) == at(6)
    assert arrivals.oldest(at(12), left=20, visible=0, hidden=0) is None
    assert arrivals.oldest(at(15), left=20, visible=1, hidden=0) == at(15)


def test_a_successor_spreads_what_waits_over_what_was_known() -> None:
    arrivals = Arrivals(at(-100))
    assert arrivals.oldest(at(0), left=0, visible=100, hidden=0) == at(-100)
    found = arrivals.oldest(at(3), left=50, visible=50, hidden=0)
    assert found is not None
    assert abs((found - at(-50)).total_seconds()) <= 5


def test_counts_that_falter_do_not_make_the_queue_young() -> None:
    """SQS's counts are approximate: for one look half of it seems to be gone."""
    arrivals = Arrivals()
    arrivals.oldest(at(0), left=0, visible=10, hidden=0)
    arrivals.oldest(at(3), left=0, visible=20, hidden=0)
    assert arrivals.oldest(at(6), left=0, visible=5, hidden=0) == at(3)
    assert arrivals.oldest(at(9), left=0, visible=20, hidden=0) == at(0)


def test_a_long_time_takes_little_room() -> None:
    arrivals = Arrivals()
    for look in range(20_000):
        arrivals.oldest(at(3 * look), left=0, visible=look + 1, hidden=0)
    assert len(arrivals._curve) <= 4001
    assert arrivals.oldest(at(60_000), left=0, visible=20_000, hidden=0) == at(0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60))
def test_of_a_queue_that_is_served_in_order_the_age_is_exact(steps: list[tuple[int, int]]) -> None:
    """Against a queue in which each message has its time; looks are 3 s apart."""
    arrivals, queue, left = Arrivals(), deque[datetime](), 0
    for number, (come, go) in enumerate(steps):
        now = at(3 * number)
        queue.extend([now] * come)
        for _ in range(min(go, len(queue))):
            queue.popleft()
            left += 1
        true = queue[0] if queue else None
        assert arrivals.oldest(now, left=left, visible=len(queue), hidden=0) == true
