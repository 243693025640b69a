"""Whose turn it is: callbacks in memory, bounded, and no receiver holds the others up.

A receiver is *well* when it took the last callback that this process made. All others,
strangers among them, share half of the room and half of the threads: who names a thousand
receivers that never answer keeps nothing from those that do.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from irs.callbacks.records import Held
from irs.domain import addresses

#: Receivers that are remembered as well.
REMEMBERED = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many callbacks there may be in memory, and attempts at the same time."""

    #: in memory, of all receivers and of one; each takes about 1 kB. What does not fit is
    #: in its record, and found by a later look at those
    room: int = 2_000
    each: int = 500
    #: threads that make attempts
    threads: int = 16
    #: attempts at one receiver, if it is well and if it is not
    well: int = 8
    other: int = 2


class Turns:
    """Thread-safe."""

    def __init__(self, limits: Limits | None = None, *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        #: receiver to its callbacks that are due, in the order of their next turns
        self._due: OrderedDict[str, deque[Held]] = OrderedDict()
        self._later: list[tuple[float, int, str, Held]] = []
        #: id to receiver of everything in here, what is being attempted included
        self._ids: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        self._well: OrderedDict[str, None] = OrderedDict()
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
            if held.record.id in self._ids or not self._room(host):
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

    def done(self, held: Held, well: bool | None = None) -> None:
        """The attempt has ended; the callback is in here no more.

        ``well``: whether the receiver took it; None: it was not called.
        """
        with self._changed:
            host = self._ids.pop(held.record.id)
            for counter in (self._busy, self._sizes):
                counter[host] -= 1
                if not counter[host]:
                    del counter[host]
            if well is not None:
                self._well.pop(host, None)
            if well:
                self._well[host] = None
                if len(self._well) > REMEMBERED:
                    self._well.popitem(last=False)
            self._changed.notify_all()

    def close(self) -> None:
        """Give nothing more out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _room(self, host: str) -> bool:
        limits = self.limits
        if len(self._ids) >= limits.room or self._sizes[host] >= limits.each:
            return False
        return host in self._well or len(self._ids) < limits.room // 2 \
            or self._others(self._sizes) < limits.room // 2

    def _others(self, counter: Counter[str]) -> int:
        return sum(number for host, number in counter.items() if host not in self._well)

    def _next(self) -> Held | None:
        while self._later and self._later[0][0] <= self._clock():
            _, _, host, held = heapq.heappop(self._later)
            self._due.setdefault(host, deque()).append(held)
        others = self._others(self._busy) < self.limits.threads // 2
        host = next((host for host in self._due if self._free(host, others)), None)
        if host is None:
            return None
        line = self._due.pop(host)
        held = line.popleft()
        if line:
            self._due[host] = line  # behind all others
        self._busy[host] += 1
        return held

    def _free(self, host: str, others: bool) -> bool:
        if host in self._well:
            return self._busy[host] < self.limits.well
        return others and self._busy[host] < self.limits.other
