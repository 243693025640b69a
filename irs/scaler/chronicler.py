"""Writes down how the service does: facts into the journal, an hour's object once a minute.

Nothing depends on it. What cannot be written is kept and written later, for some hours; what
cannot be asked is not told. docs/decisions/0021-history.md has the reasons and the price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from irs import errors, log
from irs.domain import chronicle, states
from irs.domain.chronicle import Decision, Hour, Point
from irs.domain.facts import Facts, Look
from irs.domain.journal import Journal
from irs.scaler.actuator import Actuator
from irs.scaler.senses import Countable, Senses

#: Hours that are kept while they cannot be written.
KEPT = 6
#: Most deletions a minute.
SWEEP = 10

_log = log.get("scaler")


class Shelf(Protocol):
    """What it wants of `irs.aws.objects.Objects`."""

    def keys(self, prefix: str = ...) -> Iterator[str]: ...
    def get_tagged(self, key: str) -> tuple[bytes, str]: ...
    def put(self, key: str, data: bytes, *, content_type: str = ..., create: bool = ...,
            replaces: str | None = ...) -> str: ...
    def delete(self, key: str) -> None: ...


@dataclass(kw_only=True, slots=True)
class _Page:
    """An hour, and what of it is stored: None where that is not known."""

    hour: Hour
    etag: str | None = None
    dirty: bool = True


class Chronicler:
    """One scaler's, for as long as it holds the lease. Not thread-safe.

    ``letters`` is the dead-letter queue, counted once a minute; None: nobody counts. ``step``
    is in seconds; None: `chronicle.STEP`.
    """

    def __init__(self, cluster: str, shelf: Shelf, letters: Countable | None, *, left: Journal,
                 step: int | None = None) -> None:
        """``left`` is what the last holder left."""
        step = step or chronicle.STEP
        self._cluster, self._shelf, self._letters, self._step = cluster, shelf, letters, step
        self._pages: dict[datetime, _Page] = {}
        self._asked: datetime | None = None
        self._swept: datetime | None = None
        self._troubles: dict[str, str] = {}
        active = [member.id for member in left.fleet]
        try:
            self._facts = Facts(left.facts, epoch=left.epoch, active=active, step=step)
        except ValueError as exc:
            _log.warning("scaler.facts_unreadable", why=str(exc))
            self._facts = Facts({}, epoch=left.epoch, active=active, step=step)
        if self._facts.left is not None:
            self._keep(self._facts.left)

    def look(self, now: datetime, senses: Senses, actuator: Actuator, decision: Decision | None) -> None:
        """Take a round in; ``decision``: what it came to, where that is worth telling."""
        entries, counts = actuator.ledger.entries.values(), senses.counts
        ended = self._facts.look(Look(
            now=now, visible=counts.visible, in_flight=counts.in_flight, delayed=counts.delayed,
            left=senses.known.left, reports=tuple(senses.reports.values()),
            doings=states.doings(actuator.views(now, senses.reports), senses.reports, now),
            # One that was not described may be gone since; if it is not, it is made up for.
            billed={e.id: e.running_since or e.launched_at for e in entries
                    if e.state == "running" and not e.misses},
            active=frozenset(e.id for e in entries if e.active), dead=self._dead_letters(now)))
        if decision is not None:
            self._facts.decided(decision)
            page = self._page(decision.at)
            page.hour, page.dirty = page.hour.with_decisions([decision]), True
        if ended is not None:
            self._keep(ended)
            self._write()
            self._sweep(now)

    def told(self) -> Mapping[str, Any]:
        """The journal's field."""
        return self._facts.told()

    def close(self) -> None:
        """Write what there is of the minute under way: the scaler ends."""
        ended = self._facts.close()
        if ended is not None:
            self._keep(ended)
        self._write()

    def _dead_letters(self, now: datetime) -> int | None:
        """How many there are, asked once a minute; None in between, and where nobody can tell."""
        minute = chronicle.floor(now, self._step)
        if minute == self._asked or self._letters is None:
            return None
        self._asked = minute
        try:
            there = self._letters.depth().there
        except errors.CloudError as exc:
            self.trouble("scaler.dead_letters_unknown", exc)
            return None
        self._troubles.pop("scaler.dead_letters_unknown", None)
        return there

    # -- the hours' objects --------------------------------------------------------------
    def _page(self, at: datetime) -> _Page:
        start = chronicle.hour_of(at)
        return self._pages.setdefault(start, _Page(hour=Hour(start=start)))

    def _keep(self, point: Point) -> None:
        page = self._page(point.at)
        page.hour, page.dirty = page.hour.with_point(point), True

    def _write(self) -> None:
        for _, page in sorted(self._pages.items()):
            if page.dirty and not self._put(page):
                break
        newest = sorted(self._pages)[-KEPT:]
        # One that is written is over when the next has begun.
        self._pages = {start: self._pages[start] for start in newest
                       if self._pages[start].dirty or start == newest[-1]}

    def _put(self, page: _Page) -> bool:
        """Write an hour, and what others have written of it; whether that is done."""
        key = chronicle.key(self._cluster, page.hour.start)
        try:
            for _ in range(2):
                if page.etag is None:
                    page.etag = self._read(key, page)
                try:
                    page.etag = self._shelf.put(
                        key, page.hour.to_json(), content_type="application/json",
                        create=not page.etag, replaces=page.etag or None)
                except errors.AlreadyExists:
                    page.etag = None  # an answer of ours was lost, or another scaler wrote
                else:
                    page.dirty = False
                    self._troubles.pop("scaler.history_failed", None)
                    return True
        except errors.CloudError as exc:
            page.etag = None  # nobody knows whether it is there
            self.trouble("scaler.history_failed", exc)
        return False

    def _read(self, key: str, page: _Page) -> str:
        """Take in what is stored; its ETag, empty where there is nothing."""
        try:
            data, etag = self._shelf.get_tagged(key)
        except errors.NotFound:
            return ""
        try:
            page.hour = page.hour.over(Hour.from_json(data))
        except ValueError as exc:
            _log.warning("scaler.history_unreadable", key=key, why=str(exc))
        return etag

    def _sweep(self, now: datetime) -> None:
        """Delete hours that are over for long; looks for them once an hour."""
        hour = chronicle.hour_of(now)
        if hour == self._swept:
            return
        try:
            old = [key for key in self._shelf.keys(chronicle.folder(self._cluster))
                   if (start := chronicle.hour_in(key)) is not None and now - start >= chronicle.KEPT]
            for key in old[:SWEEP]:
                self._shelf.delete(key)
        except errors.CloudError as exc:
            self.trouble("scaler.history_failed", exc)
            return
        if len(old) <= SWEEP:
            self._swept = hour

    def trouble(self, event: str, exc: errors.CloudError) -> None:
        kind = f"{type(exc).__name__} {exc.code}"  # once, as the words tell the milliseconds as well
        (_log.debug if self._troubles.get(event) == kind else _log.warning)(
            event, error=str(exc), code=exc.code)
        self._troubles[event] = kind
