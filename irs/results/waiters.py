"""Who waits in this process for the results of which jobs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol

from irs.domain.jobs import Result


class Expects(Protocol):
    """Whom a waiter is registered with: `Waiters`, or `irs.web.reuse.Reuse`."""

    def forget(self, waiter: Waiter) -> None: ...


class Waiter:
    """One wait for one job's result. Use as a context manager, so that it is forgotten."""

    def __init__(self, registered: Expects, job_id: str) -> None:
        self.job_id = job_id
        self.result: Result | None = None
        self._registered = registered
        self._heard = threading.Event()

    def wait(self, timeout: float) -> Result | None:
        """The announced result, or None after ``timeout`` seconds."""
        self._heard.wait(timeout)
        return self.result

    def resolve(self, result: Result) -> None:
        """Wake whoever waits."""
        self.result = result
        self._heard.set()

    def close(self) -> None:
        """Stop expecting."""
        self._registered.forget(self)

    def __enter__(self) -> Waiter:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class Waiters:
    """Those of one listener. Thread-safe; `len` is the number of jobs that somebody waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiter]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, job_id: str) -> Waiter:
        """Register for ``job_id``."""
        waiter = Waiter(self, job_id)
        with self._lock:
            self._waiting.setdefault(job_id, []).append(waiter)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """The opposite of `expect`."""
        with self._lock:
            waiting = self._waiting.get(waiter.job_id, [])
            if waiter in waiting:
                waiting.remove(waiter)
            if not waiting:
                self._waiting.pop(waiter.job_id, None)

    def resolve(self, result: Result) -> None:
        """Wake whoever waits for the job; they stay registered until they are closed."""
        with self._lock:
            waiting = list(self._waiting.get(result.id, ()))
        for waiter in waiting:
            waiter.resolve(result)
