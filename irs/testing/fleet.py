"""EC2 in memory: it boots slowly, runs out of capacity, and describes late."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from irs import errors
from irs.aws.fleet import Instance
from irs.testing.clock import FakeClock, SystemClock


@dataclass(kw_only=True, slots=True)
class _Machine:
    id: str
    name: str
    user_data: str
    launched_at: datetime
    type: str
    subnet: str
    version: str
    #: (from when, state), in order of time; the future included
    history: list[tuple[datetime, str]] = field(default_factory=list)

    def state(self, moment: datetime) -> str | None:
        """The state at ``moment``; None before the launch."""
        past = [state for since, state in self.history if since <= moment]
        return past[-1] if past else None

    def become(self, now: datetime, first: str, then: str, after: float) -> None:
        """``first`` now and ``then`` after some seconds; what was planned is dropped."""
        self.history = [step for step in self.history if step[0] <= now]
        self.history += [(now, first), (now + timedelta(seconds=after), then)]


class MemoryFleet:
    """The methods of `irs.aws.fleet.Fleet`.

    ``boot`` and ``shutdown`` are in seconds. ``capacity`` is how many instances EC2 has
    (None: enough), ``capacities`` the same for a type, a subnet or a (type, subnet);
    ``lag`` is how many seconds `describe` looks back; ``blind`` counts the coming describes
    that answer with nothing. The last four may be changed at any time.
    """

    def __init__(self, *, clock: FakeClock | SystemClock | None = None, type: str = "c7i.large",
                 boot: float = 0, shutdown: float = 0, capacity: int | None = None,
                 lag: float = 0) -> None:
        self.capacity = capacity
        self.capacities: dict[str | tuple[str, str], int] = {}
        self.lag = lag
        self.blind = 0
        #: launch calls that started an instance, by name, in order
        self.launched: list[str] = []
        self._clock = clock or SystemClock()
        self._type = type
        self._boot = boot
        self._shutdown = shutdown
        self._machines: dict[str, _Machine] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def describe(self) -> list[Instance]:
        """The instances that were not terminated ``lag`` seconds ago."""
        with self._lock:
            if self.blind > 0:
                self.blind -= 1
                return []
            moment = self._clock.now() - timedelta(seconds=self.lag)
            views = [self._view(m, moment) for m in self._machines.values()]
        found = [v for v in views if v is not None and v.state != "terminated"]
        return sorted(found, key=lambda i: (i.launched_at, i.id))

    def ended(self, ids: Collection[str]) -> frozenset[str]:
        """Those of ``ids`` that were ending or terminated ``lag`` seconds ago."""
        moment = self._clock.now() - timedelta(seconds=self.lag)
        with self._lock:
            return frozenset(m.id for m in self._machines.values() if m.id in ids
                             and m.state(moment) in ("shutting-down", "terminated"))

    def actual(self) -> list[Instance]:
        """The instances that work or boot at this moment, whatever `describe` says."""
        now = self._clock.now()
        with self._lock:
            views = [self._view(m, now) for m in self._machines.values()]
        return [v for v in views if v is not None and v.active]

    def launch(self, name: str, *, token: str, user_data: str, type: str | None = None,
               subnet: str | None = None, spot: bool = False, version: str = "") -> Instance:
        """One instance; a repeated token returns the first.

        Raises `errors.NoCapacity`, and `errors.AlreadyExists` for a token whose other
        parameters have changed.
        """
        now = self._clock.now()
        pool = (type or self._type, subnet or "")
        with self._lock:
            if known := self._tokens.get(token):
                machine = self._machines[known]
                if (machine.name, machine.user_data, machine.type, machine.subnet) != (
                        name, user_data, *pool):
                    raise errors.AlreadyExists("EC2 RunInstances: token used with other parameters",
                                           code="IdempotentParameterMismatch")
                view = self._view(machine, now)
                assert view is not None
                return view
            busy = [(m.type, m.subnet) for m in self._machines.values()
                    if m.state(now) in ("pending", "running")]
            full = self.capacity is not None and len(busy) >= self.capacity
            for place, most in self.capacities.items():
                if place == pool or place in pool:
                    full = full or sum(1 for b in busy if place == b or place in b) >= most
            if full:
                raise errors.NoCapacity(f"EC2 RunInstances: no {pool[0]} left in {pool[1] or 'any'}",
                                        code="InsufficientInstanceCapacity")
            machine = _Machine(id=f"i-{len(self._machines) + 1:017x}", name=name,
                               user_data=user_data, launched_at=now, type=pool[0], subnet=pool[1],
                               version=version)
            machine.become(now, "pending", "running", self._boot)
            self._machines[machine.id] = machine
            self._tokens[token] = machine.id
            self.launched.append(name)
            return Instance(id=machine.id, state="pending", name=name, type=machine.type,
                            launched_at=now, version=version)

    def terminate(self, ids: Sequence[str]) -> None:
        """End the instances; raises `errors.NotFound`, and then ends none."""
        self._change(ids, "shutting-down", "terminated", self._shutdown)

    def stop(self, ids: Sequence[str]) -> None:
        """Stop the instances; raises `errors.NotFound`."""
        self._change(ids, "stopping", "stopped", self._shutdown)

    def start(self, ids: Sequence[str]) -> None:
        """Start stopped instances, which EC2 then counts as launched now; raises `errors.NotFound`."""
        self._change(ids, "pending", "running", self._boot)
        with self._lock:
            for instance_id in ids:
                if self._machines[instance_id].state(self._clock.now()) in ("pending", "running"):
                    self._machines[instance_id].launched_at = self._clock.now()

    def user_data(self, instance_id: str) -> str:
        """The text given at launch."""
        return self._machine(instance_id).user_data

    def shutdown_behavior(self, instance_id: str) -> str:
        """What an OS shutdown does to the instance: always ``terminate``, as we launch it."""
        self._machine(instance_id)
        return "terminate"

    def _change(self, ids: Sequence[str], first: str, then: str, after: float) -> None:
        now = self._clock.now()
        machines = [self._machine(i) for i in ids]
        with self._lock:
            for machine in machines:
                if machine.state(now) not in ("shutting-down", "terminated"):
                    machine.become(now, first, then, after)

    def _machine(self, instance_id: str) -> _Machine:
        with self._lock:
            if instance_id not in self._machines:
                raise errors.NotFound(f"EC2: no instance {instance_id}", code="InvalidInstanceID.NotFound")
            return self._machines[instance_id]

    def _view(self, machine: _Machine, moment: datetime) -> Instance | None:
        state = machine.state(moment)
        if state is None:
            return None
        return Instance(id=machine.id, state=state, name=machine.name, type=machine.type,
                        launched_at=machine.launched_at, version=machine.version)
