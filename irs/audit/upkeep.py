"""A web process's looking after: dead letters get a result, lost jobs are sent again.

One thread. While nothing is wrong it makes two calls a minute; with jobs that have waited
for long one more every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from irs import errors, log
from irs.audit.pending import Keeper, Pending
from irs.audit.sweep import Sweep
from irs.aws.queues import Depth
from irs.rounds import Rounds

#: Seconds between looks at the dead letters, and at the queue while jobs wait for long.
DEAD_EVERY, QUEUE_EVERY = 30.0, 5.0
#: Most seconds between turns while the cloud fails.
SLOWEST = 30.0

_log = log.get("audit")


class Counted(Protocol):
    """The input queue: `irs.aws.queues.Queue`, as far as it is looked at."""

    def depth(self) -> Depth: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What there is to measure."""

    #: jobs without a result that this process looks after, and those of them that are lost
    #: and could not be sent again so far
    pending: int = 0
    lost: int = 0
    #: jobs sent again, and failures written for dead letters, so far
    requeued: int = 0
    dead_letters: int = 0
    #: `time.monotonic` of when the oldest job without a result was accepted; None: there is none
    oldest: float | None = None
    #: messages in the dead-letter queue at the last look; None: it was not looked at so far
    letters: int | None = None
    #: jobs that are looked after no more for want of room, so far
    forgotten: int = 0


class Upkeep:
    """``build`` makes the ports at the first turn, in the thread; it may raise `CloudError`."""

    def __init__(self, pending: Pending, build: Callable[[], tuple[Counted, Keeper, Sweep]], *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.pending = pending
        self._build = build
        self._clock = clock
        self._ports: tuple[Counted, Keeper, Sweep] | None = None
        self._swept = float("-inf")
        self._rounds = Rounds(self.turn, name="upkeep", every=QUEUE_EVERY, slowest=SLOWEST,
                              failed=_failed, erred=_erred)

    @property
    def counts(self) -> Counts:
        """So far."""
        return Counts(pending=len(self.pending), lost=self.pending.lost,
                      requeued=self.pending.requeued, forgotten=self.pending.forgotten,
                      oldest=self.pending.oldest, letters=self._ports[2].there if self._ports else None,
                      dead_letters=self._ports[2].named if self._ports else 0)

    def start(self) -> None:
        """Begin, in a thread."""
        self._rounds.start()

    def close(self) -> None:
        """Begin no further turn; one under way ends by itself in its thread."""
        self._rounds.close()

    def turn(self) -> None:
        """One turn; raises `errors.CloudError`, the first one if both halves fail."""
        if self._ports is None:
            self._ports = self._build()
        trouble = None
        for half in (self._requeue, self._sweep):
            try:
                half(*self._ports)
            except errors.CloudError as exc:
                trouble = trouble or exc
        if trouble is not None:
            raise trouble

    def _requeue(self, queue: Counted, keeper: Keeper, _sweep: Sweep) -> None:
        if self.pending.ripe:
            self.pending.turn(_messages(queue), keeper)

    def _sweep(self, _queue: Counted, _keeper: Keeper, sweep: Sweep) -> None:
        if self._clock() - self._swept >= DEAD_EVERY:
            self._swept = self._clock()
            sweep.look()


def _failed(exc: errors.CloudError, failures: int) -> None:
    _log.warning("audit.upkeep_failed", why=str(exc), failures=failures)


def _erred() -> None:
    _log.exception("audit.upkeep_error")


def _messages(queue: Counted) -> int | None:
    """How many messages there are; 0 where there is no queue."""
    try:
        depth = queue.depth()
    except errors.NotFound:
        return 0
    return depth.there + depth.delayed
