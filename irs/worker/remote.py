"""Remote control where it can be had: a worker that may not use SNS works all the same."""

from __future__ import annotations

import threading
from typing import Any

from celery.worker import pidbox
from celery.worker.consumer import control

from irs import errors, log
from irs.aws import topics
from irs.settings import load

#: Seconds between tries while SNS or SQS has a fault.
PAUSE = 600.0

_log = log.get("worker")


class Box(pidbox.Pidbox):
    """Celery's mailbox, without which Celery's own worker would not begin, and try for ever.

    Its start is in Celery's main loop. At the worker's own start that may wait for SNS; later
    the loop has images to hand on, so SNS is asked beside it whether it answers at all.
    """

    #: the timer whose turn it is to try again
    _again: Any = None

    def start(self, c: Any) -> None:
        """Listen; where that is refused, say so once and do without."""
        self._again = None
        try:
            super().start(c)
        except errors.CloudError as exc:
            self.stop(c)
            self._without(c, exc)

    def _without(self, c: Any, exc: Exception) -> None:
        later = not isinstance(exc, errors.Permanent)
        # A defect, of ours or a library's, is told with where it was.
        where = None if isinstance(exc, errors.CloudError) else (type(exc), exc, exc.__traceback__)
        _log.warning("worker.no_remote_control", seconds=PAUSE if later else None,
                     why=str(exc) or repr(exc), exc_info=where)
        if later:
            self._again = c.hub.call_later(PAUSE, self._ask, c)

    def _ask(self, c: Any) -> None:
        threading.Thread(target=self._asked, args=(c, self._again), name="remote", daemon=True).start()

    def _asked(self, c: Any, turn: Any) -> None:
        """In a thread: whether SNS answers; the rest is the main loop's."""
        try:
            topics.ask(load())
        except Exception as exc:  # whatever it is, only the main loop can see to the next try
            c.hub.call_soon(self._told, c, turn, exc)
        else:
            c.hub.call_soon(self._told, c, turn, None)

    def _told(self, c: Any, turn: Any, exc: Exception | None) -> None:
        if turn is not self._again:
            return  # the connection was lost meanwhile, or the worker stops
        if exc is None:
            self.start(c)
        else:
            self._without(c, exc)

    def on_stop(self) -> None:
        """Try no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None


class Control(control.Control):
    """Celery's step, with the mailbox above."""

    def __init__(self, c: Any, **given: Any) -> None:
        super().__init__(c, **given)
        self.box = Box(c)
        self.start, self.stop, self.shutdown = self.box.start, self.box.stop, self.box.shutdown
