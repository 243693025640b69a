"""The same bytes are classified once: what was answered of late, and what is on its way.

One a process. A duplicate of what was answered has its answer at once; a duplicate of what
is on its way follows it: its request waits for the other job's result. Nobody is told that
a follower is accepted before it is stored, and answered or sent: nothing hangs on another's
fate. docs/decisions/0015-reuse.md has the reasons.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from irs import errors, log, tracing
from irs.domain import reuse
from irs.domain.jobs import Job, Result, Status
from irs.domain.reuse import Answers, Asked
from irs.results.waiters import Waiter

#: Jobs on their way that are remembered, as many as `irs.audit.pending` looks after.
LIMIT = 10_000
#: Seconds for which a job is followed; one that takes longer may never end.
LEADS = 60.0
#: Shared answers that may wait to be written; more are dropped, as S3 is slow then.
WRITES = 100
#: Bytes of a shared answer; a larger object is not ours.
_MAX_ANSWER = 100_000

_log = log.get("web")


class Index(Protocol):
    """The shared answers: `irs.aws.objects.Objects` of the output bucket."""

    def get(self, key: str, *, max_bytes: int | None = ...) -> bytes: ...
    def put(self, key: str, data: bytes, *, content_type: str = ...) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What is known of an upload's bytes: an answer, a job to follow, or nothing."""

    #: the job's own result
    answer: Result | None = None
    #: how it comes: ``hit`` or ``coalesced``
    outcome: str = ""
    #: the wait for the other job
    lead: Waiter | None = None


class Reuse:
    """Thread-safe. ``run`` runs a function in another thread."""

    def __init__(self, mode: str, index: Callable[[], Index], run: Callable[..., Any], *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._on = mode != "off"
        self._index = index if mode == "shared" else None
        self._run = run
        self._clock = clock
        self._lock = threading.Lock()
        self._answers = Answers()
        #: job id to what it asks, of jobs that were sent or are about to be
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        #: key to the job to follow, and since when
        self._leads: dict[str, tuple[str, float]] = {}
        self._followers: dict[str, list[Waiter]] = {}
        self._writing = 0

    def claim(self, job: Job, data: bytes, client: str | None, *, follow: bool,
              alone: bool = False) -> Claim:
        """What is known of ``data``. Where it is nothing, ``job`` leads: send it, or `abandon` it.

        ``client`` is whose answers may be given; None: nobody's. ``follow`` says whether
        the job can wait for another's result. ``alone``: it neither follows nor leads, as its
        id was told to somebody, who may come with other bytes under it.
        """
        if not self._on or client is None:
            return Claim()
        asked = Asked.of(data, client)
        with self._lock:
            known = self._answers.find(asked.key, self._clock())
            if known is not None:
                return _hit(job, known)
            if alone:
                return Claim()
            lead, since = self._leads.get(asked.key, ("", float("-inf")))
            if self._clock() - since < LEADS:
                self._remember(job.id, asked)
                return Claim(lead=self._follow(lead) if follow else None)
            self._lead(job.id, asked)
        known = self._shared(asked) if self._index is not None else None
        if known is None:
            return Claim()
        self._end(job.id, known)
        return _hit(job, known)

    def settle(self, job: Job, data: bytes, found: Result | None) -> Claim:
        """What the end of the job that it followed makes of ``job``: as `claim`, but it follows none.

        ``data`` was read anew, and may be other bytes by now: then nothing is known of it.
        """
        if found is not None:
            self.heard(found)
        with self._lock:
            asked = self._asked.get(job.id)
            if asked is not None and asked.sha256 != reuse.digest(data):
                del self._asked[job.id]
                self._unlead(job.id, asked.key)
                return Claim()
            if asked is None or found is None or not reuse.reusable(found, asked.sha256):
                if asked is not None:
                    self._lead(job.id, asked)
                return Claim()
            del self._asked[job.id]
            self._unlead(job.id, asked.key)
        return _hit(job, found, "coalesced")

    def abandon(self, job_id: str) -> None:
        """The job could not be sent: who follows it has to look after itself."""
        self._end(job_id, Result(id=job_id, image="", status=Status.CANCELLED))

    def heard(self, result: Result) -> None:
        """A job of this process has its result."""
        if not self._on:
            return
        now = datetime.now(UTC)
        with self._lock:
            asked = self._asked.get(result.id)
            new = reuse.fresh(result, now) and not result.reused
            # What is on trial says nothing about the model of the others.
            if new and result.model is not None and not result.model.canary:
                self._answers.heard(result.model, self._clock())
            keep = new and asked is not None and reuse.reusable(result, asked.sha256)
            if keep and asked is not None:
                self._answers.keep(asked.key, result, self._clock())
        self._end(result.id, result)
        if keep and asked is not None:
            self._share(asked.key, reuse.to_index(result, now))

    def forget(self, waiter: Waiter) -> None:
        """A follower waits no more: what `Waiter` asks of its listener."""
        with self._lock:
            waiting = self._followers.get(waiter.job_id, [])
            if waiter in waiting:
                waiting.remove(waiter)
            if not waiting:
                self._followers.pop(waiter.job_id, None)

    # -- with the lock held ------------------------------------------------------------------
    def _follow(self, lead: str) -> Waiter:
        waiter = Waiter(self, lead)
        self._followers.setdefault(lead, []).append(waiter)
        return waiter

    def _remember(self, job_id: str, asked: Asked) -> None:
        self._asked[job_id] = asked
        if len(self._asked) > LIMIT:
            oldest, forgotten = self._asked.popitem(last=False)
            self._unlead(oldest, forgotten.key)

    def _lead(self, job_id: str, asked: Asked) -> None:
        self._remember(job_id, asked)
        self._leads[asked.key] = (job_id, self._clock())

    def _unlead(self, job_id: str, key: str) -> None:
        if self._leads.get(key, ("", 0.0))[0] == job_id:
            del self._leads[key]

    # -- without it --------------------------------------------------------------------------
    def _end(self, job_id: str, result: Result) -> None:
        """The job is on its way no more; ``result`` is for who followed it."""
        with self._lock:
            asked = self._asked.pop(job_id, None)
            if asked is not None:
                self._unlead(job_id, asked.key)
            waiting = self._followers.pop(job_id, [])
        for waiter in waiting:
            waiter.resolve(result)

    def _shared(self, asked: Asked) -> Result | None:
        """Another process's answer, or an earlier life's; no trouble with it is the client's."""
        try:
            raw = self._index().get(reuse.index_key(asked.key), max_bytes=_MAX_ANSWER)
        except errors.NotFound:
            return None
        except (errors.CloudError, errors.TooLarge) as exc:
            _log.warning("reuse.index_unread", why=str(exc))
            return None
        now = self._clock()
        with self._lock:
            found = reuse.from_index(raw, asked.sha256, datetime.now(UTC), self._answers.model(now))
            if found is None:
                return None
            known, age = found
            self._answers.keep(asked.key, known, now - age)
        return known

    def _share(self, key: str, raw: bytes) -> None:
        with self._lock:
            if self._index is None or self._writing >= WRITES:
                return
            self._writing += 1
        self._run(self._write, key, raw)

    def _write(self, key: str, raw: bytes) -> None:
        try:
            self._index().put(reuse.index_key(key), raw, content_type="application/json")
        except errors.CloudError as exc:
            _log.warning("reuse.index_unwritten", why=str(exc))
        finally:
            with self._lock:
                self._writing -= 1


def _hit(job: Job, known: Result, outcome: str = "hit") -> Claim:
    tracing.note({"irs.reuse": outcome, "irs.reuse.of": known.id}, tracing.recall(known.id))
    _log.info("job.reused", id=job.id, of=known.id, outcome=outcome)
    return Claim(answer=reuse.answer(job, known, datetime.now(UTC)), outcome=outcome)
