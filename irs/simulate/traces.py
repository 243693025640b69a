"""Arrival traces: files, synthetic days, scaling to a peak, and the draw of single arrivals.

A trace is a rate over time; a run needs moments. `draw` makes them, Poisson in each bin.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

#: Requests a second that traces are scaled to, and what of the trace meets it: this
#: percentile of the moving rate over this many seconds.
PEAK, PERCENTILE, WINDOW = 14.0, 99.9, 60.0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Expected requests in bins of equal width, from second 0 on."""

    name: str
    #: (bins,) float64: expected requests in each bin
    counts: np.ndarray
    #: seconds a bin
    width: float = 1.0
    #: the counts are requests at the bin's very start, not spread over it: a burst
    exact: bool = False

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.counts) * self.width


def load(path: Path) -> Trace:
    """Read ``second,requests`` rows (csv, or csv.gz): a bin's start and what came in it.

    Bins that are missing are empty; the width is the least distance between two rows.
    Raises `ValueError`, naming file and line, for what is not such a file, and `OSError`.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    seconds: list[float] = []
    counts: list[float] = []
    with opener(path, "rt", newline="", encoding="utf-8") as stream:
        try:
            for number, row in enumerate(csv.reader(stream), 1):
                if not row or (number == 1 and row[:1] == ["second"]):
                    continue
                try:
                    second, count = float(row[0]), float(row[1])
                except (ValueError, IndexError):
                    raise ValueError(f"{path}, line {number}: want second,requests: {row}") from None
                if not (0 <= second < 1e9 and 0 <= count < 1e9):
                    raise ValueError(f"{path}, line {number}: out of range: {row}")
                seconds.append(second)
                counts.append(count)
        except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as exc:
            raise ValueError(f"{path}: not a trace: {exc}") from exc
    if not seconds:
        raise ValueError(f"{path}: no rows")
    starts = np.asarray(seconds)
    steps = np.diff(starts)
    if (steps <= 0).any():
        raise ValueError(f"{path}: the seconds do not increase")
    width = float(steps.min()) if len(steps) else 1.0
    bins = np.rint((starts - starts[0]) / width).astype(int)
    filled = np.zeros(bins[-1] + 1)
    np.add.at(filled, bins, counts)
    return Trace(name=path.name.removesuffix(".gz").removesuffix(".csv"), counts=filled, width=width)


def peak(trace: Trace) -> float:
    """The trace's peak, requests a second: `PERCENTILE` of the rate moving over `WINDOW`."""
    span = max(1, min(len(trace.counts), round(WINDOW / trace.width)))
    sums = np.convolve(trace.counts, np.ones(span), mode="valid")
    return float(np.percentile(sums, PERCENTILE)) / (span * trace.width)


def scaled(trace: Trace, to: float = PEAK) -> Trace:
    """The same shape with a peak of ``to`` requests a second; raises `ValueError` if it is empty."""
    now = peak(trace)
    if now <= 0:
        raise ValueError(f"{trace.name}: nothing arrives")
    return replace(trace, counts=trace.counts * (to / now))


def draw(trace: Trace, seed: int) -> np.ndarray:
    """(requests,) float64, sorted: the seconds at which single requests arrive."""
    rng = np.random.default_rng([seed, 0xA221])
    starts = np.arange(len(trace.counts)) * trace.width
    if trace.exact:
        return np.repeat(starts, np.rint(trace.counts).astype(int))
    counts = rng.poisson(trace.counts)
    arrivals = np.repeat(starts, counts) + rng.random(int(counts.sum())) * trace.width
    arrivals.sort()
    return arrivals


def burst(requests: int = 100, *, duration: float = 300.0) -> Trace:
    """``requests`` at second 0, then nothing."""
    counts = np.zeros(int(duration))
    counts[0] = requests
    return Trace(name=f"burst-{requests}", counts=counts, exact=True)


def diurnal(seed: int = 0, *, duration: float = 86400.0, low: float = 0.25) -> Trace:
    """A day: a cosine between ``low`` and 1, with slow random drift, in 10 s bins."""
    rng = np.random.default_rng([seed, 0xD1])
    width = 10.0
    t = np.arange(int(duration / width)) * width
    shape = low + (1 - low) * (0.5 - 0.5 * np.cos(2 * np.pi * (t / 86400.0)))
    # An Ornstein-Uhlenbeck drift of the log-rate: 10 % over about 20 minutes.
    keep = np.exp(-width / 1200.0)
    steps = rng.standard_normal(len(t)) * 0.10 * np.sqrt(1 - keep ** 2)
    drift = np.empty(len(t))
    level = 0.0
    for index, step in enumerate(steps):
        level = keep * level + step
        drift[index] = level
    return Trace(name=f"diurnal-{seed}", counts=shape * np.exp(drift) * width, width=width)


def coursework(seed: int = 0, *, duration: float = 6 * 3600.0) -> Trace:
    """Hours of quiet in which students each send 10 to 300 images at once, ever more often."""
    rng = np.random.default_rng([seed, 0xC0])
    counts = np.zeros(int(duration))
    at = 0.0
    while True:
        # Towards the deadline the gaps shrink from about 15 minutes to about one.
        at += rng.exponential(60.0 + 840.0 * max(0.0, 1 - at / duration))
        if at >= duration:
            break
        size, length = int(rng.integers(10, 301)), int(rng.integers(1, 30))
        end = min(len(counts), int(at) + length)
        counts[int(at):end] += size / length
    return Trace(name=f"coursework-{seed}", counts=counts)
