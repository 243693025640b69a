"""Receiving: one thread a consumed queue, and one that keeps running deliveries invisible."""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable

from irs import errors, log
from irs.aws.queues import BATCH, STALL, Message, Queue

#: Seconds between tries while SQS cannot be asked: first and most. The mean of the longest
#: pause is well below the 90 s within which consuming must resume after a fault.
BACKOFF = (0.2, 15.0)
#: Seconds after which a full worker looks again by itself; an acknowledgement wakes it sooner.
RECHECK = 1.0
#: Seconds for which one delivery is kept invisible. A task still running then hangs; its
#: message goes to somebody else.
MAX_HOLD = 900.0

_log = log.get("broker")


class Receiver:
    """Long-polls one queue for as long as there is room for more.

    ``room()`` says how many messages may be taken now; ``deliver(messages)`` is called in
    the receiving thread and returns when they count against the room. Every fault is
    retried for ever with a bounded, jittered pause; `last_success` tells how that goes.
    """

    def __init__(self, queue: Queue, *, room: Callable[[], int],
                 deliver: Callable[[list[Message]], None],
                 refuse: Callable[[list[Message]], None], control: bool = False,
                 lost: Callable[[], None] | None = None) -> None:
        """``lost`` is called when the queue is not there any more."""
        self.queue = queue
        #: its messages are commands: one that is swallowed at the end harms nobody
        self.control = control
        #: `time.monotonic` of the last answered receive
        self.last_success = time.monotonic()
        self._room = room
        self._deliver = deliver
        self._refuse = refuse
        self._lost = lost
        self._freed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"receive-{queue.name}", daemon=True)
        _live.add(self)
        self._thread.start()

    def freed(self) -> None:
        """A delivery was settled: there may be room."""
        self._freed.set()

    def stop(self) -> None:
        """Take nothing more. What a poll under way still brings is handed to ``refuse``."""
        self._stopping.set()
        self._freed.set()

    @property
    def stopped(self) -> bool:
        """Whether it takes nothing more."""
        return self._stopping.is_set()

    def join(self, timeout: float) -> bool:
        """Wait for the poll under way; False when it outlasts ``timeout`` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._once()
                failures = 0
            except errors.CloudError as exc:
                if self._stopping.is_set():
                    return
                if isinstance(exc, errors.NotFound):
                    self._look_again()
                failures += 1
                self._pause(failures, exc)
            except Exception as exc:
                # Whatever it is, a worker that stops receiving is worse.
                _log.exception("broker.receive_error", queue=self.queue.name)
                failures += 1
                self._pause(failures, exc)

    def _once(self) -> None:
        self._freed.clear()
        room = self._room()
        if room <= 0:
            self._freed.wait(RECHECK)
            # Waiting for room is not being deaf.
            self.last_success = time.monotonic()
            return
        messages = self.queue.receive(min(room, BATCH))
        self.last_success = time.monotonic()
        if not messages:
            return
        if self._stopping.is_set():
            self._refuse(messages)
        else:
            self._deliver(messages)

    def _look_again(self) -> None:
        """The queue was deleted: have it made anew, if it is ours to make."""
        if self._lost is None:
            return
        try:
            self._lost()
        except Exception as exc:
            # SQS holds a name back for 60 s; the next turn tries again.
            _log.info("broker.not_made_anew", queue=self.queue.name, why=str(exc))

    def _pause(self, failures: int, exc: Exception) -> None:
        first, most = BACKOFF
        seconds = random.uniform(first, max(first, min(most, first * 2**failures)))  # noqa: S311 - jitter
        _log.warning("broker.receive_retry", queue=self.queue.name, failures=failures,
                     seconds=round(seconds, 2), why=str(exc))
        self._stopping.wait(seconds)


_live: weakref.WeakSet[Receiver] = weakref.WeakSet()


def stop_all(grace: float = STALL) -> None:
    """End every poll under way, so that what it brings is handed back and not swallowed.

    Waits for the longest poll and ``grace`` seconds at most; what is taken after that
    becomes visible again when its visibility timeout ends.
    """
    receivers = list(_live)
    for receiver in receivers:
        receiver.stop()
    deadline = time.monotonic() + grace
    for receiver in receivers:
        if not receiver.control:
            receiver.join(max(0.0, deadline + receiver.queue.poll_wait - time.monotonic()))


def polling() -> bool:
    """Whether a poll for tasks is under way in this process."""
    return any(not receiver.join(0) for receiver in list(_live) if not receiver.control)


def last_success() -> float | None:
    """`time.monotonic` of the oldest task receiver's last answered receive; None without one."""
    return min((r.last_success for r in list(_live) if not (r.control or r.stopped)), default=None)


class Heartbeat:
    """Sets the visibility of running deliveries to a fixed window, again and again.

    ``held()`` yields (receipt, monotonic time of its receive). The window is set from now,
    never added to, so a worker that dies gives its messages back one window later.
    """

    def __init__(self, queue: Queue, *, window: int,
                 held: Callable[[], Iterable[tuple[str, float]]]) -> None:
        self._queue = queue
        self._window = window
        self._held = held
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"heartbeat-{queue.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further beat, and wait a moment for one under way.

        It would hide again what its caller is about to hand back.
        """
        self._stopping.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        # Three beats a window: one may be lost and one be late.
        while not self._stopping.wait(self._window / 3):
            try:
                self._beat()
            except errors.CloudError as exc:
                _log.warning("broker.heartbeat_failed", queue=self._queue.name, why=str(exc))
            except Exception:
                _log.exception("broker.heartbeat_error", queue=self._queue.name)

    def _beat(self) -> None:
        now = time.monotonic()
        # Younger deliveries have most of their first window left.
        due = [receipt for receipt, since in self._held()
               if self._window / 3 <= now - since <= MAX_HOLD]
        for start in range(0, len(due), BATCH):
            outcomes = self._queue.set_visibility_batch(
                [(receipt, self._window) for receipt in due[start:start + BATCH]])
            for outcome in outcomes:
                if outcome is not None:
                    _log.info("broker.heartbeat_refused", queue=self._queue.name, why=str(outcome))
