"""Deletes and visibility changes, gathered into batch calls by one thread.

The worker's main loop must not wait for SQS at each acknowledgement, and ten deletes cost
what one does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from irs import errors, log
from irs.aws.queues import BATCH, Queue

#: Seconds that a delete waits for company. Far below the visibility timeout, which is
#: all that a delete has to beat.
LINGER = 0.5
#: Tries of one batch, and seconds between them: a message that cannot be deleted in this
#: time comes back, finds its result stored, and is deleted then.
TRIES = 4
PAUSE = 0.5

_log = log.get("broker")

@dataclass(frozen=True, slots=True)
class _Entry:
    receipt: str
    #: until it is visible again; None: delete it
    seconds: int | None
    task: str
    #: `time.monotonic`
    since: float


class Settler:
    """Settles deliveries: `delete` them or `release` them. Neither waits nor raises."""

    def __init__(self) -> None:
        self._pending: dict[Queue, list[_Entry]] = {}
        self._changed = threading.Condition()
        self._before: Callable[[Collection[str]], object] | None = None
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="broker-settler", daemon=True)
        self._thread.start()

    def precede(self, before: Callable[[Collection[str]], object] | None) -> None:
        """Call ``before`` with the ids of the tasks ahead of each batch of deletes.

        For what must have happened when a message is gone, gathered as deletes are. It must
        come back in a few seconds, whatever the cloud does.
        """
        self._before = before

    def delete(self, queue: Queue, receipt: str, task: str = "") -> None:
        """The message, which held this task, is done with."""
        self._add(queue, _Entry(receipt, None, task, time.monotonic()))

    def release(self, queue: Queue, receipt: str, seconds: int) -> None:
        """The message becomes visible again in ``seconds``."""
        self._add(queue, _Entry(receipt, max(0, seconds), "", time.monotonic()))

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

    def _add(self, queue: Queue, entry: _Entry) -> None:
        with self._changed:
            pending = self._pending.setdefault(queue, [])
            pending.append(entry)
            # Not for those in between: the thread would look, and wait again.
            if len(pending) == 1 or len(pending) >= BATCH:
                self._changed.notify_all()

    def _run(self) -> None:
        while work := self._take():
            for queue, entries in work:
                self._precede(entries)
                self._settle(queue, entries)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _take(self) -> list[tuple[Queue, list[_Entry]]]:
        """What is due, once something is; nothing when it is time to end."""
        with self._changed:
            while not (due := {queue: count for queue in self._pending if (count := self._due(queue))}):
                if self._closing and not self._pending:
                    return []
                oldest = min((entries[0].since for entries in self._pending.values()), default=None)
                self._changed.wait(None if oldest is None
                                   else max(0.0, oldest + LINGER - time.monotonic()))
            work = [(queue, self._pending[queue][:count]) for queue, count in due.items()]
            for queue, count in due.items():
                self._pending[queue] = self._pending[queue][count:]
                if not self._pending[queue]:
                    del self._pending[queue]
            self._busy = True
            return work

    def _due(self, queue: Queue) -> int:
        """Entries to settle now: full calls at once, the rest after a while."""
        entries = self._pending[queue]
        if self._closing or time.monotonic() >= entries[0].since + LINGER:
            return len(entries)
        return len(entries) // BATCH * BATCH

    def _precede(self, entries: Sequence[_Entry]) -> None:
        if self._before is None:
            return
        try:
            self._before({entry.task for entry in entries if entry.seconds is None})
        except Exception:
            # A defect there must not end the thread that settles everything.
            _log.exception("broker.precede_error")

    def _settle(self, queue: Queue, entries: Sequence[_Entry]) -> None:
        deletes = [entry.receipt for entry in entries if entry.seconds is None]
        releases = [(entry.receipt, entry.seconds) for entry in entries if entry.seconds is not None]
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
