"""Is the worker deaf? Judged by the last answered receive, not by the process being there.

The receive loop retries for ever, so a worker that hears nothing for minutes is cut off in
a way that a new process may mend (a stale address, a defect in a connection pool, a thread
that is gone) or that nothing here can. Either way it ends itself, with an exit code that
makes whoever started it start another.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from irs.broker import receiver

#: Seconds of silence after which a worker is deaf. Consuming resumes within 90 s of any
#: fault that the receive loop outlives: this is twice as long.
DEAF = 180.0
#: Exit code of a worker that was deaf.
EXIT = 3
#: Seconds that one look counts at most: a process that was stopped, or a machine that
#: slept, has not been deaf meanwhile, and gets its time to hear again.
STEP = 15.0


class Hearing:
    """Counts the silence between looks; not thread-safe."""

    def __init__(self, heard: Callable[[], float | None] = receiver.last_success,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """``heard`` gives the time of the last answered receive; None while nothing receives."""
        self._heard = heard
        self._clock = clock
        self._last = heard()
        self._at = clock()
        #: seconds without a new answer, as far as looks were made
        self.silence = 0.0

    def deaf(self) -> bool:
        """Look; whether it has been silent for too long."""
        now, heard = self._clock(), self._heard()
        step, self._at = min(STEP, now - self._at), now
        if heard is not None and heard != self._last:
            self._last, self.silence = heard, 0.0
        else:
            self.silence += step
        return self.silence >= DEAF
