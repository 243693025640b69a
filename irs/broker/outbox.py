"""Events on their way to SNS: gathered for a moment, sent by a thread of their own.

Nothing waits for them, and they are worth nothing later: a worker goes on as if they had
been sent, and what cannot be sent is dropped, counted and said.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from irs import log

#: Seconds that an event waits for company: a publish costs the same for one as for a hundred.
LINGER = 1.0
#: Events of one message. One of a task has about 450 bytes, and SNS counts a publish anew
#: every 64 kB.
MOST = 100
#: Events kept while a publish takes its time; of more, the oldest go.
KEPT = 5_000

_log = log.get("broker")


class Outbox:
    """Hands events to ``send`` in lists, from a thread. `put` neither waits nor raises."""

    def __init__(self, send: Callable[[list[Any]], object], *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """``send`` takes 1 to `MOST` events, in order; whatever it raises costs these alone."""
        self._send = send
        self._clock = clock
        self._waiting: deque[Any] = deque()
        self._since = 0.0
        self._lost = 0
        self._failing = False
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="broker-events", daemon=True)
        self._thread.start()

    def put(self, event: Any) -> None:
        """Send it with those of this moment."""
        with self._changed:
            if not self._waiting:
                self._since = self._clock()
            self._waiting.append(event)
            if len(self._waiting) > KEPT:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Send what is left, for ``timeout`` seconds at most, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while events := self._gather():
            try:
                self._send(events)
            except Exception as exc:
                self._failed(len(events), exc)
            else:
                self._recovered()

    def _gather(self) -> list[Any]:
        """What is due, once something is; nothing when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            while self._waiting and len(self._waiting) < MOST and not self._closing:
                left = self._since + LINGER - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            self._since = self._clock()
            return taken

    def _failed(self, count: int, exc: Exception) -> None:
        with self._changed:
            self._lost += count
        if not self._failing:  # once a fault, not once a second
            self._failing = True
            _log.warning("broker.events_lost", why=str(exc) or repr(exc))
            _log.debug("broker.events_lost", exc_info=True)

    def _recovered(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        self._failing = False
        if lost:
            _log.info("broker.events_sent_again", lost=lost)
