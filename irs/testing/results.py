"""The results in memory, and a listener that a test speaks to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from irs.domain import keys
from irs.domain.jobs import Result, Status
from irs.results.waiters import Waiter, Waiters


class MemoryResults:
    """The methods of `irs.results.store.ResultStore`, kept in a dictionary."""

    def __init__(self) -> None:
        #: job id to result, for a test to read
        self.stored: dict[str, Result] = {}
        self._lock = threading.Lock()

    def read(self, job_id: str) -> Result | None:
        """The job's result; None where there is none."""
        return self.stored.get(keys.parse_id(job_id))

    def write(self, result: Result) -> Result:
        """Store ``result`` unless there is one; returns what is stored."""
        with self._lock:
            return self.stored.setdefault(result.id, result)

    def withdraw(self, job_id: str) -> Result | None:
        """Remove the job's result if it is a failure; returns what was there."""
        found = self.read(job_id)
        if found is not None and found.status is Status.FAILED:
            with self._lock:
                self.stored.pop(found.id, None)
        return found


class MemoryListener:
    """The methods of `irs.results.listener.Listener`; `announce` plays the reply queue."""

    def __init__(self, address: str = "memory-web-0", *,
                 told: Callable[[Result], None] | None = None) -> None:
        self.address = address
        self._told = told
        self.last_success = self.last_result = 0.0
        self.started = self.closed = False
        self._waiters = Waiters()

    def start(self) -> None:
        """Begin to listen."""
        self.started = True
        self.last_success = time.monotonic()

    def close(self) -> None:
        """Stop."""
        self.closed = True

    def expect(self, job_id: str) -> Waiter:
        """Register for ``job_id``."""
        return self._waiters.expect(job_id)

    @property
    def waiting(self) -> int:
        """Jobs that somebody waits for."""
        return len(self._waiters)

    def announce(self, result: Result) -> None:
        """A result arrives."""
        self.last_result = time.monotonic()
        if self._told is not None:
            self._told(result)
        self._waiters.resolve(result)
