"""Waiting for results: who may wait, for how long, and what ends a wait early."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from irs import errors, log, tracing
from irs.domain.jobs import Job, Result
from irs.web import access
from irs.web.cloud import Cloud
from irs.web.ports import Waiter

#: Seconds between a waiter's looks at the result store. The first comes after `LOOK` of
#: silence, and after `LOOK_MOST` while other clients' results are announced: as a rule its
#: turn has not come. While the queue is heard, each pause is half as long again as the one
#: before: four hundred waiters must not turn a long queue into a storm of GETs.
LOOK, LOOK_MOST = 3.0, 10.0
#: Seconds without an answered receive after which announcements count as silent: a
#: long poll (20 s at most) and its stall.
SILENT = 30.0
#: Seconds between checks of whether the client has gone or the process must stop.
SLICE = 0.5

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

    def look(self) -> None:
        """Raise `errors.Overloaded` where `enter` would, and take no place."""
        if self._drain.begun:
            raise errors.Overloaded("the service is restarting, try again", retry_after=1)
        if self.inside >= self._limit:
            raise self._full()

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Hold one place; raises `errors.Overloaded` at once where there is none."""
        self.look()
        with self._lock:
            full = self.inside >= self._limit
            self.inside += not full
        if full:
            raise self._full()
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1

    def _full(self) -> errors.Overloaded:
        return errors.Overloaded("too many clients are waiting, try again later",
                                 retry_after=self._retry_after())


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


class Follower(Pending):
    """A job that waits for the result of another one, and is neither stored nor sent so far."""

    def __init__(self, job: Job, lead: str, waiter: Waiter) -> None:
        super().__init__(lead, waiter, number=0)
        self.job = job


class Waiting:
    """Waits for announcements, and looks at the store in case one was lost."""

    def __init__(self, cloud: Cloud, drain: Drain,
                 clock: Callable[[], float] = time.monotonic, *,
                 missed: Callable[[], None] = lambda: None) -> None:
        """``missed()`` is called for each result that was found and had not been announced."""
        self._cloud = cloud
        self._missed = missed
        self._drain = drain
        self._clock = clock

    def now(self) -> float:
        """Seconds on the clock of these waits."""
        return self._clock()

    def until(self, jobs: Sequence[Pending], seconds: float, gone: Callable[[], bool]) -> None:
        """Return when all ``jobs`` have results, the time is up, or nobody waits any more."""
        with tracing.span("irs.wait", attributes={"irs.jobs": len(jobs)}, inner=True):
            self._until(jobs, seconds, gone)
        access.answering([job.id for job in jobs if job.result is not None])

    def _until(self, jobs: Sequence[Pending], seconds: float, gone: Callable[[], bool]) -> None:
        announced = all(job.number is not None for job in jobs)
        began = self._clock()
        end = began + seconds
        pause = LOOK if announced else LOOK / 3
        next_look = began + pause
        while (waiting := [job for job in jobs if job.result is None]) and not gone():
            now = self._clock()
            left = min(end, self._drain.answer_by) - now
            if left <= 0:
                break
            if self._drain.begun and any(isinstance(job, Follower) for job in waiting):
                break  # they have still to be stored and sent
            # Not later than one can still be told what is found.
            latest = min(began + LOOK_MOST, now + left - SLICE)
            if announced and next_look <= now < latest and self._moves():
                next_look = min(latest, now + SLICE)
            elif now >= next_look:
                self._look(waiting)
                if announced and not self._silent():
                    pause = min(LOOK_MOST, pause * 1.5)
                next_look = now + pause
            waiting[0].waiter.wait(min(left, SLICE, max(0.0, next_look - now)))

    def _moves(self) -> bool:
        told = self._cloud.told
        return told is not None and self._clock() - told < LOOK

    def _silent(self) -> bool:
        heard = self._cloud.heard
        return heard is None or self._clock() - heard > SILENT

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
                self._missed()
            job.waiter.resolve(result)
