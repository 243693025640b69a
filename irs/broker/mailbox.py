"""Celery's remote control from the asking side: one reply queue a thread, however much it asks."""

from __future__ import annotations

import threading

from celery.app import control
from kombu import pidbox

from irs.broker import names


class Mailbox(pidbox.Mailbox):
    """kombu's names its reply queue by its own address in memory, and Celery makes one a question.

    A monitor that asks all day would make a queue a question, and SQS has nobody who drops them.
    """

    @property
    def oid(self) -> str:
        """Whose replies these are: this process's, this thread's."""
        return f"{names.PROCESS}-{threading.get_ident():x}"


class Control(control.Control):
    """``app.control``, with the mailbox above."""

    Mailbox = Mailbox
