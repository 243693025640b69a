"""KEDA's aws-sqs-queue scaler and the HorizontalPodAutoscaler that it drives.

Each pod is an instance here (one pod a node), and a node boots as fast as an instance: in
Kubernetes' favour, whose cluster autoscaler adds its own delay.

KEDA (keda.sh/docs/latest/reference/scaledobject-spec, …/scalers/aws-sqs):

- every ``pollingInterval`` 30 s: from 0 to 1 as soon as there is a message
  (activationQueueLength 0); from any number to 0 once there has been none for
  ``cooldownPeriod`` 300 s;
- messages are visible + in flight (``scaleOnInFlight`` true); ``queueLength`` 5 a pod.

HPA (kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/):

- every 15 s while there is a pod: desired = ceil(messages / queueLength), unless messages /
  (queueLength × pods) is within the tolerance 0.1 of 1; at least 1;
- up: no stabilization, at most double or 4 more in 15 s; down: the highest recommendation
  of the last 300 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.replicas import Every, Window, backlog, resize

#: Seconds between two decisions of the HPA: the controller manager's default.
SYNC = 15.0
#: By how much the ratio may be off 1 without a change: the same.
TOLERANCE = 0.1
#: Pods that may be added in 15 s: this many, or as many again as there are.
BURST = 4


@dataclass(kw_only=True, slots=True)
class Keda:
    """A ScaledObject on the queue, its HPA at work between 1 and ``cap``."""

    cap: int
    queue_length: float = 5.0
    polling: float = 30.0
    cooldown: float = 300.0
    #: HPA's stabilizationWindowSeconds for scaling down
    stabilization: float = 300.0
    name: str = "keda"
    _replicas: int = 0
    _active_at: float = -math.inf
    _poll: Every = field(init=False)
    _sync: Every = field(default_factory=lambda: Every(period=SYNC))
    _recommended: Window = field(init=False)

    def __post_init__(self) -> None:
        self._poll = Every(period=self.polling)
        self._recommended = Window(period=self.stabilization)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        now, messages = seen.now.timestamp(), backlog(seen)
        if self._poll.due(now):
            if messages:
                self._active_at = now
                self._replicas = max(1, self._replicas)
            elif now - self._active_at >= self.cooldown:
                self._replicas = 0
        if self._sync.due(now) and self._replicas:
            self._replicas = self._hpa(now, messages)
        return resize(seen, self._replicas, cap=self.cap, reason=f"{self._replicas} pods")

    def _hpa(self, now: float, messages: int) -> int:
        have = self._replicas
        wanted = have
        if abs(messages / (self.queue_length * have) - 1) > TOLERANCE:
            wanted = math.ceil(messages / self.queue_length)
        wanted = min(self.cap, max(1, wanted))
        self._recommended.add(now, wanted)
        if wanted < have:
            return min(have, int(self._recommended.max()))
        return min(wanted, max(2 * have, have + BURST))
