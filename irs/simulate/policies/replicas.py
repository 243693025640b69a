"""What every emulated autoscaler does alike: count replicas, remember, and set a number of them.

An orchestrator keeps a *desired* number: what crashes is replaced, what is missing is
launched, what is too many is drained. `resize` is that step. None of the emulations ever
ends an instance in the middle of an image: SIGTERM and a grace period are what Kubernetes,
Ray and a lifecycle hook of EC2 Auto Scaling all give, and an image takes a second.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from irs.domain.scaling import Action, InstanceView, Launch, Observation, Terminate


def active(seen: Observation) -> list[InstanceView]:
    """Instances that work, or boot, and are not on their way out."""
    return [view for view in seen.fleet if view.active and not view.draining]


def serving(seen: Observation) -> list[InstanceView]:
    """Instances that can take a message: InService, Ready, RUNNING in the originals' words."""
    return [view for view in active(seen) if view.ready_at is not None]


def backlog(seen: Observation) -> int:
    """Messages sent and not yet deleted, waiting or at work."""
    return seen.visible + seen.in_flight


def resize(seen: Observation, desired: int, *, cap: int, reason: str) -> tuple[Action, ...]:
    """What brings the fleet to ``desired``: at most one action.

    Never more than ``cap`` at once, those that drain included. Who goes first: what still
    boots, then what has no work, then the youngest (ReplicaSet's order: pending before
    ready, then the newer ones).
    """
    have = active(seen)
    if desired > len(have):
        draining = sum(view.active and view.draining for view in seen.fleet)
        count = min(desired - len(have), cap - len(have) - draining)
        return (Launch(count=count, reason=reason),) if count > 0 else ()
    if desired < len(have):
        order = sorted(have, key=lambda v: (v.ready_at is None, v.busy is False, v.launched_at, v.id),
                       reverse=True)
        return (Terminate(ids=tuple(v.id for v in order[: len(have) - desired]), reason=reason),)
    return ()


@dataclass(kw_only=True, slots=True)
class Every:
    """True once in each ``period`` seconds of the clock, as a control loop's timer is."""

    period: float
    _last: int | None = None

    def due(self, now: float) -> bool:
        """``now`` in seconds; call it once a tick."""
        beat = int(now // self.period)
        fresh = beat != self._last
        self._last = beat
        return fresh


@dataclass(kw_only=True, slots=True)
class Window:
    """Values of the last ``period`` seconds, the one just added always among them."""

    period: float
    _values: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now: float, value: float) -> None:
        """Times never go back."""
        self._values.append((now, value))
        while self._values[0][0] < now - self.period:
            self._values.popleft()

    def mean(self) -> float:
        return sum(value for _, value in self._values) / len(self._values)

    def max(self) -> float:
        return max(value for _, value in self._values)

    def min(self) -> float:
        return min(value for _, value in self._values)
