"""A question to the cloud that may stall, asked so that the asker never does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from irs import errors

T = TypeVar("T")


class Probe(Generic[T]):
    """``look()`` in a thread of its own, one at a time, its answer shared while fresh.

    ``fresh`` and ``patience`` are in seconds. A look that stalls is left to its own
    timeouts; until it ends, no second one is started.
    """

    def __init__(self, look: Callable[[], T], *, fresh: float, patience: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._fresh = fresh
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._future: Future[T] | None = None
        self._ended = 0.0

    def value(self) -> T:
        """The answer; raises what ``look`` raised, or `errors.Unreachable` after ``patience``."""
        future = self.refresh()
        try:
            return future.result(self._patience)
        except TimeoutError as exc:
            if future.done():  # the look's own
                raise
            raise errors.Unreachable(f"no answer within {self._patience:g} s") from exc

    def refresh(self) -> Future[T]:
        """Begin a look unless one is under way or its answer fresh; never waits."""
        with self._lock:
            future = self._future
            if future is None or (future.done() and self._clock() - self._ended > self._fresh):
                future = self._future = Future()
                threading.Thread(target=self._run, args=(future,), name="probe", daemon=True).start()
            return future

    def _run(self, future: Future[T]) -> None:
        try:
            answer = self._look()
        except Exception as exc:
            self._ended = self._clock()
            future.set_exception(exc)
        else:
            self._ended = self._clock()
            future.set_result(answer)
