"""Following many jobs at once: heard where this process sent them, looked for where another did.

One stream is one client's jobs. It costs a thread while it lasts, so there are few, each ends by
itself, and the threads are beside those of everybody else (docs/decisions/0020-events.md).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from irs import errors, log
from irs.domain.jobs import Result
from irs.web.cloud import Cloud

#: Streams at once in a process. Each has a thread, a tenth of a megabyte; whoever finds no place
#: asks for its jobs one by one.
STREAMS = 64
#: Jobs of one stream; each takes about half a kilobyte.
JOBS = 2_000
#: Seconds between looks at a job of another process: first and most, half as long again each time.
#: This process's own, which are heard of, are looked at that seldom in case a word was lost.
LOOK, LOOK_MOST = 1.0, 10.0
#: Looks a second that may find nothing, and looks at once: of a stream, so that many of them are
#: no storm of GETs.
LOOKS, AT_ONCE = 32, 8
#: Jobs on either side of one that has finished which are looked at next: a queue keeps about
#: the order that its jobs were sent in.
NEXT = 8

_log = log.get("web")


@dataclass(kw_only=True, slots=True)
class _Open:
    """A job without a result, as far as this stream knows."""

    #: in the order that the client gave
    number: int
    #: seconds between two looks
    pause: float
    #: when to look at it, and when that was last done, on the stream's clock
    due: float
    looked: float = float("-inf")
    #: whether this process sent it
    ours: bool
    #: whether it is known that there is such a job
    known: bool
    #: a look is under way
    looking: bool = False


class Streams:
    """Who follows which job; one a process, shared by its threads."""

    def __init__(self, cloud: Cloud, clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud = cloud
        #: gives seconds
        self.clock = clock
        self._lock = threading.Lock()
        self._following: dict[str, list[Stream]] = {}
        #: streams that are open
        self.count = 0
        cloud.watchers.append(self._seen)

    @contextlib.contextmanager
    def open(self, ids: Sequence[str], *, retry_after: int) -> Iterator[Stream]:
        """A stream of these jobs; raises `errors.Overloaded` where there is no place for it."""
        with self._lock:
            if self.count >= STREAMS:
                raise errors.Overloaded("too many clients follow their jobs, ask for each",
                                        retry_after=retry_after)
            self.count += 1
        stream = Stream(ids, self._cloud, self.clock)
        try:
            with self._lock:
                for job_id in ids:
                    self._following.setdefault(job_id, []).append(stream)
            stream.begin()  # after: what ends from here on is heard
            yield stream
        finally:
            self._forget(stream, ids)

    def _forget(self, stream: Stream, ids: Sequence[str]) -> None:
        with self._lock:
            self.count -= 1
            for job_id in ids:
                followers = self._following.get(job_id, [])
                if stream in followers:
                    followers.remove(stream)
                if not followers:
                    self._following.pop(job_id, None)

    def _seen(self, result: Result) -> None:
        with self._lock:
            followers = list(self._following.get(result.id, ()))
        for stream in followers:
            stream.heard(result)


class Stream:
    """One client's jobs that have no result so far.

    `heard` and the looks come in other threads; all else is called by the thread that serves it.
    """

    def __init__(self, ids: Sequence[str], cloud: Cloud, clock: Callable[[], float]) -> None:
        self._cloud = cloud
        self._clock = clock
        self._ids = list(ids)
        self._open: dict[str, _Open] = {}
        #: what is to be told: a result, or the id of a job that there is not
        self._news: deque[Result | str] = deque()
        self._changed = threading.Condition()
        #: looks that found nothing, in the second that began then
        self._empty, self._second = 0, clock()

    def begin(self) -> None:
        """See which of the jobs are this process's own."""
        now = self._clock()
        pending = self._cloud.upkeep.pending
        with self._changed:
            for number, job_id in enumerate(self._ids):
                ours = pending.sent_here(job_id)
                self._open[job_id] = _Open(number=number, ours=ours, known=ours,
                                           pause=LOOK_MOST if ours else LOOK,
                                           due=now + LOOK_MOST if ours else now)
            # What was heard before this is no more a pending job, and so looked for at once.

    @property
    def left(self) -> int:
        """Jobs without a result, those included that are still to be told of."""
        with self._changed:
            return len(self._open) + len(self._news)

    def heard(self, result: Result) -> None:
        """A job has a result."""
        self._tell(result.id, result)

    def news(self, seconds: float) -> list[Result | str]:
        """What is to be told, after at most ``seconds`` of waiting: results, and ids of no job."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, seconds)
            found = list(self._news)
            self._news.clear()
        return found

    def look(self) -> None:
        """Begin to look for what is due, beside whatever else goes on; waits for nothing."""
        now = self._clock()
        with self._changed:
            if now - self._second >= 1.0:
                self._empty, self._second = 0, now
            room = min(AT_ONCE - sum(job.looking for job in self._open.values()), LOOKS - self._empty)
            due = [(job_id, job) for job_id, job in self._open.items()
                   if job.due <= now and not job.looking][:max(0, room)]
            for _, job in due:
                job.looking, job.looked = True, now
        for job_id, job in due:
            self._cloud.pool.submit(self._look, job_id, job)

    def _look(self, job_id: str, job: _Open) -> None:
        result = None
        try:
            result = self._cloud.results.read(job_id)
            if result is not None:
                self._cloud.done(result)  # which tells this stream, and any other
            elif not job.known:
                self._first_seen(job_id, job)
        except errors.CloudError as exc:
            _log.warning("web.look_failed", id=job_id, why=str(exc))
        finally:
            with self._changed:
                self._empty += result is None
                job.looking = False
                job.pause = min(LOOK_MOST, job.pause * 1.5)
                job.due = self._clock() + job.pause

    def _first_seen(self, job_id: str, job: _Open) -> None:
        """A job that another process sent, and has to be looked after here too; or there is none."""
        if next(self._cloud.objects.keys(f"{job_id}/"), None) is None:
            self._tell(job_id, job_id)
        else:
            job.known = True
            self._cloud.upkeep.pending.adopt(job_id)

    def _tell(self, job_id: str, what: Result | str) -> None:
        with self._changed:
            ended = self._open.pop(job_id, None)
            if ended is None:
                return
            self._news.append(what)
            for other in self._ids[max(0, ended.number - NEXT):ended.number + NEXT + 1]:
                job = self._open.get(other)
                if job is not None and not job.ours:
                    job.due = min(job.due, job.looked + LOOK)
            self._changed.notify_all()
