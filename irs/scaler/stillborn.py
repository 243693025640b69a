"""Instances that end by themselves before they ever worked: each launch waits longer than the last.

A machine image without its model, or user data that the worker refuses, ends an instance
seconds after its boot. Launched anew each round, it would be billed for a minute each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from irs import log
from irs.domain.observing import Report
from irs.scaler.ledger import Entry

#: Seconds before the launch after the second one that came to nothing in a row; doubled
#: with each, up to the second number: what is mended must serve again within 90 s.
FIRST, MOST = 4.0, 60.0

_log = log.get("scaler")


class Stillborn:
    """Not thread-safe. ``deadline``: seconds after its launch at which an instance counts as born.

    ``tally`` counts them.
    """

    def __init__(self, deadline: float, tally: Counter[str]) -> None:
        self._tally = tally
        self._deadline = timedelta(seconds=deadline)
        self._count = 0
        self._last: datetime | None = None
        self._until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether launches wait."""
        return self._until is not None and now < self._until

    def ended(self, gone: Iterable[Entry], reports: Mapping[str, Report], now: datetime) -> None:
        """These are active no more, and nobody here has ended them."""
        for entry in gone:
            report = reports.get(entry.id)
            if (report and report.ready_at) or now - entry.launched_at > self._deadline:
                continue
            self._tally["stillborn"] += 1
            self._count += 1
            self._last = max(entry.launched_at, self._last or entry.launched_at)
            # One alone is bad luck: a spot instance, a broken host, a person.
            wait = min(FIRST * 2 ** (self._count - 2), MOST) if self._count > 1 else 0.0
            self._until = now + timedelta(seconds=wait)
            _log.warning("scaler.stillborn", instance=entry.id, in_a_row=self._count, retry_in=wait)

    def works(self, active: Iterable[Entry], reports: Mapping[str, Report]) -> None:
        """One that was launched later and is ready: the next trouble begins anew."""
        if self._last is not None and any(
                entry.launched_at > self._last and (report := reports.get(entry.id)) is not None
                and report.ready_at for entry in active):
            self._count, self._last, self._until = 0, None, None
