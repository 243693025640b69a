"""The images of a batch on their way into the input bucket, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future

from irs import errors, log
from irs.bulk import ports
from irs.bulk.ports import Inputs
from irs.bulk.store import Batches
from irs.domain import bulk, images, keys
from irs.domain.bulk import CHUNK, Member
from irs.domain.jobs import Failure

#: Images of one batch that are stored at once: bounds the memory of whole files.
AT_ONCE = 8

_log = log.get("web")


class Intake:
    """One batch's members as they come, in their order. For one thread.

    Methods raise `errors.CloudError`, and `errors.TooLarge` for a member too many. What is
    wrong with one image is a member that is refused.
    """

    def __init__(self, batch_id: str, batches: Batches, inputs: Inputs, pool: Executor,
                 limits: images.Limits, *, most: int) -> None:
        self._id = batch_id
        self._batches = batches
        self._inputs = inputs
        self._pool = pool
        self._limits = limits
        self._most = most
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._chunk: list[Future[Member]] = []
        self._written = 0
        self._trouble: Exception | None = None

    @property
    def total(self) -> int:
        """Members so far."""
        return self._written + len(self._chunk)

    def add(self, name: str, data: bytes) -> None:
        """An uploaded image; returns when there is a place to store it."""
        job_id = bulk.member_id(self._id, self._next())
        self._later(lambda: self._stored(job_id, name, data))

    def name(self, source: str, name: str) -> None:
        """An image in S3, that is fetched when its turn comes."""
        self._next()
        self._now(Member(name=name, source=source))

    def refuse(self, name: str, why: errors.Refused, source: str | None = None) -> None:
        """One that is none."""
        self._next()
        self._now(Member(name=name, source=source, error=Failure(code=why.code, message=str(why))))

    def finish(self) -> int:
        """Wait until all of them are stored; returns how many there are."""
        self._write()
        return self._written

    def withdraw(self) -> None:
        """Delete what was stored: there will be no batch."""
        try:
            self._delete((number, future.result()) for number, future
                         in enumerate(self._chunk, self._written) if future.exception() is None)
            for first in range(0, self._written, CHUNK):
                self._delete(enumerate(self._batches.read_chunk(self._id, first // CHUNK), first))
            # Last, as nothing else tells the uploads' names.
            for first in range(0, self._written, CHUNK):
                self._batches.drop_chunk(self._id, first // CHUNK)
        except errors.CloudError as exc:
            # `irs audit` will find them.
            _log.warning("batch.uploads_left", batch=self._id, why=str(exc))

    def _delete(self, members: Iterable[tuple[int, Member]]) -> None:
        doomed = [keys.input_key(bulk.member_id(self._id, number), member.name)
                  for number, member in members if member.error is None and member.source is None]
        for _ in self._pool.map(self._inputs.delete, doomed):
            pass

    def _next(self) -> int:
        """The next member's number."""
        if self.total >= self._most:
            raise errors.TooLarge(f"more than {self._most} images in one batch")
        if len(self._chunk) == CHUNK:
            self._write()
        return self.total

    def _write(self) -> None:
        if self._chunk:
            members = [future.result() for future in self._chunk]
            self._keep(self._written // CHUNK, members)
            self._written += len(members)
            self._chunk = []

    def _keep(self, chunk: int, members: list[Member]) -> None:
        """Store a chunk; one that is there stays, with what its batch has noted in it since."""
        try:
            self._batches.write_chunk(self._id, chunk, members)
        except errors.AlreadyExists:
            # Of a request with the same key, or of our own write whose answer was lost.
            there = self._batches.read_chunk(self._id, chunk)
            if [(m.name, m.source) for m in there] != [(m.name, m.source) for m in members]:
                raise errors.IdempotencyConflict(
                    "the Idempotency-Key belongs to a batch of other images") from None

    def _now(self, member: Member) -> None:
        done: Future[Member] = Future()
        done.set_result(member)
        self._chunk.append(done)

    def _later(self, work: Callable[[], Member]) -> None:
        self._places.acquire()
        if self._trouble is not None:
            raise self._trouble  # there is no use in the rest
        self._chunk.append(self._pool.submit(self._held, work))

    def _held(self, work: Callable[[], Member]) -> Member:
        try:
            return work()
        except Exception as exc:
            self._trouble = exc
            raise
        finally:
            self._places.release()

    def _stored(self, job_id: str, name: str, data: bytes) -> Member:
        try:
            ports.store(self._inputs, job_id, name, data, self._limits, batch_id=self._id)
        except errors.Refused as exc:
            return Member(name=name, error=Failure(code=exc.code, message=str(exc)))
        return Member(name=name)
