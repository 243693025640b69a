"""Company for a job: most run beside others, one that may have killed its workers runs alone.

An image that kills its worker takes with it whatever else the worker has in hand. Those jobs
come back together, at the same time, and would meet in the next worker again, until all of
them are dead letters. So a job that has come back too often runs alone, and leaves a mark in
the output bucket for as long as it runs. A mark that is still there at the next receive says
that the job's worker ended meanwhile: such a job stands back until its last receive, by when
all others have run, and is then given up without being opened again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

from irs import errors, log

#: Keys of marks; what has a folder in the output bucket is no result.
FOLDER = "suspects/"


_log = log.get("worker")


class Marks(Protocol):
    """The output bucket: `irs.aws.objects.Objects`, as far as marks are kept there."""

    def put(self, key: str, data: bytes) -> object: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...


class Killer(Exception):
    """The job ran alone, and its worker ended before it did."""


class Suspects:
    """One a process; thread-safe. ``receives`` is how often a message may be received."""

    def __init__(self, marks: Marks, *, receives: int) -> None:
        self._marks = marks
        #: left by this process, which has not ended
        self._mine: set[str] = set()
        #: the receive from which on a job is suspect: two more are left for what was in its
        #: company, one to be in its way again and one to be run
        self.since = max(2, receives - 2)
        self._turn = threading.Condition()
        self._running = 0
        self._waiting = 0
        self._alone = False

    @contextlib.contextmanager
    def company(self, job_id: str, attempt: int) -> Iterator[None]:
        """Run the job inside; waits for its turn.

        Raises `Killer`, and `errors.CloudError` where its mark cannot be looked at or left.
        """
        if attempt < self.since:
            with self._beside_others():
                yield
            return
        key = FOLDER + job_id
        with self._by_itself():
            if key not in self._mine and self._marks.exists(key):
                raise Killer
            self._mine.add(key)
            self._marks.put(key, b"")
            try:
                yield
            finally:
                self._lift(job_id)


    def _lift(self, job_id: str) -> None:
        key = FOLDER + job_id
        try:
            self._marks.delete(key)
        except errors.CloudError as exc:
            # Beside a result it means nothing; without one the job stands back for its last receive.
            _log.info("job.mark_stays", id=job_id, why=str(exc))
            return
        self._mine.discard(key)

    @contextlib.contextmanager
    def _beside_others(self) -> Iterator[None]:
        with self._turn:
            # Suspects first: those who go on coming would never let one be alone.
            self._turn.wait_for(lambda: not (self._alone or self._waiting))
            self._running += 1
        try:
            yield
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        with self._turn:
            self._waiting += 1
            try:
                self._turn.wait_for(lambda: not (self._alone or self._running))
                self._alone = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._turn:
                self._alone = False
                self._turn.notify_all()
