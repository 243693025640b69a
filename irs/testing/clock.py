"""Time that a test moves by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

#: Any fixed moment does; this one is easy to recognise in a failing test's output.
START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class SystemClock:
    """The real time, in UTC."""

    def now(self) -> datetime:
        """This moment."""
        return datetime.now(UTC)


class FakeClock:
    """Stands still until `advance` moves it. Safe to share between threads."""

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("naive datetime: give it a time zone")
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The moment that the clock stands at."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move forward; a clock never goes back."""
        if seconds < 0:
            raise ValueError("a clock never goes back")
        with self._lock:
            self._now += timedelta(seconds=seconds)
