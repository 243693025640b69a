"""What the dashboard's figures are counted from: workers' totals, and the queue's arrivals. Pure.

Nothing here decides anything: `irs.domain.totals` does the counting that the scaling policy
is told of.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from irs.domain import latency
from irs.domain.latency import Counts
from irs.domain.observing import Report, moment

#: For how long a silent worker is remembered. One that is not known and began before that is
#: no new one.
REMEMBERED = timedelta(hours=1)
#: Moments of the arrivals' curve that are kept, and for how long those that lie behind.
_CURVE, _BEHIND = 4000, timedelta(minutes=10)
#: Moments that what waited before our time is spread over.
_SPREAD = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """One worker's last report, as far as the next one is compared with it."""

    started_at: datetime
    at: datetime
    done: int = 0
    failed: int = 0
    #: None: counted by another scaler, which left the numbers alone
    waits: Counts | None = ()
    infers: Counts | None = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What workers did between two looks."""

    images: int = 0
    failed: int = 0
    waits: Counts = ()
    infers: Counts = ()

    def __add__(self, other: Gain) -> Gain:
        return Gain(images=self.images + other.images, failed=self.failed + other.failed,
                    waits=latency.plus(self.waits, other.waits),
                    infers=latency.plus(self.infers, other.infers))


def tally(known: Mapping[str, Counted], reports: Iterable[Report], *, since: datetime,
          now: datetime) -> tuple[dict[str, Counted], Gain]:
    """``known`` with these reports (the latest of each worker), and what is new in them.

    A worker that is not known counts whole if it began after ``since``, when counting began,
    and else from here on. No gain is ever negative.
    """
    after = {name: seen for name, seen in known.items() if now - seen.at <= REMEMBERED}
    total, born = Gain(), max(since, now - REMEMBERED)
    for report in reports:
        before = after.get(report.instance)
        if before is not None and before.started_at == report.started_at and (
                # An older one tells of fewer; where it tells of more, a clock was set back.
                report.at == before.at or report.done < before.done):
            continue
        seen = Counted(started_at=report.started_at, at=report.at, done=report.done,
                       failed=report.failed, waits=report.waits, infers=report.infers)
        after[report.instance] = seen
        if before is None or before.started_at != report.started_at:
            if before is None and report.started_at < born:
                continue
            before = Counted(started_at=report.started_at, at=report.at)
        total += _between(before, seen)
    return after, total


def _between(before: Counted, seen: Counted) -> Gain:
    images = max(0, seen.done - before.done)
    return Gain(
        # A failure may be told a report before the image that it is of.
        images=images, failed=max(0, seen.failed - before.failed),
        waits=() if before.waits is None else latency.minus(seen.waits or (), before.waits),
        infers=() if before.infers is None else latency.minus(seen.infers or (), before.infers))


def as_json(known: Mapping[str, Counted]) -> dict[str, Any]:
    """What a successor goes on from: without the histograms, which would be most of it."""
    return {name: [seen.started_at.isoformat(), seen.at.isoformat(), seen.done, seen.failed]
            for name, seen in known.items()}


def from_json(raw: Mapping[str, Any]) -> dict[str, Counted]:
    """The opposite; raises `ValueError`, `TypeError` or `AttributeError` for anything else."""
    found = {}
    for name, (started_at, at, done, failed) in raw.items():
        began, told = moment(started_at), moment(at)
        if began is None or told is None or began.tzinfo is None or told.tzinfo is None:
            raise ValueError("a moment without a time zone")
        found[name] = Counted(started_at=began, at=told, done=int(done), failed=int(failed),
                              waits=None, infers=None)
    return found


class Arrivals:
    """When the message that waits longest came, from counts alone. Not thread-safe.

    SQS tells no message's age without receiving it. But the service's queue is served about in
    the order in which it fills: of all messages that ever came, the one that waits longest is
    the first that has not left, and it came when that many had come.
    """

    def __init__(self, since: datetime | None = None) -> None:
        """``since``: what another scaler knew of the message that waits longest."""
        self._since = since
        #: (moment, messages that had come by then), both ascending
        self._curve: list[tuple[datetime, float]] = []

    def oldest(self, now: datetime, *, left: int, visible: int, hidden: int) -> datetime | None:
        """Look; when the oldest of the ``visible`` ones came, None where none waits.

        ``left``: messages that have left the queue so far; ``hidden``: that are in flight or
        delayed. Right to the interval of looks, and to what the counts are late.
        """
        total = float(left + visible + hidden)
        if not self._curve:
            self._begin(now, total, visible)
        elif total > self._curve[-1][1]:
            self._curve.append((now, total))
        gone = self._curve[-1][1] - visible
        place = bisect.bisect_right(self._curve, gone, key=lambda entry: entry[1])
        while place > 1 and now - self._curve[1][0] > _BEHIND:
            # Counts are approximate: for a while some that have left may seem to be back.
            del self._curve[0]
            place -= 1
        oldest = self._curve[min(place, len(self._curve) - 1)][0] if visible > 0 else None
        if len(self._curve) > _CURVE:
            self._curve = [*self._curve[:-1:2], self._curve[-1]]
        return oldest

    def _begin(self, now: datetime, total: float, visible: int) -> None:
        if self._since is not None and visible > 0 and self._since < now:
            step = (now - self._since) / _SPREAD
            self._curve = [(self._since + number * step, total - visible * (1 - (number + 1) / _SPREAD))
                           for number in range(_SPREAD)]
        self._curve.append((now, total))
