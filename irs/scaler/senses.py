"""What a round begins with: the queue's counts, the workers' reports, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from irs import errors, log
from irs.aws.queues import Depth
from irs.domain import lag, totals
from irs.domain.journal import Journal, Leave
from irs.domain.observing import Report
from irs.domain.totals import Known
from irs.scaler.ledger import Ledger
from irs.scaler.reports import Reports, Shelf
from irs.settings import Settings

#: While there is no instance, rounds between looks for reports (of workers elsewhere).
RARELY = 10

_log = log.get("scaler")


class Countable(Protocol):
    """What it wants of `irs.aws.queues.Queue`."""

    def depth(self) -> Depth: ...


class Senses:
    """Not thread-safe."""

    def __init__(self, settings: Settings, queue: Countable, shelf: Shelf) -> None:
        self._queue = queue
        self._shelf = Reports(shelf, settings.cluster)
        self._rounds = 0
        self._deaf = ""
        #: whether the last look for reports found what there is
        self.hears = False
        #: what the queue counted last
        self.counts = Depth(visible=0, in_flight=0, delayed=0)
        #: what the reports add up to
        self.known = Known()
        #: each worker's latest, by what it calls itself
        self.reports: dict[str, Report] = {}

    def remember(self, journal: Journal) -> None:
        """Count anew, beginning with what was measured by another scaler or here before."""
        mine = self.known if self.known.boots else journal
        self._rounds = 0
        self.known = Known(service_seconds=mine.service_seconds, boots=mine.boots,
                           lag=lag.restarted(self.known.lag))

    def noted(self) -> dict[str, Any]:
        """The fields of the journal that are measured."""
        return {"service_seconds": self.known.service_seconds, "boots": self.known.boots}

    def count(self) -> Depth:
        """The queue's counts; raises `errors.CloudError`."""
        self.counts = self._queue.depth()
        return self.counts

    def listen(self, *, has_fleet: bool) -> None:
        """Read the reports; where they cannot be read the last ones stay, and grow stale."""
        self._rounds += 1
        if not has_fleet and self._rounds % RARELY != 1:
            return
        try:
            self.reports = self._shelf.read()
            self._deaf, self.hears = "", True
        except errors.CloudError as exc:
            self.hears = False
            kind = f"{type(exc).__name__} {exc.code}"  # the words tell the milliseconds as well
            (_log.debug if self._deaf == kind else _log.warning)(
                "scaler.no_reports", error=str(exc), code=exc.code)
            self._deaf = kind

    def waiting(self, counts: Depth, now: datetime) -> Depth:
        """The counts with what batches have yet to send: their feeders wait for room, as messages do."""
        return replace(counts, visible=counts.visible + self._shelf.backlog(now))

    def fold(self, counts: Depth, ledger: Ledger, now: datetime) -> None:
        """Add the reports up; the counts are `waiting`'s, so that what is sent at last is no arrival."""
        self.known = totals.fold(
            self.known, list(self.reports.values()), now=now, lives=ledger.lives(),
            backlog=counts.visible + counts.in_flight + counts.delayed)

    def asking(self, now: datetime) -> set[str]:
        """Those that would rather end."""
        return {r.instance for r in self.reports.values()
                if r.wants_to_leave and not r.draining and r.fresh(now)}

    def changed_their_mind(self, leaving: Mapping[str, Leave]) -> list[str]:
        """Those that were allowed to end themselves and have found work since."""
        return [key for key, leave in leaving.items()
                if leave.itself and (report := self.reports.get(key)) is not None
                and report.at > leave.since and not (report.wants_to_leave or report.draining)]

    def sweep(self, ledger: Ledger, now: datetime) -> None:
        """Delete what instances left behind that are no more."""
        self._shelf.sweep(ledger.entries.keys(), now)
