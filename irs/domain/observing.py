"""What workers report, and what their reports add up to. Pure: no clock, no AWS.

A worker rewrites one small object, its `Report`, every few seconds. `fold` turns the
reports of a moment into what a scaling policy wants to know: how many messages were ever
finished and ever came, how long an image takes an instance, how long an instance boots.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

#: Seconds between a worker's reports while nothing changes.
EVERY = 10.0
#: Seconds after which a report says nothing about now: two were missed, and a slow write.
FRESH = 25.0
#: Seconds for which finished work is extrapolated from a report: until the next one is due.
AHEAD = 1.2 * EVERY
#: Boots that the estimate is the median of.
BOOTS = 9
#: Seconds; what took longer was no boot.
SLOWEST_BOOT = 1800.0
#: Seconds after which a worker that reports no more is forgotten.
_FORGOTTEN = 3600.0
#: Seconds without a look after which counting begins anew: what was done meanwhile came
#: over all that time, and is no burst of now.
GAP = 60.0
#: Seconds for which fewer messages must have come than were counted, before it is believed
#: that some have left the queue in another way: purged, expired, dead letters.
SHORT = 30.0
#: Weight of the newest figure in the estimate of the service time.
_WEIGHT = 0.3


def folder(cluster: str) -> str:
    """Where the cluster's reports are, in the output bucket."""
    return f"fleet/{cluster}/"


def key(cluster: str, instance: str) -> str:
    """Where this worker's report is."""
    return f"{folder(cluster)}{instance}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one worker last said of itself."""

    instance: str
    #: when it said so
    at: datetime
    #: when its process began, and when it could first take work (None: not yet)
    started_at: datetime
    ready_at: datetime | None = None
    #: images finished since its process began
    done: int = 0
    #: images under way
    running: int = 0
    #: seconds an image takes this instance when it is busy; None: too few so far
    service_seconds: float | None = None
    #: seconds since its queue last answered a receive; None: nothing receives
    heard_ago: float | None = None
    #: takes no more work
    draining: bool = False
    #: has had no work for so long that it would rather end (IRS_IDLE_SHUTDOWN)
    wants_to_leave: bool = False

    def __post_init__(self) -> None:
        for moment in (self.at, self.started_at, self.ready_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("naive datetime: give it a time zone")

    def fresh(self, now: datetime) -> bool:
        """Whether it still says something about ``now``."""
        return now - self.at <= timedelta(seconds=FRESH)

    def to_json(self) -> bytes:
        """One small object."""
        return json.dumps(asdict(self), default=stamp, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Report:
        """The opposite; raises `ValueError` for anything that is no report."""
        try:
            raw = json.loads(data)
            known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
            for name in ("at", "started_at", "ready_at"):
                known[name] = moment(known.get(name))
            for name in ("service_seconds", "heard_ago"):
                if known.get(name) is not None:
                    known[name] = float(known[name])
            found = cls(**known | {"done": int(known["done"]), "running": int(known["running"])})
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"not a report: {exc!r}") from exc
        service = found.service_seconds
        if not isinstance(found.instance, str) or found.done < 0 or (
                service is not None and not 0 < service < 86_400):
            raise ValueError("not a report: values out of range")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """One worker's last report, as far as the next one is compared with it."""

    started_at: datetime
    at: datetime
    done: int
    #: whether it could take work
    ready: bool
    #: images a second between the last two reports
    rate: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the reports so far add up to; a fresh one knows nothing."""

    #: when counting began; None: with the first `fold`
    since: datetime | None = None
    #: images known to be finished since then
    finished: int = 0
    #: the same, with what workers have probably finished after their last report
    probably_finished: int = 0
    #: messages that came since then, and what waited at that moment
    arrived: int = 0
    #: messages that left the queue in another way than being finished
    lost: int = 0
    #: since when fewer seem to have come than were counted, and by how many at least
    short_since: datetime | None = None
    short: int = 0
    #: when reports were last looked at
    at: datetime | None = None
    #: seconds that an image takes an instance; None: no worker has said
    service_seconds: float | None = None
    #: seconds from launch to ready, and those that are billed, of the last boots
    boots: tuple[float, ...] = ()
    billed_boots: tuple[float, ...] = ()
    workers: Mapping[str, _Seen] = field(default_factory=dict)

    @property
    def boot_seconds(self) -> float | None:
        """The median of the last boots; None: none was seen."""
        return statistics.median(self.boots) if self.boots else None

    @property
    def billed_boot_seconds(self) -> float | None:
        """The same of the seconds that EC2 bills, which begin when the instance runs."""
        return statistics.median(self.billed_boots) if self.billed_boots else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """What EC2 told of an instance."""

    launched_at: datetime
    #: when it was first described as running; None: not yet, or before our time
    running_since: datetime | None = None


def fold(known: Known, reports: Sequence[Report], *, backlog: int, now: datetime,
         lives: Mapping[str, Life] | None = None) -> Known:
    """``known`` with these reports (the latest of each worker) and this many messages in the queue.

    A worker that is seen for the first time counts from zero if it began after us, and
    from what it says else. ``lives`` (by instance id) makes boot times of new reports.
    Neither count ever falls, so that what reports and queue disagree on for a few seconds
    is no arrival that comes twice.
    """
    if known.at is not None and now - known.at > timedelta(seconds=GAP):
        known = replace(known, since=now, workers={})
    since = known.since or now
    finished, ahead = known.finished, 0.0
    # One report that could not be read must not make its worker a new one.
    workers = {name: seen for name, seen in known.workers.items()
               if now - seen.at <= timedelta(seconds=_FORGOTTEN)}
    for report in reports:
        seen, gained = _follow(known.workers.get(report.instance), report, since)
        workers[report.instance] = seen
        finished += gained
        age = (now - report.at).total_seconds()
        if report.running:
            ahead += seen.rate * min(max(age, 0.0), AHEAD)
    boots, billed = _boots(known, reports, lives or {})
    probably = max(known.probably_finished, finished + round(ahead))
    return replace(
        _arrivals(known, probably + backlog, now), at=now, since=since, finished=finished,
        probably_finished=probably, workers=workers,
        service_seconds=_service(known, reports, now), boots=boots, billed_boots=billed)


def _arrivals(known: Known, seen: int, now: datetime) -> Known:
    """``known`` with ``seen`` messages finished or waiting: the arrivals never fall."""
    short = known.arrived - seen - known.lost
    if short <= 0:
        return replace(known, arrived=seen + known.lost, short_since=None, short=0)
    if known.short_since is None:
        return replace(known, short_since=now, short=short)
    least = min(known.short, short)
    if now - known.short_since < timedelta(seconds=SHORT):
        return replace(known, short=least)
    return replace(known, lost=known.lost + least, short_since=None, short=0)


def _follow(before: _Seen | None, report: Report, since: datetime) -> tuple[_Seen, int]:
    if before is None or before.started_at != report.started_at:
        gained = report.done if report.started_at >= since else 0
        spent = (report.at - report.started_at).total_seconds()
        rate = gained / spent if spent > 0 else 0.0
        return _Seen(started_at=report.started_at, at=report.at, done=report.done, rate=rate,
                     ready=report.ready_at is not None), gained
    if report.at <= before.at:
        return before, 0
    gained = max(0, report.done - before.done)
    rate = gained / (report.at - before.at).total_seconds()
    return replace(before, at=report.at, done=max(before.done, report.done), rate=rate,
                   ready=report.ready_at is not None), gained


def _service(known: Known, reports: Sequence[Report], now: datetime) -> float | None:
    """The mean of what fresh reports say that are new, eased into what was known."""
    told = [r.service_seconds for r in reports
            if r.service_seconds is not None and r.fresh(now)
            and (r.instance not in known.workers or known.workers[r.instance].at < r.at)]
    if not told:
        return known.service_seconds
    newest = statistics.fmean(told)
    if known.service_seconds is None:
        return newest
    return known.service_seconds + _WEIGHT * (newest - known.service_seconds)


def _boots(known: Known, reports: Sequence[Report],
           lives: Mapping[str, Life]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    boots, billed = known.boots, known.billed_boots
    for report in reports:
        life, before = lives.get(report.instance), known.workers.get(report.instance)
        counted = before is not None and before.started_at == report.started_at and before.ready
        if counted or life is None or report.ready_at is None:
            continue
        seconds = (report.ready_at - life.launched_at).total_seconds()
        # Not from a stopped instance's first launch, nor of a process's second life.
        if not 0 < seconds <= SLOWEST_BOOT or report.started_at < life.launched_at:
            continue
        boots = (*boots, seconds)[-BOOTS:]
        if life.running_since is not None and life.running_since <= report.ready_at:
            billed = (*billed, (report.ready_at - life.running_since).total_seconds())[-BOOTS:]
    return boots, billed


def stamp(value: datetime) -> str:
    """ISO 8601 in UTC; raises `TypeError` for anything else, as a JSON encoder wants."""
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return value.astimezone(UTC).isoformat()


def moment(text: Any) -> datetime | None:
    """The opposite of `stamp`; None for None; raises `ValueError` and `TypeError`."""
    return None if text is None else datetime.fromisoformat(text)
