"""What became of a worker's images and how long they took, since its process began."""

from __future__ import annotations

import threading

from irs.domain import latency
from irs.domain.latency import Counts


class Tally:
    """Counts that never fall, for the worker's report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed = 0
        self._waits = [0] * latency.MOST
        self._infers = [0] * latency.MOST

    @property
    def failed(self) -> int:
        """Images that got no label."""
        return self._failed

    @property
    def waits(self) -> Counts:
        """How long images had been in the queue."""
        return latency.trimmed(self._waits)

    @property
    def infers(self) -> Counts:
        """How long they were in the engine, their wait for a batch included."""
        return latency.trimmed(self._infers)

    def inferred(self, seconds: float) -> None:
        """An image has come out of the engine."""
        with self._lock:
            self._infers[latency.place(seconds)] += 1

    def ended(self, waited: float | None, *, failed: bool) -> None:
        """An image has its result; ``waited``: seconds in the queue, None where nobody knows."""
        with self._lock:
            self._failed += failed
            if waited is not None:
                self._waits[latency.place(waited)] += 1
