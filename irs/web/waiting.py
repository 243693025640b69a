"""Waiting for results: who may wait, for how long, and what ends a wait early."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from irs import errors, log
from irs.domain.jobs import Result
from irs.web.cloud import Cloud, Waiter
from irs.web.outcomes import Place
from irs.web.probe import Probe

#: Seconds between a waiter's looks at the result store. The first comes after `LOOK`;
#: while announcements do arrive, each pause is half as long again as the one before, up
#: to `LOOK_MOST`: four hundred waiters must not turn a long queue into a storm of GETs.
LOOK, LOOK_MOST = 3.0, 10.0
#: Seconds without an answered receive after which announcements count as silent: a
#: long poll (20 s at most) and its stall.
SILENT = 30.0
#: Seconds between checks of whether the client has gone or the process must stop.
SLICE = 0.5
#: Seconds of past completions that make the pace.
WINDOW = 60.0
#: `Retry-After` in seconds where no pace is known, and its bounds.
RETRY_AFTER, RETRY_AFTER_MOST = 5, 60

_log = log.get("web")


class Drain:
    """Whether the process is stopping, and until when it may answer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: waits end here, on the drain's clock
        self.answer_by = math.inf

    @property
    def begun(self) -> bool:
        """True from the signal on."""
        return self.answer_by < math.inf

    def begin(self, grace: float) -> None:
        """Stop within ``grace`` seconds; the last of them are for writing answers."""
        self.answer_by = self._clock() + max(0.0, grace - min(2.0, grace / 4))


class Gate:
    """Admits at most ``limit`` waiting requests."""

    def __init__(self, limit: int, drain: Drain, retry_after: Callable[[], int]) -> None:
        self._limit = limit
        self._drain = drain
        self._retry_after = retry_after
        self._lock = threading.Lock()
        self.inside = 0

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Hold one place; raises `errors.Overloaded` at once where there is none."""
        if self._drain.begun:
            raise errors.Overloaded("the service is restarting, try again", retry_after=1)
        with self._lock:
            full = self.inside >= self._limit
            self.inside += not full
        if full:
            raise errors.Overloaded("too many clients are waiting, try again later",
                                    retry_after=self._retry_after())
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1


class Estimates:
    """Places and times, from the queue's depth and this process's own recent pace."""

    def __init__(self, depth: Probe[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._depth = depth
        self._clock = clock
        self._lock = threading.Lock()
        self._done: deque[float] = deque(maxlen=10_000)
        self._sent = 0

    def sent(self) -> int:
        """Count a job; returns its number among this process's jobs."""
        with self._lock:
            self._sent += 1
            return self._sent

    def finished(self) -> None:
        """Count a result."""
        with self._lock:
            self._done.append(self._clock())

    def pace(self) -> float | None:
        """Results a second over the last minute; None where there were fewer than two."""
        now = self._clock()
        with self._lock:
            while self._done and self._done[0] < now - WINDOW:
                self._done.popleft()
            if len(self._done) < 2:
                return None
            return len(self._done) / max(now - self._done[0], 1.0)

    def place(self, number: int | None = None) -> Place | None:
        """Where a job stands; None where the queue's depth cannot be read.

        ``number`` is what `sent` gave for it: what this process sent later stands behind.
        """
        try:
            visible = self._depth.value()
        except errors.CloudError as exc:
            _log.info("web.depth_unknown", why=str(exc))
            return None
        with self._lock:
            behind = self._sent - number if number is not None else 0
        position = max(0, visible - behind)
        pace = self.pace()
        return Place(position=position, seconds=(position + 1) / pace if pace else None)

    def retry_after(self, place: Place | None = None, *, waiting: int = 0) -> int:
        """Whole seconds for ``Retry-After``."""
        seconds = place.seconds if place is not None else None
        if seconds is None and waiting and (pace := self.pace()):
            seconds = waiting / pace / 2  # by then about half of them have gone
        if seconds is None:
            return RETRY_AFTER
        return min(RETRY_AFTER_MOST, max(1, math.ceil(seconds)))


class Pending:
    """A job without a result so far.

    ``number`` is what `Estimates.sent` gave for it; None for a job that another process
    may have sent. Its announcement goes there, so the store is the only source.
    """

    def __init__(self, job_id: str, waiter: Waiter, number: int | None = None) -> None:
        self.id = job_id
        self.number = number
        self.waiter = waiter
        self.look: Future[None] | None = None

    @property
    def result(self) -> Result | None:
        """What was announced or found."""
        return self.waiter.result


class Waiting:
    """Waits for announcements, and looks at the store in case one was lost."""

    def __init__(self, cloud: Cloud, drain: Drain,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud = cloud
        self._drain = drain
        self._clock = clock

    def until(self, jobs: Sequence[Pending], seconds: float, gone: Callable[[], bool]) -> None:
        """Return when all ``jobs`` have results, the time is up, or nobody waits any more."""
        announced = all(job.number is not None for job in jobs)
        end = self._clock() + seconds
        pause = LOOK if announced else LOOK / 3
        next_look = self._clock() + pause
        while (waiting := [job for job in jobs if job.result is None]) and not gone():
            now = self._clock()
            left = min(end, self._drain.answer_by) - now
            if left <= 0:
                return
            if now >= next_look:
                self._look(waiting)
                if announced and not self._silent():
                    pause = min(LOOK_MOST, pause * 1.5)
                next_look = now + pause
            waiting[0].waiter.wait(min(left, SLICE, max(0.0, next_look - now)))

    def _silent(self) -> bool:
        heard = self._cloud.heard
        return heard is None or time.monotonic() - heard > SILENT

    def _look(self, waiting: Sequence[Pending]) -> None:
        """Read the store beside the wait, so that a stalled S3 holds nobody's answer up."""
        for job in waiting:
            if job.look is None or job.look.done():
                job.look = self._cloud.pool.submit(self._read, job)

    def _read(self, job: Pending) -> None:
        try:
            result = self._cloud.results.read(job.id)
        except errors.CloudError as exc:
            _log.warning("web.look_failed", id=job.id, why=str(exc))
            return
        if result is not None and job.result is None:
            if job.number is not None:
                _log.info("web.announcement_missed", id=job.id)
            job.waiter.resolve(result)
