"""Announcing a result: on the named output queue, and to the web process that waits.

The named output queue is public: one message a result, the result's JSON with its first
prediction. A web process is told on a private queue of its own, named in the task's
``reply_to``, because a shared queue has one logical consumer and several web processes
would take each other's announcements. See docs/decisions/0002-announcements.md.
"""

from __future__ import annotations

import atexit
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from typing import TypeGuard

from irs import errors, log, tracing
from irs.aws.queues import BATCH, MAX_BYTES, Queue
from irs.domain.jobs import Result
from irs.results.packs import Item, ascii_json, packs
from irs.settings import Settings

#: Web processes whose queues are remembered; one more costs a GetQueueUrl.
KNOWN = 256
#: Results in one private message, far below its size limit.
PACKED = 64
#: Seconds that a private announcement waits at most for `COMPANY` where it is crowded, and a
#: public one always: a client waits for the first, nobody for the second.
PRIVATE_LINGER, PUBLIC_LINGER = 0.3, 0.5
#: Results in one private message where it is crowded: a slow worker's take as many calls as
#: a fast one's.
COMPANY = 10
#: Announcements that may wait to be sent; the oldest are dropped while SQS is away for long.
MOST = 5_000
#: Seconds for which `Announcer.flush` waits for a send under way. A call that stalls costs
#: its first flush that much, and those that come after it nothing.
PATIENCE = 2.0

#: What may follow the prefix in the name of a reply queue.
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,16}")

_log = log.get("results")


def reply_prefix(settings: Settings) -> str:
    """What the name of every private reply queue of this deployment begins with."""
    return f"{settings.output_queue}-web-"


class Announcer:
    """Gathers announcements and sends them from a thread of its own. Thread-safe.

    A lost announcement costs its reader a look at S3, so a failure is logged and not raised.
    ``crowded()`` says whether there is so much to do that those who wait will not notice a
    moment more.
    """

    def __init__(self, settings: Settings, *, crowded: Callable[[], bool] = lambda: False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._public_queue = Queue(settings, settings.output_queue)
        #: what a reply queue is called where its random part would be one name too many
        self._reply = reply_prefix(settings).removesuffix("-")
        self._reply_queues: OrderedDict[str, Queue] = OrderedDict()
        #: what waits to be sent, by reply queue; None for the public one
        self._pending: dict[str | None, deque[Item]] = {}
        self._crowded = crowded
        self._changed = threading.Condition()
        self._posted = 0
        #: what was taken and is not out, and when the call under way began
        self._sending: list[Item] = []
        self._calling_since = 0.0
        #: all up to this number go out at once
        self._hurry = 0
        self._thread: threading.Thread | None = None
        #: announcements that nobody will hear, so far
        self.lost = 0

    def announce(self, result: Result, reply_to: object) -> None:
        """Tell the waiting web process and everybody, soon; returns at once.

        ``reply_to`` comes from a message: anything but the name of a private reply queue is
        ignored.
        """
        if self._is_ours(reply_to):
            # Whole: it spares the web process a GET for each JSON answer.
            told = result.as_dict()
            span = tracing.span(f"send {self._reply}", "producer", {
                **tracing.messaging("send", self._reply), "irs.job.id": result.id}, inner=True)
            if span.traceparent:
                told[tracing.TRACEPARENT] = span.traceparent
            self._post(result.id, ascii_json(told), reply_to, span)
        self._post(result.id, ascii_json(result.announcement()), None)

    def flush(self, jobs: Collection[str] | None = None, timeout: float = PATIENCE) -> bool:
        """Send what has been announced of these ``jobs`` (ids), or so far where there are none given.

        False where that takes longer than ``timeout`` seconds.
        """
        with self._changed:
            mine = max((item.number for items in (*self._pending.values(), self._sending)
                        for item in items if jobs is None or item.job_id in jobs), default=0)
            if mine == 0:
                return True
            self._hurry = max(self._hurry, mine)
            self._changed.notify_all()
            if self._sending and self._clock() - self._calling_since > timeout:
                return False  # it stalls, and who came before has waited for it
            return self._changed.wait_for(lambda: self._oldest() > mine, timeout)

    def _is_ours(self, reply_to: object) -> TypeGuard[str]:
        prefix = reply_prefix(self._settings)
        return (isinstance(reply_to, str) and reply_to.startswith(prefix)
                and _SUFFIX.fullmatch(reply_to, len(prefix)) is not None)

    def _post(self, job_id: str, body: str, to: str | None, span: tracing.Span = tracing.NOWHERE) -> None:
        with self._changed:
            self._posted += 1
            pending = self._pending.setdefault(to, deque())
            pending.append(Item(self._posted, job_id, body, to, self._clock(), span))
            if len(pending) > MOST:
                self._lost(pending.popleft(), "too many wait for SQS")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
            if self._news(to, len(pending)):
                self._changed.notify_all()

    def _news(self, to: str | None, count: int) -> bool:
        """Whether the thread has to look, now that ``count`` are pending for ``to``.

        What only keeps others company goes with them, and to wake the thread for it costs
        more than it does.
        """
        return (count == 1 or count >= (BATCH if to is None else COMPANY)
                or (to is not None and not self._crowded()))

    def _oldest(self) -> float:
        """Number of the oldest announcement that is not out."""
        first = [pending[0].number for pending in self._pending.values()]
        return min([*first, *(item.number for item in self._sending)], default=float("inf"))

    # -- the thread ------------------------------------------------------------------------
    def _run(self) -> None:
        while True:
            for to, items in self._take().items():
                send, packed = ((self._tell_all, packs(items, BATCH, MAX_BYTES)) if to is None else
                               (self._tell_waiting, packs(items, PACKED, MAX_BYTES // 2)))
                for pack in packed:
                    self._call(send, pack)

    def _call(self, send: Callable[[Sequence[Item]], None], pack: Sequence[Item]) -> None:
        with self._changed:
            self._calling_since = self._clock()
        try:
            send(pack)
        except Exception:
            # A defect must not end the thread that announces everything else.
            _log.exception("announce.error")
        with self._changed:
            out = {item.number for item in pack}
            self._sending = [item for item in self._sending if item.number not in out]
            self._changed.notify_all()

    def _take(self) -> dict[str | None, list[Item]]:
        """What is due, by queue, once something is."""
        with self._changed:
            while True:
                now = self._clock()
                private = PRIVATE_LINGER if self._crowded() else 0.0
                waiting = [(to, pending, *((PUBLIC_LINGER, BATCH) if to is None else (private, COMPANY)))
                           for to, pending in self._pending.items()]
                due = {to: count for to, pending, linger, full in waiting
                       if (count := self._due(pending, linger, full, now))}
                if due:
                    break
                self._changed.wait(min(
                    (pending[0].since + linger - now for _, pending, linger, _ in waiting),
                    default=threading.TIMEOUT_MAX))
            taken = {to: [self._pending[to].popleft() for _ in range(count)] for to, count in due.items()}
            for to in [to for to, pending in self._pending.items() if not pending]:
                del self._pending[to]
            self._sending = [item for items in taken.values() for item in items]
            self._calling_since = now
            return taken

    def _due(self, pending: deque[Item], linger: float, full: int, now: float) -> int:
        """How many of what is pending have to go: those in a hurry, and as fill their calls."""
        if pending[0].since + linger <= now:
            return len(pending)
        hurried = sum(item.number <= self._hurry for item in pending)
        return min(len(pending), max(-(-hurried // full), len(pending) // full) * full)

    def _tell_waiting(self, pack: Sequence[Item]) -> None:
        try:
            self._reply_queue(pack[0].to or "").send(f"[{','.join(item.body for item in pack)}]")
        except errors.CloudError as exc:
            for item in pack:
                self._lost(item, exc)
        else:
            for item in pack:
                item.span.end()

    def _tell_all(self, pack: Sequence[Item]) -> None:
        outcomes: Sequence[Exception | None]
        try:
            outcomes = self._public_queue.send_batch([(item.body, 0) for item in pack])
        except errors.CloudError as exc:
            outcomes = [exc] * len(pack)
        for item, outcome in zip(pack, outcomes, strict=True):
            if outcome is not None:
                self._lost(item, outcome)

    def _lost(self, item: Item, why: object) -> None:
        with self._changed:
            self.lost += 1
        item.span.fail("lost")
        item.span.end()
        queue = item.to or "the output queue"
        _log.warning("announce.lost", id=item.job_id, queue=queue, why=str(why))

    def _reply_queue(self, name: str) -> Queue:
        known = self._reply_queues.pop(name, None) or Queue(self._settings, name)
        self._reply_queues[name] = known
        if len(self._reply_queues) > KNOWN:
            self._reply_queues.popitem(last=False)
        return known
