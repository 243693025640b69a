"""Room for what is decoded at once: so many bytes together, however many threads ask."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Room:
    """First come, first served, so that nothing large starves behind what is small."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._queue: deque[object] = deque()
        self._inside = 0
        self._taken = 0

    @property
    def taken(self) -> int:
        """Bytes taken now."""
        return self._taken

    @contextlib.contextmanager
    def take(self, weight: int, total: int) -> Iterator[None]:
        """Wait for ``weight`` of ``total`` bytes, and keep them while inside.

        Who wants more than all of it waits until nobody is inside.
        """
        ticket = object()
        with self._turn:
            self._queue.append(ticket)
            try:
                self._turn.wait_for(lambda: self._queue[0] is ticket and (
                    not self._inside or self._taken + weight <= total))
                self._inside += 1
                self._taken += weight
            finally:
                self._queue.remove(ticket)
                self._turn.notify_all()
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                self._taken -= weight
                self._turn.notify_all()
