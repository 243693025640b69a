"""The idle-timeout rule: launch what waits, let each instance end itself after idling.

As the Elastic CI Stack for AWS does it with buildkite-agent-scaler (README of
github.com/buildkite/buildkite-agent-scaler, and its scaling_calculator.go):

- every 10 s: desired = ceil((waiting + running jobs) / agents per instance);
- scale-in by desired count is disabled, since Auto Scaling groups would interrupt jobs;
  instead an instance ends itself once it has been idle for ``ScaleInIdlePeriod``, 600 s
  by default (template parameter of buildkite/elastic-ci-stack-for-aws).

GitLab Runner's autoscaler has the same two knobs (``IdleCount`` 0, ``IdleTime``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.replicas import Every, active, backlog, resize


@dataclass(kw_only=True, slots=True)
class IdleTimeout:
    """One instance for ``per_instance`` messages; each ends itself after ``idle_shutdown`` s."""

    cap: int
    #: messages for which one instance is launched; an instance of ours works on one at a time
    per_instance: float = 1.0
    #: seconds without work after which an instance ends itself (the engine's, to the second)
    idle_shutdown: float = 600.0
    #: seconds between two looks at the queue
    poll: float = 10.0
    name: str = "idle-timeout"
    _timer: Every = field(init=False)

    def __post_init__(self) -> None:
        self._timer = Every(period=self.poll)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        if not self._timer.due(seen.now.timestamp()):
            return ()
        wanted = min(self.cap, math.ceil(backlog(seen) / self.per_instance))
        if wanted <= len(active(seen)):
            return ()
        return resize(seen, wanted, cap=self.cap, reason=f"{backlog(seen)} jobs")
