"""How long things took, as counts by fixed bounds: small, added up and subtracted. Pure.

A worker counts each image in one of `BOUNDS`'s buckets and never forgets; the difference
between two of its reports is what came between them, and the sum over workers has
percentiles that are right to about the width of a bucket, half of the value at most.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable

#: Seconds: six a decade, from a millisecond to two hours. They never change: a report's
#: counts say nothing without them.
BOUNDS: tuple[float, ...] = tuple(
    round(first * 10.0**power, 4) for power in range(-3, 4) for first in (1, 1.5, 2, 3, 5, 7))
#: How many took at most as long as each bound (and more than the one before), and more than
#: the last; zeros at the end may be left out.
Counts = tuple[int, ...]
#: Buckets that there are.
MOST = len(BOUNDS) + 1


def place(seconds: float) -> int:
    """The bucket of so many seconds; fewer than none count as none."""
    return bisect.bisect_left(BOUNDS, max(0.0, seconds))


def plus(one: Counts, other: Counts) -> Counts:
    """Both together."""
    return tuple(a + b for a, b in itertools.zip_longest(one, other, fillvalue=0))


def minus(now: Counts, before: Counts) -> Counts:
    """What came between the two; never less than nothing, whatever they say."""
    return tuple(max(0, a - b) for a, b in itertools.zip_longest(now, before, fillvalue=0))


def trimmed(counts: Iterable[int]) -> Counts:
    """Without the zeros at the end."""
    kept = list(counts)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def percentile(counts: Counts, share: float) -> float | None:
    """The seconds that this share (0..1) took at most, spread evenly in their bucket; None for none.

    What is above the last bound counts as the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank, seen = share * total, 0
    for bucket, count in enumerate(counts):
        if count and seen + count >= rank:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            high = BOUNDS[min(bucket, len(BOUNDS) - 1)]
            return low + (high - low) * max(0.0, rank - seen) / count
        seen += count
    return BOUNDS[-1]


def read(raw: object) -> Counts:
    """Counts out of JSON; raises `ValueError` for anything else."""
    if not isinstance(raw, list) or len(raw) > MOST or any(
            type(count) is not int or count < 0 for count in raw):
        raise ValueError("not the counts of a histogram")
    return tuple(raw)
