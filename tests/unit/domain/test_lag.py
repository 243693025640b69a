"""How late the counts are is found from the totals alone, or not at all."""

from __future__ import annotations

import random

import pytest

from irs.domain import lag as module
from irs.domain.lag import LAGS, Lag, Work, learn, restarted


def observe(true: float, *, seconds: int = 3600, noise: float = 0.0, lag: Lag | None = None,
            even: bool = False, apart: int = 10, purged_at: int | None = None) -> list[float]:
    """The lags believed, tick by tick, of a queue whose counts are ``true`` seconds late.

    Images come at 4/s; up to 10/s are worked off for two minutes in five (``even``: 4/s all the time).
    """
    chance = random.Random(1)
    inside, done = [0.0], [0.0]
    for second in range(1, seconds):
        rate = 4.0 if even else 10.0 if second % 300 >= 180 else 0.0
        there = inside[-1] + 4.0
        finished = min(rate, there)
        done.append(done[-1] + finished)
        inside.append(0.0 if second == purged_at else there - finished)
    lag, told = lag or Lag(), []
    for now in range(0, seconds, 3):
        then = max(0, int(now - true))
        shown = max(0, round(inside[then] * (1 + noise * chance.gauss(0, 1))))
        work = []
        last, this = (now - 3) // apart * apart, now // apart * apart
        if this > last >= 0:
            work = [Work(start=last, end=this, count=round(done[this] - done[last]))]
        lag = learn(lag, now, shown, work)
        told.append(lag.seconds)
    return told


@pytest.mark.parametrize("true", [0, 10, 20, 30, 45, 60])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_lag_is_found_within_some_minutes(true: float, noise: float) -> None:
    told = observe(true, noise=noise)
    assert abs(told[-1] - true) <= 5
    settled = told[300:]
    assert len(set(settled)) <= 3, "and does not swing"


@pytest.mark.parametrize("apart", [3, 5, 12])
def test_however_often_workers_report(apart: int) -> None:
    assert abs(observe(20, apart=apart)[-1] - 20) <= 5


def test_exact_counts_are_never_taken_for_late() -> None:
    for noise in (0.0, 0.1, 0.3):
        assert set(observe(0, noise=noise)) == {0.0}


def test_even_work_tells_nothing_and_what_was_found_stays() -> None:
    assert set(observe(20, even=True)) == {0.0}
    known = Lag(seconds=20.0, bends=tuple(0.0 if s == 20 else 5e4 for s in LAGS))
    assert set(observe(20, even=True, lag=known)) == {20.0}


def test_messages_that_vanish_are_no_lag() -> None:
    assert set(observe(0, purged_at=1060)) == {0.0}


def test_a_lag_that_ends_is_noticed() -> None:
    known = Lag(seconds=40.0, bends=tuple(0.0 if s == 40 else 5e4 for s in LAGS))
    assert observe(0, seconds=7200, lag=known)[-1] == 0.0


def test_after_a_pause_the_lag_stays_and_counting_begins_anew() -> None:
    lag = Lag(seconds=20.0)
    for now in range(0, 90, 3):
        lag = learn(lag, now, 5, [Work(start=now - 3, end=now, count=3)])
    again = restarted(lag, 90)
    assert (again.seconds, again.finished(1000), again.readings, again.sums) == (20.0, 90, (), ())


def test_only_the_work_of_the_last_minutes_is_kept() -> None:
    lag = Lag()
    for now in range(0, 36_000, 10):
        lag = learn(lag, now, 0, [Work(start=now - 10, end=now, count=7)])
    assert len(lag.work) <= 12
    assert len(lag.readings) <= 3
    assert lag.finished(40_000) == 7 * 3600
    assert lag.finished(36_000 - 25) == pytest.approx(7 * 3600 - 10.5, abs=7)
    assert LAGS[-1] > module.SETTLED


@pytest.mark.parametrize("shown", [0, 40, 170, 300])
@pytest.mark.parametrize("apart", [60, 100, 300])
def test_a_burst_that_the_counts_hardly_show_is_no_lag(shown: int, apart: int) -> None:
    """300 images are done in 4 s: the exact counts show ``shown`` of them once, and then none."""
    lag = Lag()
    for now in range(0, 1200, 3):
        since = now % apart
        lag = learn(lag, now, shown if since < 3 and now >= apart else 0,
                    [Work(start=now - since - 1, end=now, count=300)] if 3 <= since < 6 and now > apart
                    else [])
        assert lag.seconds == 0.0, f"after {now} s"


@pytest.mark.parametrize("true", [10, 20, 45])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_noise_hides_a_lag_but_makes_none_up(true: float, noise: float) -> None:
    """Counts that are off by a tenth of 700 messages tell little, and then less is believed."""
    assert max(observe(true, noise=noise)) <= true + 5
