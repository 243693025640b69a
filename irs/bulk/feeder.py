"""A process's feeder: one thread that keeps a small window of batches' messages outstanding.

In place of a second queue. Members of batches go to the ordinary one, only as fast as it
drains; so a single upload waits behind the window and not behind the batch, workers poll one
queue, a cancelled batch stops at once, and no batch is too long for SQS's retention. See
docs/decisions/0014-batches.md.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from irs import errors, holders, log
from irs.bulk.discovery import Others
from irs.bulk.feeding import Feeding
from irs.bulk.hold import Lost
from irs.bulk.ports import Ports
from irs.domain import pacing
from irs.domain.jobs import Result
from irs.domain.pacing import Pace
from irs.settings import Settings

#: Seconds between looks for batches that nobody feeds: as a rule, and while others feed some.
DISCOVER, WATCH = 15.0, 5.0
#: Members that are sent at once, and the least that are while others are outstanding: what
#: goes out one by one costs a call each.
PACK, LEAST_PACK = 20, 10
#: Batches that one process feeds at once; each costs a write or two every three seconds. The
#: others wait for their turn, or for another process.
AT_ONCE = 20
#: Seconds between two turns while there is something to do, at least and at most.
LEAST, MOST = 0.05, 0.25
#: Seconds between tries while the cloud fails, at most.
SLOWEST = 10.0
#: Seconds that a stopping process gives the records to be written.
GRACE = 5.0

_log = log.get("bulk")


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What there is to measure."""

    #: batches that this process feeds
    batches: int = 0
    #: messages of theirs that may be outstanding, and those that are
    window: int = 0
    outstanding: int = 0
    #: members sent, and heard of, so far
    sent: int = 0
    heard: int = 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Feeder:
    """``build`` makes the ports at the first turn, in the thread; it may raise `CloudError`.

    For other threads are only `start`, `close`, `poke`, `cancelled`, `heard`, `rate_elsewhere`
    and `counts`.
    """

    def __init__(self, settings: Settings, build: Callable[[], Ports], *,
                 clock: Callable[[], float] = time.monotonic,
                 now: Callable[[], datetime] = _utc_now, holder: str | None = None) -> None:
        self._settings = settings
        self._build = build
        self._clock = clock
        self._now = now
        self._holder = holder or holders.name()
        self._ports: Ports | None = None
        self._feedings: deque[Feeding] = deque()
        self._pauses: dict[str, tuple[float, int]] = {}
        self._others: Others | None = None
        self._pace = Pace()
        self._discovered = float("-inf")
        self._news: deque[Result] = deque()
        self._cancelled: deque[str] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sent = self._heard = self._window = 0

    # -- for other threads ---------------------------------------------------------------------
    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hand every batch over and stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(GRACE)

    def poke(self) -> None:
        """There is a new batch."""
        self._discovered = float("-inf")
        self._wake.set()

    def cancelled(self, batch_id: str) -> None:
        """Somebody has asked that no more of this batch be sent."""
        self._cancelled.append(batch_id)
        self._wake.set()

    def heard(self, result: Result) -> None:
        """A result was announced to this process; returns at once."""
        if any(feeding.waits_for(result.id) for feeding in list(self._feedings)):
            self._news.append(result)
            self._wake.set()

    @property
    def rate_elsewhere(self) -> float:
        """Results a second of batches that other processes feed."""
        return self._others.rate if self._others is not None else 0.0

    @property
    def counts(self) -> Counts:
        """So far."""
        return Counts(batches=len(self._feedings), window=self._window, sent=self._sent, heard=self._heard,
                      outstanding=sum(feeding.outstanding for feeding in list(self._feedings)))

    # -- one turn ------------------------------------------------------------------------------
    def turn(self) -> None:
        """Discover, settle, feed, write. Raises `errors.CloudError` where nothing can be discovered."""
        if self._ports is None or self._others is None:
            self._ports = self._build()
            self._others = Others(self._ports.batches, self._holder, clock=self._clock, now=self._now)
        self._settle()
        every = WATCH if self._others else DISCOVER
        if self._clock() - self._discovered >= every:
            self._discovered = self._clock()
            self._discover(self._ports, self._others)
        while self._cancelled:
            batch_id = self._cancelled.popleft()
            for feeding in [each for each in self._feedings if each.id == batch_id]:
                self._each(feeding, feeding.write)  # which reads what was written
        for feeding in list(self._feedings):
            for do in (feeding.extend, feeding.look, feeding.remove):
                self._each(feeding, do)
        self._fill()
        for feeding in list(self._feedings):
            self._each(feeding, functools.partial(self._finish, feeding) if feeding.over else feeding.keep)

    def release(self) -> None:
        """Hand every batch over: another process may go on at once."""
        for feeding in list(self._feedings):
            self._each(feeding, feeding.release)
        self._feedings.clear()

    def _settle(self) -> None:
        while self._news:
            result = self._news.popleft()
            if any(feeding.heard(result) for feeding in self._feedings):
                self._heard += 1
                self._pace.result(self._clock(), result.instance)

    def _fill(self) -> None:
        """Send up to the window, a pack of each batch in turn."""
        now = self._clock()
        self._window = pacing.window(self._pace.rate(now), self._pace.instances(now),
                                     self._settings.max_batch)
        outstanding = sum(feeding.outstanding for feeding in self._feedings)
        if not outstanding:
            self._pace.began(now)
        resting = 0
        while self._feedings and resting < len(self._feedings):
            room = self._window - outstanding
            # A window may be smaller than that: a fleet with batches of one has one of three.
            if room <= 0 or (outstanding and room < min(LEAST_PACK, self._window // 2)):
                return
            feeding = self._feedings[0]
            self._feedings.rotate(-1)
            sent = self._each(feeding, functools.partial(feeding.feed, min(room, PACK))) or 0
            self._each(feeding, feeding.keep)
            outstanding += sent
            self._sent += sent
            resting = 0 if sent else resting + 1

    def _each(self, feeding: Feeding, do: Callable[[], object]) -> int | None:
        """One batch's trouble is not the others'."""
        until, failures = self._pauses.get(feeding.id, (0.0, 0))
        if self._clock() < until or feeding not in self._feedings:
            return None
        try:
            done = do()
        except Lost as exc:
            _log.warning("batch.lost", batch=feeding.id, why=str(exc))
            self._feedings.remove(feeding)
        except (errors.CloudError, errors.OutOfMemory) as exc:
            self._pauses[feeding.id] = (self._clock() + min(SLOWEST, 0.5 * 2**failures), failures + 1)
            _log.warning("batch.retry", batch=feeding.id, why=str(exc), failures=failures + 1)
        except Exception:
            self._pauses[feeding.id] = (self._clock() + SLOWEST, failures + 1)
            _log.exception("batch.error", batch=feeding.id)
        else:
            if failures and isinstance(done, int):
                del self._pauses[feeding.id]
            return done if isinstance(done, int) else None
        return None

    def _finish(self, feeding: Feeding) -> None:
        feeding.finish()
        self._feedings.remove(feeding)

    def _discover(self, ports: Ports, others: Others) -> None:
        mine = {feeding.id for feeding in self._feedings}
        for taken in others.take(mine, AT_ONCE - len(mine)):
            self._feedings.append(Feeding(taken, ports, clock=self._clock, now=self._now,
                                          most=self._settings.max_batch_images))
            _log.info("batch.taken", batch=taken.batch.id, sent=taken.batch.sent, total=taken.batch.total)

    # -- the thread ----------------------------------------------------------------------------
    def _run(self) -> None:
        failures = 0
        # Processes that start together need not all look at once.
        self._stopping.wait(random.uniform(0, 0.5))  # noqa: S311 - jitter
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.turn()
                failures = 0
                pause = MOST if self._feedings else DISCOVER
                if self._others:
                    pause = min(pause, WATCH)
            except errors.CloudError as exc:
                failures += 1
                pause = min(SLOWEST, float(failures))
                _log.warning("batch.feeder_failed", why=str(exc), failures=failures)
            except Exception:
                # Whatever it is, the next turn must come.
                _log.exception("batch.feeder_error")
                pause = SLOWEST
            self._stopping.wait(LEAST)
            self._wake.wait(pause)
        self.release()
