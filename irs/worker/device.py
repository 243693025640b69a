"""A worker whose GPU is lost ends, and a new process finds it again, or says at its start that it cannot.

After some faults (an illegal access, a GPU that fell off the bus) no call of CUDA succeeds in
this process any more. Whoever started the worker starts another; the images go to whoever is
there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from irs import errors, log

_log = log.get("worker")


class Ending:
    """Begins at the first call of `begin`, of any thread."""

    def __init__(self, end: Callable[[], None] | None = None) -> None:
        self._end = end or _drain
        self._begun = threading.Lock()

    def begin(self, why: errors.DeviceLost) -> None:
        """End the worker as if its instance were stopped: what it has in hand is given back."""
        if self._begun.acquire(blocking=False):
            _log.critical("worker.device_lost", why=str(why))
            self._end()


def _drain() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
