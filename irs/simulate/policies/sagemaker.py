"""SageMaker asynchronous inference, through Application Auto Scaling.

The policies of docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html, with
that page's figures:

- target tracking on ApproximateBacklogSizePerInstance (items queued or at work, over
  instances), target 5, scale-out cooldown 300 s, scale-in cooldown 600 s, minimum 0;
- from zero: a step policy of +1, cooldown 300 s, on an alarm of HasBacklogWithoutCapacity
  (2 of 2 one-minute points at 1 or more). Without instances the first policy wakes only
  once the whole backlog exceeds the target.

Cooldowns as in the Application Auto Scaling API (TargetTrackingScalingPolicyConfiguration):
during the scale-out cooldown, what was just added counts as part of the next scale-out's
result, so only a larger one acts; during the scale-in cooldown no scale-in acts, and a
scale-out ends it. Scale-in goes one instance at a time: see `irs.simulate.policies.aws`.

SageMaker takes minutes to bring up an endpoint's instance; here it gets this world's boot
time, in its favour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.cloudwatch import Alarms
from irs.simulate.policies.replicas import backlog, resize, serving

#: Points at 1 or more that wake an endpoint without instances.
WAKE_POINTS = 2


@dataclass(kw_only=True, slots=True)
class SageMaker:
    """Backlog per instance held at ``target``, with a way up from zero."""

    cap: int
    target: float = 5.0
    out_cooldown: float = 300.0
    in_cooldown: float = 600.0
    minimum: int = 0
    name: str = "sagemaker-async"
    _desired: int = field(init=False)
    _alarms: Alarms = field(init=False)
    #: minutes in a row with a backlog and no instance
    _waking: int = 0
    #: when the last scale-out began, and the capacity it began from
    _out_at: float = -math.inf
    _out_from: int = 0
    _in_at: float = -math.inf

    def __post_init__(self) -> None:
        self._desired = self.minimum
        self._alarms = Alarms(target=self.target)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        now = seen.now.timestamp()
        if self._alarms.minute(now):
            instances = len(serving(seen))
            metric = backlog(seen) / max(1, instances)
            self._alarms.add(metric)
            self._waking = self._waking + 1 if backlog(seen) and not instances else 0
            self._decide(now, metric)
        return resize(seen, self._desired, cap=self.cap, reason=f"desired capacity {self._desired}")

    def _decide(self, now: float, metric: float) -> None:
        cooling = now - self._out_at < self.out_cooldown
        base = self._out_from if cooling else self._desired
        wanted = self._desired
        if self._alarms.high:
            wanted = math.ceil(max(1, base) * metric / self.target)
        if self._waking >= WAKE_POINTS:
            wanted = max(wanted, base + 1)
        wanted = min(self.cap, wanted)
        if wanted > self._desired:
            self._out_at, self._out_from, self._in_at = now, base, -math.inf
            self._desired = wanted
        elif (self._alarms.low and self._desired > self.minimum and not cooling
                and now - self._in_at >= self.in_cooldown):
            self._in_at = now
            self._desired -= 1
