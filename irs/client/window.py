"""Which images of many are on their way, and which outcome comes next. No threads, no tasks."""

from __future__ import annotations

from collections import deque

from irs.client.records import Outcome


class Window:
    """At most ``parallel`` images on their way, at most ``ahead`` taken and not given back."""

    def __init__(self, *, parallel: int, ahead: int, ordered: bool) -> None:
        self._parallel = parallel
        self._ahead = ahead
        self._ordered = ordered
        self._taken = 0
        self._given = 0
        self._flying = 0
        self._closed = False
        self._held: dict[int, Outcome] = {}
        self._ready: deque[Outcome] = deque()

    @property
    def room(self) -> bool:
        """Whether another image may be sent."""
        return (not self._closed and self._flying < self._parallel
                and self._taken - self._given < self._ahead)

    @property
    def empty(self) -> bool:
        """Whether nothing is on its way and nothing is left to give."""
        return self._taken == self._given

    def close(self) -> None:
        """No image will follow."""
        self._closed = True

    def take(self) -> int:
        """Count an image in; returns its number."""
        self._flying += 1
        self._taken += 1
        return self._taken - 1

    def put(self, number: int, outcome: Outcome) -> None:
        """An image's outcome."""
        self._flying -= 1
        if not self._ordered:
            self._ready.append(outcome)
            return
        self._held[number] = outcome

    def pop(self) -> Outcome | None:
        """The next outcome; None where it is not there yet."""
        found = self._held.pop(self._given, None) if self._ordered else (
            self._ready.popleft() if self._ready else None)
        self._given += found is not None
        return found
