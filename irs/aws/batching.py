"""Several threads' small calls become one batch call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Slot(Generic[T]):
    __slots__ = ("done", "error", "item", "leads", "wake", "weight")

    def __init__(self, item: T, weight: int) -> None:
        self.item = item
        self.weight = weight
        self.wake = threading.Event()
        self.leads = False
        self.done = False
        self.error: BaseException | None = None


class Combiner(Generic[T]):
    """Batches the concurrent callers of `submit` without making a lone one wait.

    The first caller flushes at once; those who come while its call is under way gather,
    and one of them flushes them together. So the batch grows by itself with the load and
    there is no timer. ``flush`` takes up to ``max_items`` items of at most ``max_weight``
    together and returns one outcome an item (None, or the error to raise); an exception
    from it goes to every item of the batch.
    """

    def __init__(self, flush: Callable[[Sequence[T]], Sequence[BaseException | None]], *,
                 max_items: int, max_weight: int, parallel: int = 2) -> None:
        self._flush = flush
        self._max_items = max_items
        self._max_weight = max_weight
        self._free = parallel
        self._lock = threading.Lock()
        self._pending: deque[_Slot[T]] = deque()

    def submit(self, item: T, weight: int = 1) -> None:
        """Return when ``item``'s batch has been flushed; raise the item's own error."""
        slot = _Slot(item, weight)
        with self._lock:
            self._pending.append(slot)
            if self._free:
                self._free -= 1
                slot.leads = True
        try:
            while not slot.done:
                if not slot.leads:
                    # Woken with the outcome, or to take over the lead.
                    slot.wake.wait()
                    slot.wake.clear()
                elif batch := self._take():
                    self._run(batch)
                else:
                    # Its own item is in another leader's batch.
                    self._pass_lead(slot)
        finally:
            self._leave(slot)
        if slot.error is not None:
            raise slot.error

    def _leave(self, slot: _Slot[T]) -> None:
        with self._lock:
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

    def _take(self) -> list[_Slot[T]]:
        batch: list[_Slot[T]] = []
        weight = 0
        with self._lock:
            while self._pending and len(batch) < self._max_items:
                if batch and weight + self._pending[0].weight > self._max_weight:
                    break
                slot = self._pending.popleft()
                weight += slot.weight
                batch.append(slot)
        return batch

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
