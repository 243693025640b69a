"""An SQS queue in memory, with the clockwork that the service leans on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from irs import errors
from irs.aws.queues import BATCH, MAX_BYTES, Depth, Message
from irs.testing.clock import FakeClock, SystemClock


@dataclass(kw_only=True, slots=True)
class _Entry:
    id: str
    body: str
    sent: datetime
    #: receivable from this moment on
    visible_at: datetime
    receives: int = 0
    #: the newest delivery's; older ones no longer name the message
    receipt: str = ""


class MemoryQueue:
    """The methods of `irs.aws.queues.Queue`: visibility, receive counts, redrive.

    On a `FakeClock` a receive never waits: what is not visible now will not become so
    while the test stands inside the call. On the system clock it is a true long poll.
    """

    def __init__(self, name: str = "memory", *, clock: FakeClock | SystemClock | None = None,
                 visibility_timeout: int = 60, poll_wait: int = 20,
                 dead: MemoryQueue | None = None, max_receive_count: int = 5) -> None:
        self.name = name
        self.url = f"memory://{name}"
        self._clock = clock or SystemClock()
        self._visibility = visibility_timeout
        self.poll_wait = poll_wait
        self._dead = dead
        self._max_receives = max_receive_count
        self._entries: list[_Entry] = []
        self._changed = threading.Condition()

    # -- sending -------------------------------------------------------------------------
    def send(self, body: str, *, delay: int = 0) -> None:
        """One message."""
        (outcome,) = self.send_batch([(body, delay)])
        if outcome is not None:
            raise outcome

    def send_batch(self, entries: Sequence[tuple[str, int]]) -> list[errors.CloudError | None]:
        """Up to 10 (body, delay in seconds), 1 MiB together; one outcome an entry."""
        self._check_batch(len(entries), "send to")
        if sum(len(body.encode()) for body, _ in entries) > MAX_BYTES:
            raise errors.Permanent(f"SQS send to {self.name}: batch too long", code="BatchRequestTooLong")
        now = self._clock.now()
        with self._changed:
            for body, delay in entries:
                self._entries.append(_Entry(id=str(uuid.uuid4()), body=body, sent=now,
                                            visible_at=now + timedelta(seconds=delay)))
            self._changed.notify_all()
        return [None] * len(entries)

    # -- receiving -----------------------------------------------------------------------
    def receive(self, count: int = BATCH, *, wait: int | None = None,
                visibility: int | None = None) -> list[Message]:
        """Up to ``count`` (at most 10) messages, after at most ``wait`` seconds."""
        hidden = self._visibility if visibility is None else visibility
        seconds = self.poll_wait if wait is None else min(wait, self.poll_wait)
        deadline = self._clock.now() + timedelta(seconds=seconds)
        with self._changed:
            while True:
                found = self._take(min(count, BATCH), hidden)
                left = (deadline - self._clock.now()).total_seconds()
                if found or left <= 0 or isinstance(self._clock, FakeClock):
                    return found
                soonest = min((e.visible_at for e in self._entries), default=deadline)
                self._changed.wait(min(left, max((soonest - self._clock.now()).total_seconds(), 0.001)))

    def delete_batch(self, receipts: Sequence[str]) -> list[errors.CloudError | None]:
        """Delete up to 10 deliveries; one outcome a receipt.

        As on SQS, the receipt of an earlier delivery deletes nothing and is no error.
        """
        self._check_batch(len(receipts), "delete from")
        with self._changed:
            outcomes = [self._known(r, "delete from") for r in receipts]
            self._entries = [e for e in self._entries if not e.receipt or e.receipt not in receipts]
        return outcomes

    def set_visibility_batch(
            self, entries: Sequence[tuple[str, int]]) -> list[errors.CloudError | None]:
        """Set the invisibility, in seconds from now, of up to 10 deliveries."""
        self._check_batch(len(entries), "visibility in")
        now = self._clock.now()
        outcomes: list[errors.CloudError | None] = []
        with self._changed:
            for receipt, seconds in entries:
                held = next((e for e in self._entries
                             if e.receipt == receipt and e.visible_at > now), None)
                if held is None:
                    outcomes.append(errors.BadReceipt(
                        f"SQS visibility in {self.name}: not in flight", code="MessageNotInflight"))
                    continue
                held.visible_at = now + timedelta(seconds=seconds)
                outcomes.append(None)
            self._changed.notify_all()
        return outcomes

    # -- looking -------------------------------------------------------------------------
    def depth(self) -> Depth:
        """How many messages are visible, in flight and delayed; here exact."""
        now = self._clock.now()
        with self._changed:
            hidden = [e for e in self._entries if e.visible_at > now]
            in_flight = sum(1 for e in hidden if e.receives)
            return Depth(visible=len(self._entries) - len(hidden), in_flight=in_flight,
                         delayed=len(hidden) - in_flight)

    def bodies(self) -> list[str]:
        """Every message's body, oldest first, received or not: for a test to look at."""
        with self._changed:
            return [e.body for e in self._entries]

    def purge(self) -> int:
        """Delete every message; returns how many were visible."""
        count = self.depth().visible
        with self._changed:
            self._entries.clear()
        return count

    def _take(self, count: int, hidden: int) -> list[Message]:
        now = self._clock.now()
        found: list[Message] = []
        for entry in [e for e in self._entries if e.visible_at <= now]:
            if self._dead is not None and entry.receives >= self._max_receives:
                self._entries.remove(entry)
                self._dead.send(entry.body)
                continue
            if len(found) == count:
                break
            entry.receives += 1
            entry.receipt = f"{self.name}/{uuid.uuid4()}"
            entry.visible_at = now + timedelta(seconds=hidden)
            found.append(Message(id=entry.id, body=entry.body, receipt=entry.receipt,
                                 receives=entry.receives,
                                 sent_ms=int(entry.sent.timestamp() * 1000)))
        return found

    def _known(self, receipt: str, what: str) -> errors.CloudError | None:
        if receipt.startswith(f"{self.name}/"):
            return None
        return errors.BadReceipt(f"SQS {what} {self.name}: not a receipt handle",
                                 code="ReceiptHandleIsInvalid")

    def _check_batch(self, size: int, what: str) -> None:
        if not size:
            raise errors.Permanent(f"SQS {what} {self.name}: no entries", code="EmptyBatchRequest")
        if size > BATCH:
            raise errors.Permanent(f"SQS {what} {self.name}: {size} entries, 10 at most",
                                   code="TooManyEntriesInBatchRequest")
