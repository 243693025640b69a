"""What a scaling rule sees, keeps and asks for. Frozen; no clock, no AWS."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from irs.domain.policies.memory import Memory

#: EC2's names for an instance that works, or will without another call.
ACTIVE = frozenset({"pending", "running"})
#: The rules that there are.
NAMES = ("predictive", "seed", "target")


def _aware(moment: datetime | None) -> None:
    if moment is not None and moment.tzinfo is None:
        raise ValueError("naive datetime: give it a time zone")


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceView:
    """One app instance as the policy sees it."""

    id: str
    #: EC2's state name: pending, running, shutting-down, stopping, stopped, terminated
    state: str
    launched_at: datetime
    #: the Name tag
    name: str = ""
    #: whether it holds a message; None where nobody knows
    busy: bool | None = None
    #: when it was first seen to take work; None while it boots, or where nobody knows
    ready_at: datetime | None = None
    #: it was told to end and finishes what it has: it takes no new message
    draining: bool = False

    def __post_init__(self) -> None:
        _aware(self.launched_at)
        _aware(self.ready_at)

    @property
    def active(self) -> bool:
        """It counts against the maximum: it works, or boots."""
        return self.state in ACTIVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What was seen at one moment."""

    #: messages that a worker could receive now; approximate, and late on AWS
    visible: int
    #: messages received and not yet deleted
    in_flight: int
    fleet: tuple[InstanceView, ...]
    now: datetime
    #: when the counts (and ``arrived``, ``finished``) were true; None: now
    counted_at: datetime | None = None
    #: messages that ever came, counted from any fixed moment; None: unknown
    arrived: int | None = None
    #: messages that have left the queue, as a rule finished, counted from the same moment; None: unknown
    finished: int | None = None
    #: seconds one instance needs for one message, a moving estimate; None: not measured yet
    service_seconds: float | None = None
    #: seconds from launch to first work, a moving estimate; None: not measured yet
    boot_seconds: float | None = None
    #: those of them that are billed; None: not measured yet
    billed_boot_seconds: float | None = None

    def __post_init__(self) -> None:
        _aware(self.now)
        _aware(self.counted_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The limits and the rule; raises `ValueError` where they contradict each other."""

    #: instances kept even when nothing waits
    min: int = 0
    #: instances that may work or boot at once
    max: int = 19
    #: which rule decides: one of `NAMES`
    name: str = "predictive"
    #: W: seconds that a message may wait in the queue (IRS_TARGET_WAIT)
    target_wait: float = 30.0
    #: seconds from one tick to the next (IRS_SCALER_INTERVAL)
    interval: float = 3.0
    #: seconds an instance needs for one message while nothing is measured
    service_seconds: float = 1.0
    #: seconds from launch to first work while nothing is measured, and those billed (measured on EC2)
    boot_seconds: float = 50.0
    billed_boot_seconds: float = 38.0
    #: the least that EC2 bills for an instance, seconds
    billing_minimum: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max:
            raise ValueError(f"min {self.min} and max {self.max}: want 0 <= min <= max")
        if self.name not in NAMES:
            raise ValueError(f"policy {self.name!r}: want one of {', '.join(NAMES)}")
        for name in ("target_wait", "interval", "service_seconds", "boot_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: want more than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What one tick hands to the next. A fresh one is always a safe one."""

    #: ticks decided so far
    tick: int = 0
    #: what the last tick came to: enough, launching 1, …
    verdict: str = ""
    #: the same with the numbers behind it, one line: ``queue 140, have 2 of 19: launching 1``
    reason: str = ""
    #: what the predictive rule remembers of the last minutes
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Start this many more instances."""

    count: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminate:
    """End these instances; each drains first."""

    ids: tuple[str, ...]
    reason: str


Action = Launch | Terminate
