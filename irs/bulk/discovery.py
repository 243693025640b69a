"""Batches that run and are not fed here: what is told of them, and which nobody feeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from irs.bulk.hold import TTL, Hold
from irs.bulk.store import Batches
from irs.domain.pacing import Backlog

#: Seconds after which a batch that was begun and has no record was given up by its maker.
ABANDONED = 3_600.0


@dataclass(kw_only=True, slots=True)
class _Other:
    """One of them: what was last seen of it, and since when."""

    modified: datetime
    since: float
    backlog: Backlog | None = None


class Others:
    """For one thread, but for `rate`. Methods raise `irs.errors.CloudError`.

    ``clock`` gives seconds, ``now`` the time in UTC; ``holder`` is this process's name.
    """

    def __init__(self, batches: Batches, holder: str, *, clock: Callable[[], float],
                 now: Callable[[], datetime]) -> None:
        self._batches = batches
        self._holder = holder
        self._clock = clock
        self._now = now
        self._known: dict[str, _Other] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def rate(self) -> float:
        """Results a second that they get."""
        now = self._now()
        return sum(other.backlog.rate for other in list(self._known.values())
                   if other.backlog is not None and other.backlog.fresh(now))

    def take(self, mine: Collection[str], room: int) -> Iterator[Hold]:
        """Look once, and take up to ``room`` that nobody feeds, those first that wait longest."""
        there = {batch_id: modified for batch_id, modified in self._batches.running()
                 if batch_id not in mine}
        self._known = {batch_id: other for batch_id, other in self._known.items() if batch_id in there}
        for batch_id, modified in sorted(there.items(), key=lambda item: item[1]):
            other = self._known.get(batch_id)
            new = other is None
            if other is None:
                self._known[batch_id] = other = _Other(modified=modified, since=self._clock())
            if other.modified != modified:
                other.modified, other.since = modified, self._clock()
                other.backlog = self._batches.told(batch_id)
            elif room > 0:
                hold = self._consider(batch_id, other, new=new)
                if hold is not None:
                    room -= 1
                    yield hold

    def _consider(self, batch_id: str, other: _Other, *, new: bool) -> Hold | None:
        silent = self._clock() - other.since >= TTL
        hold = Hold.take(self._batches, batch_id, self._holder, silent=silent)
        if hold is not None:
            del self._known[batch_id]
            return hold
        if new:
            other.backlog = self._batches.told(batch_id)
        if silent:
            batch = self._batches.read(batch_id)
            abandoned = (self._now() - other.modified).total_seconds() > ABANDONED
            if batch.finished is not None if batch is not None else abandoned:
                # Ended by one who did not live to say so, or given up by its maker.
                self._batches.ended(batch_id)
        return None
