"""Hearing results: one private reply queue and one consumer thread a web process."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable

from irs import errors, log, tracing
from irs.aws import temporary
from irs.aws.queues import BATCH, Queue
from irs.domain.jobs import Result
from irs.results.announce import reply_prefix
from irs.results.waiters import Waiter, Waiters
from irs.settings import Settings

#: Seconds: an announcement older than this has no reader left.
RETENTION = 300
#: Seconds between tries while SQS cannot be asked: first and most.
BACKOFF = (0.2, 10.0)
#: Seconds of invisibility of an announcement that was received: what a process took and did
#: not live to read is of no use to another.
HIDDEN = 45
#: Seconds after which announcements that were heard are deleted however few they are; a
#: long poll (20 s at most) later they are still hidden.
KEPT = 15.0

_log = log.get("results")


class Listener:
    """Resolves waiters as announcements arrive.

    ``address`` goes into each task's ``reply_to``. `start` raises `errors.CloudError`
    where the queue cannot be made; after it, faults are retried for ever and logged.
    """

    def __init__(self, settings: Settings, *, told: Callable[[Result], None] | None = None) -> None:
        """``told`` is called with every result that is announced here, in the listener's thread."""
        self._settings = settings
        self._told = told
        self.address = f"{reply_prefix(settings)}{uuid.uuid4().hex[:12]}"
        #: `time.monotonic` of the last answered receive; 0 before the first
        self.last_success = 0.0
        #: the same of the last result that was announced
        self.last_result = 0.0
        self._waiters = Waiters()
        self._stopping = threading.Event()
        self._queue: Queue | None = None
        #: receipts of messages that were heard and are not deleted so far
        self._heard: list[str] = []
        self._heard_since = 0.0
        self._thread = threading.Thread(target=self._run, name="results-listener", daemon=True)
        self._touched = 0.0

    def start(self) -> None:
        """Make the queue, drop those of processes that are gone, and begin to listen."""
        self._queue = self._create()
        self._thread.start()

    def close(self) -> None:
        """Drop the queue and stop; a receive under way ends by itself in its thread."""
        self._stopping.set()
        if self._queue is not None:
            try:
                self._queue.drop()
            except errors.CloudError as exc:
                _log.warning("listener.queue_left", queue=self.address, why=str(exc))

    def expect(self, job_id: str) -> Waiter:
        """Register for ``job_id``; do so before its task is sent."""
        return self._waiters.expect(job_id)

    @property
    def waiting(self) -> int:
        """Jobs that somebody waits for."""
        return len(self._waiters)

    def _create(self) -> Queue:
        queue = temporary.create(self._settings, self.address, {
            "MessageRetentionPeriod": str(RETENTION),
            "VisibilityTimeout": str(HIDDEN),
        })
        self._touched = time.monotonic()
        try:
            temporary.sweep(self._settings, reply_prefix(self._settings))
        except errors.CloudError as exc:
            # What others left behind is no reason not to listen.
            _log.info("listener.sweep_failed", why=str(exc))
        return queue

    def _touch(self, queue: Queue) -> None:
        if time.monotonic() - self._touched < temporary.TOUCH_EVERY:
            return
        self._touched = time.monotonic()
        try:
            temporary.touch(self._settings, queue)
        except errors.CloudError as exc:
            # Others take us for gone after several of these; to hear matters more.
            _log.warning("listener.touch_failed", why=str(exc))

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._once()
                failures = 0
            except errors.CloudError as exc:
                if self._stopping.is_set():
                    return
                failures += 1
                first, most = BACKOFF
                pause = random.uniform(0, min(most, first * 2**failures))  # noqa: S311 - jitter
                _log.warning("listener.retry", why=str(exc), seconds=round(pause, 2))
                self._stopping.wait(pause)
            except Exception:
                # Whatever it is, the next announcement must still be heard.
                failures += 1
                _log.exception("listener.error")
                self._stopping.wait(BACKOFF[1])

    def _once(self) -> None:
        if self._queue is None:
            self._queue = self._create()
        self._touch(self._queue)
        try:
            messages = self._queue.receive()
        except errors.NotFound:
            self._queue = None  # deleted under us: made anew at the next turn
            self._heard.clear()
            raise
        self.last_success = time.monotonic()
        for message in messages:
            self._deliver(message.body)
        if not self._heard:
            self._heard_since = self.last_success
        self._heard += [m.receipt for m in messages]
        # Ten at a time, the rest in the next quiet moment, and all before they come again.
        if (len(self._heard) >= BATCH or not messages
                or self.last_success - self._heard_since > KEPT):
            self._forget_heard(self._queue)

    def _forget_heard(self, queue: Queue) -> None:
        while heard := self._heard[:BATCH]:
            queue.delete_batch(heard)
            del self._heard[:BATCH]

    def _deliver(self, body: str) -> None:
        try:
            told = json.loads(body)
            results = [Result.from_dict(item) for item in told]
        except (ValueError, TypeError, RecursionError) as exc:
            _log.warning("listener.garbage", why=str(exc))
            return
        self.last_result = time.monotonic()
        for result, item in zip(results, told, strict=True):
            tracing.hear(result.id, item)
            if self._told is not None:
                self._told(result)
            self._waiters.resolve(result)
