"""From queue counts to a backlog and an arrival rate that can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from irs.domain.policies.memory import Memory
from irs.domain.policies.records import Observation

Number = TypeVar("Number", int, float)

#: Seconds: time constants of the two averages of the arrival rate, and the fast one's share.
#: A share of 0.3 with half a standard error of the forecast on top costs 1.3 % more on a
#: bursty day at the same p95; 1.0 costs 3 % more, 0 misses the target.
FAST, SLOW, SHARE = 12.0, 90.0, 0.6
#: Seconds without one arrival after which nothing more is expected: about a billed boot,
#: for holding an instance any longer costs more than having it back.
QUIET = 38.0
#: Seconds remembered beyond the wait target: counts may be a minute late.
PAST = 90.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What is believed about the queue at ``now``."""

    #: messages waiting: the middle of the last three readings (the lower of fewer)
    backlog: float
    #: the highest of them
    most: float
    #: arrivals a second expected
    rate: float
    #: (seconds before now, messages that came since), youngest first
    past: tuple[tuple[float, float], ...]
    #: why scale-in must wait; empty: it need not
    doubt: str


def look(seen: Observation, memory: Memory, *, now: float, serving: int, service: float,
         wait: float, interval: float) -> tuple[Memory, Outlook]:
    """Take in one reading. ``serving`` instances work now, ``service`` seconds a message."""
    counted = min(now, seen.counted_at.timestamp()) if seen.counted_at is not None else now
    doubt = _doubt(seen, memory, now, counted, interval)
    served = _remember(memory.served, (now, serving), since=now - PAST - wait)
    memory = replace(memory, served=served)
    if not memory.readings or counted > memory.readings[-1][0]:
        memory = _learn(seen, memory, counted, service, keep=wait + PAST)
    rate = _rate(memory)
    backlogs = sorted(
        max(0.0, visible + rate * (now - at) - _work(served, at, now) / service)
        for at, visible, _ in memory.readings)
    if len(memory.rates) < 5:
        doubt = doubt or "too few readings yet"
    # Another reading than the one that disagrees with its neighbours decides.
    newest = max(0.0, max(0, seen.visible) + rate * (now - counted) - _work(served, counted, now) / service)
    middle = median(backlogs) if len(backlogs) > 2 else backlogs[0]
    if abs(newest - middle) > 8 + 0.5 * middle + 3 * interval * (rate + serving / service):
        doubt = doubt or "an odd reading"
    came = memory.curve[-1][1] + rate * (now - memory.curve[-1][0])
    past = tuple((now - at, came - total) for at, total in reversed(memory.curve))
    return memory, Outlook(backlog=middle, most=backlogs[-1], rate=rate, past=past, doubt=doubt)


def _doubt(seen: Observation, memory: Memory, now: float, counted: float, interval: float) -> str:
    if now - counted > 60 + 2 * interval:
        return "stale counts"
    if seen.visible < 0 or seen.in_flight < 0:
        return "negative counts"
    if memory.at is not None and not 0 < now - memory.at < 10 * interval:
        return "ticks are missing"
    for told, before in ((seen.arrived, memory.arrived), (seen.finished, memory.finished)):
        if told is not None and before is not None and told < before:
            return "totals that fall"
    if seen.arrived is not None and seen.finished is not None:
        # SQS counts are approximate: what must not be is a queue that the totals do not know.
        inside, shown = seen.arrived - seen.finished, seen.visible + seen.in_flight
        if inside < 0 or abs(inside - shown) > 10 + 0.3 * max(inside, shown):
            return "counts that contradict the totals"
    return ""


def _learn(seen: Observation, memory: Memory, counted: float, service: float, *, keep: float) -> Memory:
    """A new reading: the arrivals since the last one, and what they say about the rate."""
    done = memory.done + _finished(seen, memory, counted, service)
    inside = max(0, seen.visible) + max(0, seen.in_flight)
    level = float(seen.arrived if seen.arrived is not None
                  else (done if seen.finished is None else seen.finished) + inside)
    readings = (*memory.readings[-2:], (counted, float(max(0, seen.visible)), level))
    memory = replace(memory, readings=readings, done=done, in_flight=float(max(0, seen.in_flight)),
                     arrived=seen.arrived, finished=seen.finished)
    # Of three levels the middle one, at its own time: one odd reading is no arrival.
    levels = sorted(((at, level) for at, _, level in readings), key=lambda item: item[1])
    at, level = levels[len(readings) // 3]
    if not memory.curve:
        return replace(memory, curve=((at, 0.0),), level=(at, level), came_at=at)
    step = at - memory.level[0]
    if step <= 0:
        return memory
    # A level that falls for good is a counter begun anew.
    new = max(0.0, level - memory.level[1])
    curve = _remember(memory.curve, (at, memory.curve[-1][1] + new), since=at - keep)
    return replace(memory, curve=curve, level=(at, level), rates=(*memory.rates[-4:], new / step),
                   came_at=at if new > 0 else memory.came_at,
                   fast=_average(memory.fast, new / step, step / FAST),
                   slow=_average(memory.slow, new / step, step / SLOW))


def _finished(seen: Observation, memory: Memory, counted: float, service: float) -> float:
    """Messages that the instances which had work must have finished since the last reading."""
    if not memory.readings:
        return 0.0
    had = memory.served[-2][1] if len(memory.served) > 1 else memory.served[-1][1]
    busy = min(float(had), (max(0, seen.in_flight) + memory.in_flight) / 2)
    return busy * (counted - memory.readings[-1][0]) / service


def _rate(memory: Memory) -> float:
    """Arrivals a second: a blend of two averages; a batch is backlog, not rate.

    A batch comes within a tick or two, so the median of five ticks does not see it: the
    blend is capped there, and by the noise that a steady stream would show.
    """
    if not memory.rates or memory.curve[-1][0] - memory.came_at >= QUIET:
        return 0.0
    fast, slow = (value / weight for value, weight in (memory.fast, memory.slow))
    middle = median(memory.rates)
    step = memory.curve[-1][0] - memory.curve[-2][0]
    cap = middle + 1.5 * math.sqrt(max(1.0, middle * step)) / step
    return min(SHARE * fast + (1 - SHARE) * slow, cap)


def _average(average: tuple[float, float], value: float, share: float) -> tuple[float, float]:
    """An exponential average that is unbiased from its first value on: (sum, weight)."""
    keep = math.exp(-share)
    return average[0] * keep + value * (1 - keep), average[1] * keep + 1 - keep


def _remember(items: Sequence[tuple[float, Number]], item: tuple[float, Number], *,
              since: float) -> tuple[tuple[float, Number], ...]:
    """``items`` with ``item``, without those that a younger one replaces before ``since``."""
    first = 0
    while first + 1 < len(items) and items[first + 1][0] <= since:
        first += 1
    return (*items[first:], item)


def _work(served: Sequence[tuple[float, int]], start: float, end: float) -> float:
    """Instance-seconds that served between two moments."""
    total = 0.0
    for at, count in reversed(served):
        if end <= start:
            break
        total += count * max(0.0, end - max(at, start))
        end = min(end, at)
    return total
