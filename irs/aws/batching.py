"""Several threads' small calls become one batch call."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from irs import errors
from irs.aws import hurry

T = TypeVar("T")


class _Slot(Generic[T]):
    __slots__ = ("began", "done", "error", "item", "leads", "wake", "weight")

    def __init__(self, item: T, weight: int) -> None:
        self.item = item
        self.weight = weight
        self.began = time.monotonic()
        self.wake = threading.Event()
        self.leads = False
        self.done = False
        self.error: BaseException | None = None


class Combiner(Generic[T]):
    """Batches the concurrent callers of `submit` without making a lone one wait.

    The first caller flushes at once; those who come while its call is under way gather,
    and one of them flushes them together. So the batch grows by itself with the load.
    Where the calls are too quick for that, a caller waits up to ``linger`` seconds for its
    batch to fill while ``crowded()`` says that a moment more costs nobody anything, as there
    is a queue to wait in anyway. ``flush`` takes up to ``max_items`` items of
    at most ``max_weight`` together and returns one outcome an item (None, or the error to
    raise); an exception from it goes to every item of the batch.

    An item whose call has not begun after ``patience`` seconds is given up: behind calls that
    stall it would wait for the timeouts of all of them, one after the other. A caller in a
    hurry (`irs.aws.hurry`) leaves at its end, whatever becomes of the call that its item is in;
    one that would have to make it, which takes up to ``longest`` seconds, has it made beside.
    """

    def __init__(self, flush: Callable[[Sequence[T]], Sequence[BaseException | None]], *,
                 max_items: int, max_weight: int, parallel: int = 2, linger: float = 0.0,
                 patience: float = threading.TIMEOUT_MAX, longest: float = 0.0,
                 crowded: Callable[[], bool] = lambda: False) -> None:
        self._flush = flush
        self._max_items = max_items
        self._max_weight = max_weight
        self._linger = linger
        self._patience = patience
        self._longest = longest
        self._crowded = crowded
        self._free = parallel
        self._lock = threading.Condition()
        #: the leader that waits for company
        self._gatherer: _Slot[T] | None = None
        self._pending: deque[_Slot[T]] = deque()

    def submit(self, item: T, weight: int = 1) -> None:
        """Return when ``item``'s batch has been flushed; raise the item's own error.

        Raises `errors.Unreachable` where its turn has not come within ``patience``, and where
        the caller's time is over: the call that it is in may work all the same.
        """
        end = time.monotonic() + hurry.left()
        slot = _Slot(item, weight)
        with self._lock:
            self._pending.append(slot)
            if self._gatherer is not None:
                self._lock.notify_all()
            elif self._free:
                self._appoint(slot)
        patience = self._patience
        try:
            while not slot.done:
                if not slot.leads:
                    # Woken with the outcome, or to take over the lead.
                    if not slot.wake.wait(min(patience, max(0.0, end - time.monotonic()))):
                        self._give_up(slot, end)
                        patience = threading.TIMEOUT_MAX  # it is in a call
                    slot.wake.clear()
                elif batch := self._take(slot):
                    self._make(slot, batch, end)
                else:
                    # Its own item is in another leader's batch.
                    self._pass_lead(slot)
        finally:
            self._leave(slot)
        if slot.error is not None:
            raise slot.error

    def _appoint(self, slot: _Slot[T]) -> None:
        """Give it a free lead; under the lock."""
        self._free -= 1
        slot.leads = True
        if self._crowded():
            self._gatherer = slot

    def _give_up(self, slot: _Slot[T], end: float = threading.TIMEOUT_MAX) -> None:
        """Raise unless its call has begun and there is time, or is its own to begin."""
        with self._lock:
            if slot.leads or slot.done:
                return
            if slot in self._pending:
                self._pending.remove(slot)
                waited = time.monotonic() - slot.began
                raise errors.Unreachable(f"waited {waited:.0f} s behind calls that do not end")
        if time.monotonic() >= end:
            raise errors.Unreachable("the call has not ended in the time that there was for it")

    def _leave(self, slot: _Slot[T]) -> None:
        with self._lock:
            if self._gatherer is slot:
                self._gatherer = None
            if not slot.done and slot in self._pending:
                # Its thread was interrupted while it waited: nobody would take over a lead
                # passed to it, and nobody waits for its outcome.
                self._pending.remove(slot)
        if slot.leads:
            self._pass_lead(slot)

    def _pass_lead(self, slot: _Slot[T]) -> None:
        with self._lock:
            slot.leads = False
            # Not to one that leads already: two leads in one hand are one lead lost.
            heir = next((s for s in self._pending if not s.leads), None)
            if heir is None:
                self._free += 1
                return
            heir.leads = True
        heir.wake.set()

    def _take(self, leader: _Slot[T]) -> list[_Slot[T]]:
        batch: list[_Slot[T]] = []
        weight = 0
        with self._lock:
            if self._gatherer is leader:
                self._lock.wait_for(lambda: len(self._pending) >= self._max_items, self._linger)
                self._gatherer = None
            while self._pending and len(batch) < self._max_items:
                if batch and weight + self._pending[0].weight > self._max_weight:
                    break
                slot = self._pending.popleft()
                weight += slot.weight
                batch.append(slot)
            # Those who came while it gathered found no lead to take.
            heir = next((s for s in self._pending if not s.leads), None)
            if heir is not None and self._free and self._gatherer is None:
                self._appoint(heir)
                heir.wake.set()
        return batch

    def _make(self, slot: _Slot[T], batch: list[_Slot[T]], end: float) -> None:
        """The call, in this thread where there is time for it to stall."""
        if end - time.monotonic() >= self._longest:
            self._run(batch)
            return
        lead: _Slot[T] = _Slot(slot.item, 0)
        lead.leads = True

        def run() -> None:
            self._run(batch)
            self._pass_lead(lead)

        slot.leads = False  # it is the other thread's
        try:
            threading.Thread(target=run, name="batch", daemon=True).start()
        except RuntimeError:  # no thread to be had
            slot.leads = True
            self._run(batch)

    def _run(self, batch: list[_Slot[T]]) -> None:
        try:
            outcomes = self._flush([slot.item for slot in batch])
            for slot, outcome in zip(batch, outcomes, strict=True):
                slot.error = outcome
        except BaseException as exc:
            for slot in batch:
                slot.error = exc
        for slot in batch:
            slot.done = True
            slot.wake.set()
