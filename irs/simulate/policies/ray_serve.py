"""Ray Serve's request-based autoscaler.

docs.ray.io, serve/advanced-guides/advanced-autoscaling, and serve/autoscaling_policy.py of
ray-project/ray; figures are AutoscalingConfig's defaults:

- requests (waiting and ongoing) averaged over ``look_back_period_s`` 30;
- desired = requests / ``target_ongoing_requests`` 2, moved there from the number running
  by ``upscaling_factor`` or ``downscaling_factor`` 1, rounded up;
- acted on once the same direction was wanted for ``upscale_delay_s`` 30 or
  ``downscale_delay_s`` 600 without a break, and to zero only from one;
- with nothing running and a request there: one replica at once.

``min_replicas`` is 1 by default; 0 is allowed and used here. Ray's cluster autoscaler,
which gets the machines, is taken to act at once, in Ray's favour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.replicas import Window, backlog, resize, serving


@dataclass(kw_only=True, slots=True)
class RayServe:
    """Ongoing requests held at ``target`` a replica."""

    cap: int
    target: float = 2.0
    look_back: float = 30.0
    upscale_delay: float = 30.0
    downscale_delay: float = 600.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    minimum: int = 0
    name: str = "ray-serve"
    _replicas: int = field(init=False)
    _requests: Window = field(init=False)
    #: which way it has wanted to go, and since when
    _way: int = 0
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._replicas = self.minimum
        self._requests = Window(period=self.look_back)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        now = seen.now.timestamp()
        self._requests.add(now, backlog(seen))
        running = len(serving(seen))
        if running:
            self._replicas = self._delayed(now, self._wanted(running))
        elif self._requests.mean() > 0:
            self._replicas = max(self._replicas, math.ceil(self.upscaling_factor))
        wanted = min(self.cap, self._replicas)
        return resize(seen, wanted, cap=self.cap, reason=f"{wanted} replicas")

    def _wanted(self, running: int) -> int:
        desired = self._requests.mean() / self.target
        factor = self.upscaling_factor if desired > running else self.downscaling_factor
        scaled = math.ceil(running + factor * (desired - running))
        if math.ceil(desired) < running == scaled:
            scaled -= 1
        return min(self.cap, max(self.minimum, scaled))

    def _delayed(self, now: float, wanted: int) -> int:
        have = self._replicas
        way = (wanted > have) - (wanted < have)
        if way != self._way:
            self._way, self._since = way, now
        delay = self.upscale_delay if way > 0 else self.downscale_delay
        if way == 0 or now - self._since <= delay:
            return have
        self._way = 0
        return wanted if way > 0 or have == 1 else max(1, wanted)
