"""Deletes and visibility changes, gathered into batch calls by one thread.

The worker's main loop must not wait for SQS at each acknowledgement, and ten deletes cost
what one does.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from irs import errors, log
from irs.aws.queues import BATCH, Queue

#: Seconds that a delete waits for company. Far below the visibility timeout, which is
#: all that a delete has to beat.
LINGER = 0.3
#: Tries of one batch, and seconds between them: a message that cannot be deleted in this
#: time comes back, finds its result stored, and is deleted then.
TRIES = 4
PAUSE = 0.5

_log = log.get("broker")

_DELETE = -1


class Settler:
    """Settles deliveries: `delete` them or `release` them. Neither waits nor raises."""

    def __init__(self) -> None:
        self._pending: dict[Queue, list[tuple[str, int]]] = defaultdict(list)
        self._changed = threading.Condition()
        self._before: Callable[[], object] | None = None
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="broker-settler", daemon=True)
        self._thread.start()

    def precede(self, before: Callable[[], object] | None) -> None:
        """Call ``before`` ahead of each batch of deletes.

        For what must have happened when a message is gone, gathered as deletes are. It must
        come back in a few seconds, whatever the cloud does.
        """
        self._before = before

    def delete(self, queue: Queue, receipt: str) -> None:
        """The message is done with."""
        self._add(queue, receipt, _DELETE)

    def release(self, queue: Queue, receipt: str, seconds: int) -> None:
        """The message becomes visible again in ``seconds``."""
        self._add(queue, receipt, max(0, seconds))

    def flush(self, timeout: float) -> bool:
        """Wait until everything is settled; False when ``timeout`` seconds were not enough."""
        deadline = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._pending and not self._busy, max(0.0, deadline - time.monotonic()))

    def close(self, timeout: float) -> None:
        """Flush, then end the thread."""
        self.flush(timeout)
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _add(self, queue: Queue, receipt: str, seconds: int) -> None:
        with self._changed:
            self._pending[queue].append((receipt, seconds))
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    return
                if not self._closing and not any(len(v) >= BATCH for v in self._pending.values()):
                    self._changed.wait(LINGER)
                work, self._pending = self._pending, defaultdict(list)
                self._busy = True
            self._precede()
            for queue, entries in work.items():
                self._settle(queue, entries)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _precede(self) -> None:
        if self._before is None:
            return
        try:
            self._before()
        except Exception:
            # A defect there must not end the thread that settles everything.
            _log.exception("broker.precede_error")

    def _settle(self, queue: Queue, entries: Sequence[tuple[str, int]]) -> None:
        deletes = [receipt for receipt, seconds in entries if seconds == _DELETE]
        releases = [(receipt, seconds) for receipt, seconds in entries if seconds != _DELETE]
        for start in range(0, len(deletes), BATCH):
            self._try(queue.delete_batch, deletes[start:start + BATCH], queue, "delete")
        for start in range(0, len(releases), BATCH):
            self._try(queue.set_visibility_batch, releases[start:start + BATCH], queue, "release")

    def _try(self, call: Callable[[Sequence], Sequence[errors.CloudError | None]],
             items: Sequence, queue: Queue, what: str) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                outcomes = call(items)
            except errors.CloudError as exc:
                outcomes = [exc] * len(items)
            except Exception as exc:
                # A defect here must not end the thread that settles everything else.
                _log.exception("broker.settle_error", queue=queue.name, what=what)
                outcomes = [errors.Permanent(repr(exc))] * len(items)
            failed = [(item, exc) for item, exc in zip(items, outcomes, strict=True) if exc]
            items = [item for item, exc in failed if isinstance(exc, errors.Retryable)]
            for _, exc in failed:
                if not isinstance(exc, errors.Retryable):
                    # An expired receipt: the message is visible again or gone already.
                    _log.info("broker.settle_refused", queue=queue.name, what=what, why=str(exc))
            if not items:
                return
            if attempt < TRIES:
                time.sleep(PAUSE * attempt)
        _log.warning("broker.settle_gave_up", queue=queue.name, what=what, count=len(items),
                     why=str(failed[0][1]))
