"""The workers' reports, and what is told of running batches: one small object each, read
again only where it has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Protocol

from irs import errors, log
from irs.domain import observing, pacing
from irs.domain.observing import Report
from irs.domain.pacing import Backlog

#: Seconds after which the report of an instance that is no more is deleted.
KEPT = 600.0
#: Most deletions a round: a thousand old ones must not hold up a decision.
SWEEP = 10

_log = log.get("scaler")


class Shelf(Protocol):
    """What it takes of `irs.aws.objects.Objects`."""

    def tags(self, prefix: str = ...) -> Iterator[tuple[str, str]]: ...
    def get(self, key: str, *, max_bytes: int | None = ...) -> bytes: ...
    def delete(self, key: str) -> None: ...


class Reports:
    """One LIST a round and one GET for each report that is new; never more than that."""

    def __init__(self, shelf: Shelf, cluster: str) -> None:
        self._shelf = shelf
        self._prefix = observing.folder(cluster)
        self._batches = pacing.backlog_folder(cluster)
        #: key to ETag and what it held; None: neither
        self._held: dict[str, tuple[str, Report | Backlog | None]] = {}

    def read(self) -> dict[str, Report]:
        """Every worker's latest, by what it calls itself; raises `errors.CloudError`."""
        found: dict[str, tuple[str, Report | Backlog | None]] = {}
        for key, etag in list(self._shelf.tags(self._prefix)):
            held = self._held.get(key)
            if held is None or held[0] != etag:
                held = self._get(key, etag)
            if held is not None:
                found[key] = held
        self._held = found
        return {held.instance: held for _, held in found.values() if isinstance(held, Report)}

    def backlog(self, now: datetime) -> int:
        """Images of batches that are not on the queue yet, as the last `read` found them told."""
        return pacing.waiting((held for _, held in self._held.values() if isinstance(held, Backlog)), now)

    def sweep(self, fleet: Collection[str], now: datetime) -> None:
        """Delete the reports of those that are not in ``fleet`` and have been silent for long."""
        old = [key for key, (_, report) in self._held.items()
               if isinstance(report, Report) and report.instance not in fleet
               and now - report.at > timedelta(seconds=KEPT)]
        for key in old[:SWEEP]:
            try:
                self._shelf.delete(key)
            except errors.CloudError as exc:
                _log.warning("scaler.sweep_failed", error=str(exc))
                return
            del self._held[key]

    def _get(self, key: str, etag: str) -> tuple[str, Report | Backlog | None] | None:
        kind = Backlog if key.startswith(self._batches) else Report
        try:
            return etag, kind.from_json(self._shelf.get(key, max_bytes=10_000))
        except errors.NotFound:
            return None  # gone since the listing
        except (ValueError, errors.TooLarge) as exc:
            _log.warning("scaler.report_unreadable", key=key, why=str(exc))
            return etag, None
