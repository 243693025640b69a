"""Whose turn it is: callbacks in memory, bounded, and no receiver holds the others up."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from irs.callbacks.records import Held
from irs.domain import addresses

#: Callbacks in memory, of all receivers and of one; each takes about 1 kB. What does not
#: fit is in its record, and found by a later look at those.
LIMIT, EACH = 2_000, 500
#: Attempts at one receiver at the same time.
AT_ONCE = 4


class Turns:
    """Thread-safe."""

    def __init__(self, *, limit: int = LIMIT, each: int = EACH, at_once: int = AT_ONCE,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._each = each
        self._at_once = at_once
        self._clock = clock
        #: receiver to its callbacks that are due, in the order of their next turns
        self._due: OrderedDict[str, deque[Held]] = OrderedDict()
        self._later: list[tuple[float, int, str, Held]] = []
        self._busy: Counter[str] = Counter()
        #: id to receiver of everything in here, what is being attempted included
        self._ids: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._ids

    @property
    def busy(self) -> int:
        """Attempts under way."""
        with self._changed:
            return self._busy.total()

    def add(self, held: Held, after: float = 0.0) -> bool:
        """Take a callback in, due in so many seconds; False: no room, or it is in here."""
        host = addresses.host(held.record.url)
        with self._changed:
            if (held.record.id in self._ids or len(self._ids) >= self._limit
                    or self._sizes[host] >= self._each):
                return False
            self._ids[held.record.id] = host
            self._sizes[host] += 1
            heapq.heappush(self._later, (self._clock() + after, next(self._numbers), host, held))
            self._changed.notify()
            return True

    def take(self) -> Held | None:
        """The next callback, waiting for one; `done` must follow. None: closed."""
        with self._changed:
            while not self._closed:
                held = self._next()
                if held is not None:
                    return held
                self._changed.wait(self._later[0][0] - self._clock() if self._later else None)
            return None

    def due(self) -> Held | None:
        """The same without waiting; None: nothing now."""
        with self._changed:
            return self._next()

    def done(self, held: Held) -> None:
        """The attempt has ended; the callback is in here no more."""
        with self._changed:
            host = self._ids.pop(held.record.id)
            for counter in (self._busy, self._sizes):
                counter[host] -= 1
                if not counter[host]:
                    del counter[host]
            self._changed.notify_all()

    def close(self) -> None:
        """Give nothing more out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Held | None:
        while self._later and self._later[0][0] <= self._clock():
            _, _, host, held = heapq.heappop(self._later)
            self._due.setdefault(host, deque()).append(held)
        host = next((host for host in self._due if self._busy[host] < self._at_once), None)
        if host is None:
            return None
        line = self._due.pop(host)
        held = line.popleft()
        if line:
            self._due[host] = line  # behind all others
        self._busy[host] += 1
        return held
