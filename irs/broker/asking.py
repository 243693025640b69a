"""Receiving without a main loop: `celery inspect`, `celery events`, Flower."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from queue import Empty
from typing import Any

from kombu.transport.SQS.exceptions import UndefinedQueueException

from irs.aws.queues import BATCH
from irs.broker import envelope
from irs.broker.control import ControlChannel

#: Seconds between two looks for events: ten messages a receive, where one at a time would
#: cost a receive each.
PACE = 1.0


class AskingChannel(ControlChannel):
    """The channel of a process that asks workers, or listens to their events."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: `time.monotonic` before which events are not looked for
        self._rested = 0.0
        super().__init__(*args, **kwargs)

    def _asks(self, queue: str) -> None:
        """A queue is consumed without a main loop."""
        if self._is_event_queue(queue):
            _end_at_sigterm()

    def _poll(self, cycle: Any, callback: Any, timeout: float | None = None) -> Any:
        # kombu's drops the timeout, and a client's question would last a whole long poll.
        return cycle.get(callback, timeout=timeout)

    def _get_bulk(self, queue: str, callback: Any = None, timeout: float | None = None,
                  **kwargs: Any) -> None:
        """One receive; raises `queue.Empty`."""
        source = self.queue(queue)
        listens = self._is_event_queue(queue)
        if listens:
            # Celery asks for a second each time, to send AMQP's heartbeats in between.
            wait = self.settings.poll_wait
            time.sleep(max(0.0, self._rested - time.monotonic()))
            messages = source.receive(BATCH, wait=wait)
            self._rested = time.monotonic() + PACE
        else:
            wait = self.settings.poll_wait if timeout is None else max(1, math.ceil(timeout))
            messages = source.receive(max(1, min(self._room(), BATCH)), wait=wait)
        if not messages:
            raise Empty
        # Events are left to expire: they stay hidden for longer than they live.
        if queue in self._noack_queues and not listens:
            source.delete_batch([m.receipt for m in messages])
        for message in messages:
            self.connection._deliver(envelope.read(message, source), queue)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        source = self.queue(queue)
        messages = source.receive(1, wait=1)
        if not messages:
            raise Empty
        if queue in self._noack_queues:
            source.delete_batch([messages[0].receipt])
        return envelope.read(messages[0], source)

    def _is_event_queue(self, queue: str) -> bool:
        try:
            return self._get_exchange_for_queue(queue) == self.connection.event_exchange
        except UndefinedQueueException:
            return False


def _end_at_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that it drops its queue.

    `celery events` leaves the signal to the system, which ends it where it stands.
    """
    if (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
