"""Jobs that this process has accepted and that have no result yet.

The table is bounded: beyond `LIMIT` the oldest jobs are forgotten, which leaves them to
whoever asks for them, and to `irs audit`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irs import errors, log
from irs.audit import uploads
from irs.audit.sweep import Announce, Results
from irs.audit.uploads import Inputs
from irs.domain import requeue
from irs.domain.jobs import INPUT_MISSING, Failure, Job, Result, Status, stamp

#: Jobs in the table; each takes about 1 kB.
LIMIT = 10_000
#: Jobs that one turn looks after: the others wait for the next one.
TURN = 200

_log = log.get("audit")


@dataclass(kw_only=True, slots=True)
class _Entry:
    open: requeue.Open
    #: when it came, on the table's clock
    since: float
    #: None: adopted by its id alone
    job: Job | None
    #: known to be lost, and could not be sent again so far
    lost: bool = False


class Pending:
    """Thread-safe, but for `turn`, which one thread calls."""

    def __init__(self, *, after: float, limit: int = LIMIT,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._after = after
        self._limit = limit
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._queue = requeue.Seen()
        self._newest_done: float | None = None
        #: jobs sent again, and forgotten for want of room, so far
        self.requeued = self.forgotten = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> float | None:
        """When the oldest job came, on the table's clock; None: there is none."""
        with self._lock:
            return next((entry.since for entry in self._entries.values()), None)

    @property
    def lost(self) -> int:
        """Jobs that are lost and could not be sent again so far."""
        with self._lock:
            return sum(entry.lost for entry in self._entries.values())

    def accepted(self, job: Job) -> None:
        """``job`` was sent, or perhaps was."""
        self._add(job.id, job)

    def adopt(self, job_id: str) -> None:
        """Somebody asks for a job that has an upload and no result."""
        self._add(job_id, None)

    def done(self, job_id: str, status: Status = Status.DONE) -> None:
        """There is a result, of this ``status``."""
        with self._lock:
            entry = self._entries.pop(job_id, None)
            # One that was adopted or sent again says nothing about what was sent when, and
            # one that was cancelled nothing about the queue's turns.
            if (entry is not None and entry.job is not None and entry.open.again == 0
                    and status is not Status.CANCELLED):
                self._newest_done = max(entry.open.sent, self._newest_done or entry.open.sent)

    def is_lost(self, job_id: str) -> bool:
        """Whether it is known that nothing works on the job and that it cannot be sent now."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.lost

    def sent_here(self, job_id: str) -> bool:
        """Whether this process sent it, and has heard of no result."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.job is not None

    def _add(self, job_id: str, job: Job | None) -> None:
        with self._lock:
            if job_id in self._entries:
                return
            now = self._clock()
            self._entries[job_id] = _Entry(open=requeue.Open(id=job_id, sent=now), since=now, job=job)
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
                self.forgotten += 1

    @property
    def ripe(self) -> bool:
        """Whether there is a job for whose sake to look at the queue."""
        now = self._clock()
        with self._lock:
            return any(requeue.ripe(entry.open, now, self._after) for entry in self._entries.values())

    def turn(self, messages: int | None, keeper: Keeper) -> None:
        """After a look at the queue: send again what it has lost.

        ``messages`` as in `irs.domain.requeue.seen`. Raises `errors.CloudError` where the
        rest of the turn would fail as well.
        """
        now = self._clock()
        self._queue = requeue.seen(self._queue, now, messages)
        with self._lock:
            opens = [entry.open for entry in self._entries.values()]
        ids = requeue.lost(opens, now=now, queue=self._queue, after=self._after,
                           newest_done=self._newest_done)
        for job_id in ids[:TURN]:
            entry = self._entries.get(job_id)
            job = self._unfinished(entry, keeper) if entry is not None else None
            if entry is None or job is None:
                continue
            try:
                keeper.send(job)
            except errors.CloudError:
                self._mark_lost(ids)
                raise
            entry.lost = False
            entry.open = requeue.Open(id=job_id, sent=self._clock(), again=entry.open.again + 1)
            self._queue = requeue.Seen()  # there is something in it again
            self.requeued += 1
            _log.warning("job.requeued", id=job_id, again=entry.open.again)

    def _mark_lost(self, ids: Sequence[str]) -> None:
        with self._lock:
            for job_id in ids:
                if job_id in self._entries:
                    self._entries[job_id].lost = True

    def _unfinished(self, entry: _Entry, keeper: Keeper) -> Job | None:
        """The job, which has an upload and no result; None: there is nothing to send, and it is done.

        A batch's that this process did not send is its feeder's, and may be far from its turn.
        """
        result = keeper.results.read(entry.open.id)
        stored = uploads.look(keeper.inputs, entry.open.id) if result is None else None
        if stored is not None and (entry.job is not None or not stored.batch):
            return entry.job or stored.job
        if result is None and entry.job is not None:
            result = keeper.give_up(entry.job)
        self.done(entry.open.id, result.status if result is not None else Status.UNKNOWN)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """What it takes to look after a job."""

    inputs: Inputs
    results: Results
    announce: Announce
    #: puts the job's task on the input queue
    send: Callable[[Job], None]

    def give_up(self, job: Job) -> Result:
        """Neither message nor upload are there: that is the result, unless there is one by now."""
        result = self.results.write(Result(
            id=job.id, image=job.image, status=Status.FAILED,
            error=Failure(code=INPUT_MISSING, message="the uploaded image is not in the input bucket"),
            times={"received": stamp(job.received)}))
        self.announce(result, None)
        if result.status is Status.FAILED:
            _log.error("job.upload_missing", id=job.id)
        return result
