"""What the running scaler recorded, read back: arrivals to replay, and what its fleet came to.

Reads the JSON log lines ``scaler.decision`` (``IRS_LOG_FORMAT=json``); other lines are
skipped. Between two decisions the arrivals are, in this order of trust: the growth of
``arrived``; the growth of the backlog plus that of ``finished``; or, where neither was
recorded, the growth of the backlog plus what the instances at work can have finished.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

EVENT = "scaler.decision"


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """A stretch of the service's life; times are seconds from its first decision."""

    began: datetime
    #: seconds that the log spans
    seconds: float
    #: arrival times, float64, ascending
    arrivals: np.ndarray
    #: instance-seconds in EC2's state running, which is the one that is billed
    instance_seconds: float
    #: how often the fleet grew, each instance counted
    launches: int
    #: False where arrivals had to be guessed from queue counts alone
    exact: bool
    #: medians of what was measured: seconds an image, seconds from launch to first work; None: never
    service_seconds: float | None = None
    boot_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    at: datetime
    backlog: int
    in_flight: int
    pending: int
    running: int
    arrived: int | None
    finished: int | None
    service: float | None
    boot: float | None


def read(lines: Iterable[str], *, service: float | None = None) -> History:
    """``service``: seconds an image, for where arrivals must be guessed; None: what was measured, or 1.

    Raises `ValueError` where fewer than two decisions are found.
    """
    found = sorted((line for text in lines if (line := _parse(text))), key=lambda line: line.at)
    if len(found) < 2:
        raise ValueError(f"{len(found)} {EVENT} lines in the log, and a replay needs two or more; "
                         "are they JSON (IRS_LOG_FORMAT=json)?")
    began = found[0].at
    measured = _median(line.service for line in found)
    service = service or measured or 1.0
    times: list[np.ndarray] = [np.zeros(found[0].backlog)]
    billed, launches, exact = 0.0, 0, True
    for before, after in itertools.pairwise(found):
        start, end = ((line.at - began).total_seconds() for line in (before, after))
        count, known = _between(before, after, service)
        exact &= known
        # Evenly over the gap: nothing is known of it but its ends.
        times.append(start + (np.arange(count) + 0.5) * (end - start) / max(1, count))
        billed += before.running * (end - start)
        launches += max(0, after.pending + after.running - before.pending - before.running)
    return History(began=began, seconds=(found[-1].at - began).total_seconds(),
                   arrivals=np.concatenate(times), instance_seconds=billed, launches=launches, exact=exact,
                   service_seconds=measured, boot_seconds=_median(line.boot for line in found))


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return statistics.median(known) if known else None


def _between(before: _Line, after: _Line, service: float) -> tuple[int, bool]:
    """Arrivals from one decision to the next, and whether they are known rather than guessed."""
    growth = after.backlog - before.backlog
    if None not in (before.arrived, after.arrived):
        count = after.arrived - before.arrived
        # A scaler that started anew counts from zero.
        return (count if count >= 0 else max(0, growth)), True
    if None not in (before.finished, after.finished) and after.finished >= before.finished:
        return max(0, growth + after.finished - before.finished), True
    seconds = (after.at - before.at).total_seconds()
    done = min(before.in_flight, before.running) * seconds / service
    return max(0, round(growth + done)), False


def _parse(text: str) -> _Line | None:
    if EVENT not in text:
        return None
    try:
        record: Any = json.loads(text)
        if record.get("event") != EVENT or record.get("dry_run"):
            return None
        at = datetime.fromisoformat(record["timestamp"])
        if at.tzinfo is None:
            return None
        return _Line(at=at, backlog=int(record["visible"]) + int(record["in_flight"]),
                     in_flight=int(record["in_flight"]), pending=int(record["pending"]),
                     running=int(record["running"]), arrived=record.get("arrived"),
                     finished=record.get("finished"), service=record.get("service_seconds"),
                     boot=record.get("boot_seconds"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # a line cut off by a crash, or of another program
