"""One simulated instance, and how a controller sees it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from irs.domain.scaling import InstanceView
from irs.simulate.run import EPOCH


def moment(at: float) -> datetime:
    """Second ``at`` of a run as a time."""
    return EPOCH + timedelta(seconds=at)


class Instance:
    """One machine; ``free`` is when it can take the next message."""

    __slots__ = ("billed_from", "boot", "crash", "draining", "end", "free", "id", "launched", "message",
                 "ready", "served", "shown", "view")

    def __init__(self, number: int, at: float, boot: float, billed: float, crash: float) -> None:
        self.id = f"i-{number:06d}"
        self.launched = at
        self.boot = boot
        self.ready = self.free = at + boot
        self.billed_from = at + boot - billed
        self.crash = crash
        self.end = math.inf
        self.served = 0
        #: index of the message it has or had last
        self.message = -1
        self.draining = False
        self.shown: tuple[object, ...] = ()
        self.view: InstanceView | None = None

    def seen(self, at: float, *, busy_known: bool, ready_known: bool) -> InstanceView:
        """The view at second ``at``; the same object while nothing has changed."""
        state = "pending" if at < self.billed_from else "running"
        if self.draining:
            state = "shutting-down"
        ready = self.ready if self.ready <= at else None
        busy = (ready is not None and self.free > at) if busy_known else None
        shown = (state, ready, busy)
        if self.view is None or shown != self.shown:
            self.shown = shown
            self.view = InstanceView(
                id=self.id, state=state, launched_at=moment(self.launched), name=self.id,
                busy=busy, draining=self.draining,
                ready_at=moment(ready) if ready is not None and ready_known else None)
        return self.view
