"""Signals as something to wait on.

`threading.Event.set` must not be called from a signal handler: the interrupted thread may
hold the event's own lock. Here the interpreter writes each signal into a pipe, and `wait`
waits for the pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Counts SIGINT, SIGTERM and SIGHUP from its making on; for the main thread.

    Answers ``is_set`` and ``wait`` like a `threading.Event` that is set by the first one.
    """

    def __init__(self) -> None:
        self._count = 0
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(self._reader, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in STOPPING:
            # nohup ignores SIGHUP for us, and means it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    @property
    def count(self) -> int:
        """How many have come."""
        return self._count

    def fileno(self) -> int:
        """What can be read once one has come, for who waits for something else as well."""
        return self._reader

    def is_set(self) -> bool:
        """Whether one has come."""
        return self._count > 0

    def wait(self, timeout: float, *, more_than: int = 0) -> bool:
        """Whether more than ``more_than`` have come; up to ``timeout`` seconds for a change."""
        if self._count <= more_than:
            select.select([self._reader], [], [], timeout)
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        return self._count > more_than

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
