"""CloudWatch as the AWS autoscalers see a queue: one value a minute, and two alarms.

Target tracking creates both alarms itself and forbids to change them: 3 data points of
3 minutes above the target to scale out, 15 of 15 below it to scale in
(aws/copilot-cli issue 4233, aws-samples/amazon-aurora-labs-for-mysql issue 3; AWS's own
pages show the same in the alarms that a policy creates). The low alarm's threshold is 10 %
below the target: scale-in happens "when the metric is below the target, usually more than
10% lower than the target value" (EC2 Auto Scaling user guide, target tracking). An alarm
that stays in ALARM calls its policy again each minute (CloudWatch user guide, "Using
Amazon CloudWatch alarms": Auto Scaling actions are repeated every minute).

Real data points come up to a minute late; here each is known as soon as its minute ends,
in the AWS autoscalers' favour.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from irs.simulate.policies.replicas import Every

#: Seconds: standard resolution of a metric, and how often an alarm is evaluated.
PERIOD = 60.0
#: Data points in a row above the target, and below it.
HIGH, LOW = 3, 15
#: The low alarm's threshold, as a part of the target.
MARGIN = 0.9


@dataclass(kw_only=True, slots=True)
class Alarms:
    """A metric's data points and the two alarms of a target tracking policy on it."""

    target: float
    high_points: int = HIGH
    low_points: int = LOW
    _points: deque[float] = field(init=False)
    _timer: Every = field(default_factory=lambda: Every(period=PERIOD))

    def __post_init__(self) -> None:
        self._points = deque(maxlen=max(self.high_points, self.low_points))

    def minute(self, now: float) -> bool:
        """Whether a minute has ended since the last call, so that a point is due."""
        return self._timer.due(now)

    def add(self, value: float) -> None:
        self._points.append(value)

    @property
    def high(self) -> bool:
        return self._all(self.high_points, lambda value: value > self.target)

    @property
    def low(self) -> bool:
        return self._all(self.low_points, lambda value: value < MARGIN * self.target)

    def _all(self, count: int, breaches) -> bool:
        points = list(self._points)[-count:]
        return len(points) == count and all(breaches(value) for value in points)
