"""How much a worker does, and how long an image takes it when it is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from irs.worker.tally import Tally

#: Seconds of work after which a figure counts half: a new kind of images shows in minutes.
HALF_LIFE = 60.0
#: Images before there is a figure.
ENOUGH = 5.0


@dataclass(kw_only=True, slots=True)
class _Share:
    """Seconds and images of one condition, the older ones worth less."""

    seconds: float = 0.0
    images: float = 0.0

    def spend(self, seconds: float) -> None:
        fade = 0.5 ** (seconds / HALF_LIFE)
        self.seconds = self.seconds * fade + seconds
        self.images *= fade

    @property
    def each(self) -> float | None:
        return self.seconds / self.images if self.images >= ENOUGH else None


class Meter:
    """Thread-safe. ``full`` is how many images at once make the worker as fast as it gets."""

    def __init__(self, full: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = full
        self._clock = clock
        self._lock = threading.Lock()
        self._at = clock()
        self._running = 0
        self._done = 0
        self._busy, self._saturated = _Share(), _Share()
        #: what became of them
        self.tally = Tally()

    @property
    def running(self) -> int:
        """Images under way."""
        return self._running

    @property
    def done(self) -> int:
        """Images finished so far."""
        return self._done

    @property
    def service_seconds(self) -> float | None:
        """Seconds an image, images that share a batch counted each; None: too few so far.

        From the time in which the worker had as much as it can do at once, where there was
        enough of that; else from all the time in which it had any, which for a worker that
        is given one image at a time also holds what it waits for the network.
        """
        with self._lock:
            self._pass()
            return self._saturated.each or self._busy.each

    def began(self) -> None:
        """An image is under way."""
        with self._lock:
            self._pass()
            self._running += 1

    def ended(self, *, finished: bool) -> None:
        """It is no more; ``finished``: it will not come again."""
        with self._lock:
            self._pass()
            if finished:
                self._done += 1
                self._busy.images += 1
                if self._running >= self._full:
                    self._saturated.images += 1
            self._running = max(0, self._running - 1)

    def _pass(self) -> None:
        now = self._clock()
        spent, self._at = now - self._at, now
        if self._running:
            self._busy.spend(spent)
        if self._running >= self._full:
            self._saturated.spend(spent)
