"""Instances that are launched only to be stopped, so that the warm pool has some before it needs them.

One at a time, while nothing else is asked for: launched like any other, counted as leaving
from the start, stopped once it has reported for work. Whoever wants an instance meanwhile
gets it. All of it is in the journal: an intent that says so, then an ending that waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from irs import log
from irs.domain.journal import Intent, Leave
from irs.domain.observing import Report
from irs.scaler.ending import Endings
from irs.scaler.ledger import Ledger
from irs.settings import Settings

#: Boot deadlines for which none is prepared after one has not come up.
PAUSE = 12

_log = log.get("scaler")


class Spares:
    """Not thread-safe."""

    def __init__(self, settings: Settings, version: str) -> None:
        self._most = settings.warm_pool
        self._least, self._max = settings.min_instances, settings.max_instances
        self._deadline = timedelta(seconds=settings.boot_deadline)
        self._version = version
        self._not_before: datetime | None = None

    def lacks(self, ledger: Ledger, endings: Endings, intents: Sequence[Intent], now: datetime) -> bool:
        """Whether one more is to be launched now; nothing else must be asked for."""
        if self._not_before is not None and now < self._not_before:
            return False
        booting = any(e.state == "pending" or e.ours_at is not None for e in ledger.active())
        # A fleet above its minimum will shrink, and fill the pool for nothing.
        working = len(ledger.active())
        if intents or booting or waiting(endings) or working > self._least or working >= self._max:
            return False
        stopped = {e.id for e in ledger.pool() if e.version == self._version}
        stopping = {key for key, leave in endings.leaving.items() if leave.how == "stop"}
        return len(stopped | stopping) < self._most

    def settle(self, endings: Endings, ledger: Ledger, reports: Mapping[str, Report],
               now: datetime) -> None:
        """Those that are up are stopped; those that will not come up are given up."""
        for key in waiting(endings):
            leave, entry, report = endings.leaving[key], ledger.entries.get(key), reports.get(key)
            if entry is not None and report is not None and report.ready_at is not None and (
                    report.ready_at >= entry.launched_at):
                endings.replace(key, replace(leave, once_ready=False, since=now))
                _log.info("scaler.spare_ready", instance=key)
            elif now - leave.since > self._deadline:
                endings.replace(key, replace(leave, once_ready=False, since=now, how="terminate"))
                self._not_before = now + PAUSE * self._deadline
                _log.warning("scaler.spare_failed", instance=key, next_try=self._not_before.isoformat())


def waiting(endings: Endings) -> list[str]:
    """The instances that are being prepared."""
    return [key for key, leave in endings.leaving.items() if leave.once_ready]


def mark(endings: Endings, ids: Iterable[str], now: datetime) -> None:
    """These were launched for the pool."""
    for key in ids:
        endings.add(key, Leave(how="stop", since=now, once_ready=True))
