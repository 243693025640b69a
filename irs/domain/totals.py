"""What the workers' reports add up to. Pure: no clock, no AWS.

`fold` turns the reports of a moment into what a scaling policy wants to know: how many
messages were ever finished and ever came, how long an image takes an instance, how long an
instance boots, and of when the queue's counts are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from irs.domain import lag
from irs.domain.lag import Lag, Work
from irs.domain.observing import EVERY, Report

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
#: Seconds for which fewer messages must have come, or been finished, than were counted,
#: before that is believed: some left the queue in another way (purged, expired, dead
#: letters), or a worker became slower than was guessed ahead.
SHORT = 30.0
#: Weight of the newest figure in the estimate of the service time.
_WEIGHT = 0.3


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
class _Short:
    """A count that is too high: since when without a break, and by how much at least."""

    since: datetime | None = None
    by: int = 0

    def told(self, by: int, now: datetime) -> tuple[_Short, int]:
        """It is too high ``by`` so much (0 or less: it is not), and what of it is to be believed."""
        if by <= 0:
            return _Short(), 0
        least = by if self.since is None else min(self.by, by)
        since = self.since or now
        if now - since < timedelta(seconds=SHORT):
            return _Short(since=since, by=least), 0
        return _Short(), least


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the reports so far add up to; a fresh one knows nothing."""

    #: when counting began; None: with the first `fold`
    since: datetime | None = None
    #: images known to be finished since then
    finished: int = 0
    #: the same, with what workers have probably finished after their last report, and of
    #: the moment that the counts are of
    probably_finished: int = 0
    #: messages that came by that moment, and what waited when counting began
    arrived: int = 0
    #: how late the counts are
    lag: Lag = field(default_factory=Lag)
    #: messages that left the queue in another way than being finished, or were never there
    lost: int = 0
    #: how many fewer seem to have come than were counted, and to be finished than was guessed
    short: _Short = field(default_factory=_Short)
    over: _Short = field(default_factory=_Short)
    #: when reports were last looked at
    at: datetime | None = None
    #: seconds that an image takes an instance; None: no worker has said
    service_seconds: float | None = None
    #: seconds from launch to ready, and those that are billed, of the last boots
    boots: tuple[float, ...] = ()
    billed_boots: tuple[float, ...] = ()
    workers: Mapping[str, _Seen] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Messages that have probably left the queue by the moment that the counts are of."""
        return self.probably_finished + self.lost

    @property
    def counted_at(self) -> datetime | None:
        """When the counts last folded were true, as far as is known."""
        return None if self.at is None else self.at - timedelta(seconds=self.lag.seconds)

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
        known = replace(known, since=now, workers={}, lag=lag.restarted(known.lag, known.finished))
    since = known.since or now
    finished, work = known.finished, []
    # One report that could not be read must not make its worker a new one.
    workers = {name: seen for name, seen in known.workers.items()
               if now - seen.at <= timedelta(seconds=_FORGOTTEN)}
    for report in reports:
        workers[report.instance], done = _follow(known.workers.get(report.instance), report, since)
        if done is not None:
            finished += done.count
            work.append(done)
    late = lag.learn(known.lag, now.timestamp(), backlog, work)
    then = now - timedelta(seconds=late.seconds)
    ahead = sum(workers[r.instance].rate * min(max((then - r.at).total_seconds(), 0.0), AHEAD)
                for r in reports if r.running)
    sure = late.finished(then.timestamp()) if late.seconds else finished
    if not backlog:
        # Nothing is under way: what came and went between two counts the next reports will tell.
        ahead = min(ahead, max(0.0, known.arrived - known.lost - sure))
    done = round(sure + ahead)
    boots, billed = _boots(known, reports, lives or {})
    over, never = known.over.told(known.probably_finished - done, now)
    known = replace(known, over=over, lost=known.lost + never)
    probably = max(known.probably_finished - never, done)
    return replace(
        _arrivals(known, probably + backlog, now), at=now, since=since, finished=finished,
        probably_finished=probably, lag=late, workers=workers,
        service_seconds=_service(known, reports, now), boots=boots, billed_boots=billed)


def _arrivals(known: Known, seen: int, now: datetime) -> Known:
    """``known`` with ``seen`` messages finished or waiting: the arrivals never fall."""
    short, gone = known.short.told(known.arrived - seen - known.lost, now)
    return replace(known, arrived=max(known.arrived, seen + known.lost), lost=known.lost + gone,
                   short=short)


def _follow(before: _Seen | None, report: Report, since: datetime) -> tuple[_Seen, Work | None]:
    """The worker as it is seen now, and what it finished since; None: nothing."""
    if before is None or before.started_at != report.started_at:
        gained = report.done if report.started_at >= since else 0
        spent = (report.at - report.started_at).total_seconds()
        rate = gained / spent if spent > 0 else 0.0
        return _Seen(started_at=report.started_at, at=report.at, done=report.done, rate=rate,
                     ready=report.ready_at is not None), _work(
                         report.ready_at or report.started_at, report, gained)
    if report.at == before.at:
        return before, None
    gained = max(0, report.done - before.done)
    spent = (report.at - before.at).total_seconds()
    # S3 gives no older report after a newer one: it was the worker's clock that was set back.
    rate = gained / spent if spent > 0 else before.rate
    return replace(before, at=report.at, done=max(before.done, report.done), rate=rate,
                   ready=report.ready_at is not None), _work(before.at, report, gained)


def _work(began: datetime, report: Report, gained: int) -> Work | None:
    return Work(start=began.timestamp(), end=report.at.timestamp(), count=gained) if gained else None


def _service(known: Known, reports: Sequence[Report], now: datetime) -> float | None:
    """The mean of what fresh reports say that are new, eased into what was known."""
    told = [r.service_seconds for r in reports
            if r.service_seconds is not None and r.fresh(now)
            and (r.instance not in known.workers or known.workers[r.instance].at != r.at)]
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
