"""EC2 Auto Scaling's target tracking on the queue's backlog per instance.

The setup of AWS's guide "Scaling policy based on Amazon SQS"
(docs.aws.amazon.com/autoscaling/ec2/userguide/as-using-sqs-queue.html):

- metric: ApproximateNumberOfMessages (visible ones) / InService instances, once a minute;
- target: acceptable backlog per instance = acceptable latency / mean processing time, here
  the wait target W over the service time;
- alarms as in `irs.simulate.policies.cloudwatch`;
- scale-out is proportional: ceil(capacity × metric / target). Instances that warm up do
  not count as capacity for it, and what is already on its way is not launched again; while
  any warms up nothing is scaled in
  (docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html);
- warm-up: unset, it falls back to the default cooldown, 300 s (API reference,
  PutScalingPolicy, EstimatedInstanceWarmup; AutoScalingGroup, DefaultCooldown);
- scale-in is "more gradual" (same guide) by an amount that AWS does not publish; activity
  histories show one instance at a time, which is emulated: one each minute in which the
  low alarm holds.

The group's minimum is 1: with no instance the metric divides by zero, has no data, and
the policy never scales out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, InstanceView, Observation
from irs.simulate.policies.cloudwatch import Alarms
from irs.simulate.policies.replicas import active, resize, serving


@dataclass(kw_only=True, slots=True)
class TargetTracking:
    """Backlog per instance held at ``target`` messages."""

    cap: int
    target: float
    #: seconds from InService until an instance counts as capacity
    warmup: float = 300.0
    minimum: int = 1
    name: str = "aws-target-tracking"
    _desired: int = field(init=False)
    _alarms: Alarms = field(init=False)

    def __post_init__(self) -> None:
        self._desired = self.minimum
        self._alarms = Alarms(target=self.target)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        now = seen.now.timestamp()
        if self._alarms.minute(now):
            in_service = serving(seen)
            metric = seen.visible / max(1, len(in_service))
            self._alarms.add(metric)
            warm = [view for view in in_service if now - self._in_service_at(view) >= self.warmup]
            if self._alarms.high:
                wanted = math.ceil(max(1, len(warm)) * metric / self.target)
                self._desired = min(self.cap, max(self._desired, wanted))
            elif self._alarms.low and len(warm) == len(active(seen)):
                self._desired = max(self.minimum, self._desired - 1)
        return resize(seen, self._desired, cap=self.cap, reason=f"desired capacity {self._desired}")

    @staticmethod
    def _in_service_at(view: InstanceView) -> float:
        return (view.ready_at or view.launched_at).timestamp()
