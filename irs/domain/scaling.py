"""How many app instances there should be: one pure function of observation and state.

The policy here is the service's original rule: while more messages are visible than
instances work or boot, and fewer than the maximum do, launch one more each tick. It does
not scale in: an instance without work ends itself (`IRS_IDLE_SHUTDOWN`), and only a fleet
above its maximum is cut. No clock, no AWS, no sleep in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: EC2's names for an instance that works, or will without another call.
ACTIVE = frozenset({"pending", "running"})


def _aware(moment: datetime) -> None:
    if moment.tzinfo is None:
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

    def __post_init__(self) -> None:
        _aware(self.launched_at)

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

    def __post_init__(self) -> None:
        _aware(self.now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The limits; raises `ValueError` where they contradict each other."""

    #: instances kept even when nothing waits
    min: int = 0
    #: instances that may work or boot at once
    max: int = 19

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max:
            raise ValueError(f"min {self.min} and max {self.max}: want 0 <= min <= max")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What one tick hands to the next."""

    #: ticks decided so far
    tick: int = 0
    #: what the last tick came to: enough, launching 1, …
    verdict: str = ""
    #: the same with the numbers behind it, one line: ``queue 140, have 2 of 19: launching 1``
    reason: str = ""


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


def tick(observation: Observation, state: State, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """One decision: the next state (with its reason) and the actions, usually none.

    Launches what the minimum lacks at once, and otherwise at most one instance. Never
    asks for more than ``policy.max`` active instances, counting those that boot.
    Terminates only above the maximum, the youngest first: they have the least to lose.
    """
    active = [i for i in observation.fleet if i.active]
    have = len(active)
    surplus, lacking = have - policy.max, policy.min - have
    action: Action | None = None
    seen = f"queue {observation.visible}, have {have} of {policy.max}"
    if surplus > 0:
        verdict = f"above the maximum, terminating {surplus}"
        # A booting instance holds no message yet; then the one that has run the shortest.
        order = sorted(active, key=lambda i: (i.state == "pending", i.launched_at, i.id), reverse=True)
        action = Terminate(ids=tuple(i.id for i in order[:surplus]), reason=f"{seen}: {verdict}")
    elif lacking > 0:
        verdict = f"below the minimum of {policy.min}, launching {lacking}"
        action = Launch(count=lacking, reason=f"{seen}: {verdict}")
    elif observation.visible > have and have < policy.max:
        verdict = "launching 1"
        action = Launch(count=1, reason=f"{seen}: {verdict}")
    else:
        verdict = "at the maximum" if observation.visible > have else "enough"
    after = State(tick=state.tick + 1, verdict=verdict, reason=f"{seen}: {verdict}")
    return after, () if action is None else (action,)
