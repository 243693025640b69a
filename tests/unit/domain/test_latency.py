"""Percentiles out of counts, and counts that never go below nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irs.domain import latency

SECONDS = st.floats(0.001, latency.BOUNDS[-1])
COUNTS = st.lists(st.integers(0, 1000), max_size=latency.MOST).map(tuple)


def counted(values: list[float]) -> latency.Counts:
    counts = [0] * latency.MOST
    for value in values:
        counts[latency.place(value)] += 1
    return latency.trimmed(counts)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(SECONDS, min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    """The true one: the smallest value that so large a share is not above."""
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    found = latency.percentile(counted(values), share)
    assert found is not None
    assert latency.place(found) == latency.place(true)
    # So it is right to the width of a bucket: to two thirds of the true one at most.
    assert found == pytest.approx(true, rel=0.67)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_a_larger_share_takes_no_less_time(values: list[float]) -> None:
    found = [latency.percentile(counted(values), share / 10) for share in range(1, 11)]
    assert found == sorted(found, key=float)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(SECONDS, max_size=20), min_size=1, max_size=5))
def test_counts_of_several_add_up_to_those_of_all(parts: list[list[float]]) -> None:
    total: latency.Counts = ()
    for part in parts:
        total = latency.plus(total, counted(part))
    assert latency.trimmed(total) == counted([value for part in parts for value in part])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(COUNTS, COUNTS)
def test_what_came_between_is_never_negative_and_adds_up(
        before: latency.Counts, more: latency.Counts) -> None:
    assert latency.trimmed(latency.minus(latency.plus(before, more), before)) == latency.trimmed(more)
    assert min(latency.minus(before, more), default=0) >= 0


def test_the_ends() -> None:
    assert latency.percentile((), 0.5) is None
    assert latency.percentile((0, 0), 0.5) is None
    assert latency.place(-5.0) == 0
    beyond = counted([1e9])
    assert latency.percentile(beyond, 0.5) == latency.BOUNDS[-1]
    assert latency.read([1, 2]) == (1, 2)


@pytest.mark.parametrize("raw", [None, 5, "12", [1.5], [-1], [True], ["1"], [0] * (latency.MOST + 1)])
def test_what_is_no_histogram(raw: object) -> None:
    with pytest.raises(ValueError, match="histogram"):
        latency.read(raw)
