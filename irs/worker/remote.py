"""Remote control where it can be had: a worker that may not use SNS works all the same."""

from __future__ import annotations

from typing import Any

from celery.worker import pidbox
from celery.worker.consumer import control

from irs import errors, log

#: Seconds between tries while SNS or SQS has a fault; a try may hold Celery's loop up for as
#: long as a call to AWS takes to time out.
PAUSE = 600.0

_log = log.get("worker")


class Box(pidbox.Pidbox):
    """Celery's mailbox, without which Celery's own worker would not begin, and try for ever."""

    _again: Any = None

    def start(self, c: Any) -> None:
        """Listen; where that is refused, say so once and do without."""
        self._again = None
        try:
            super().start(c)
        except errors.CloudError as exc:
            self.stop(c)
            later = isinstance(exc, errors.Retryable)
            _log.warning("worker.no_remote_control", seconds=PAUSE if later else None, why=str(exc))
            if later:
                self._again = c.hub.call_later(PAUSE, self.start, c)

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
