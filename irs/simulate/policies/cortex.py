"""Cortex's autoscaler for asynchronous APIs.

docs.cortex.dev, workloads/async/autoscaling, and pkg/autoscaler of cortexlabs/cortex:

- in-flight requests (waiting and at work) are counted every 10 s and averaged over
  ``window`` 60 s; every 10 s: recommendation = ceil(mean / ``target_in_flight``), the
  target 1 here (its default is the replica's concurrency);
- within 5 % of the present number: no change (``upscale_tolerance``,
  ``downscale_tolerance``);
- in one step at most × 1.5 (or +1) up and down to × 0.75 (or -1);
- never above the lowest recommendation of the last minute, never below the highest of
  the last 5 (``upscale_stabilization_period``, ``downscale_stabilization_period``), and no
  step before such a period has passed once.

``min_replicas`` is 1 by default; scale to zero is supported and used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.replicas import Every, Window, backlog, resize

#: Seconds between two recommendations.
TICK = 10.0


@dataclass(kw_only=True, slots=True)
class Cortex:
    """Mean in-flight requests held at ``target`` a replica."""

    cap: int
    target: float = 1.0
    window: float = 60.0
    upscale_stabilization: float = 60.0
    downscale_stabilization: float = 300.0
    max_upscale: float = 1.5
    max_downscale: float = 0.75
    tolerance: float = 0.05
    minimum: int = 0
    name: str = "cortex"
    _replicas: int = field(init=False)
    _began: float | None = None
    _timer: Every = field(default_factory=lambda: Every(period=TICK))
    _in_flight: Window = field(init=False)
    _up: Window = field(init=False)
    _down: Window = field(init=False)

    def __post_init__(self) -> None:
        self._replicas = self.minimum
        # A window of 60 s holds six counts, not seven.
        self._in_flight = Window(period=self.window - TICK / 2)
        self._up = Window(period=self.upscale_stabilization)
        self._down = Window(period=self.downscale_stabilization)

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        now = seen.now.timestamp()
        if self._timer.due(now):
            self._began = now if self._began is None else self._began
            self._in_flight.add(now, backlog(seen))
            self._replicas = self._stabilized(now, self._recommend(self._in_flight.mean() / self.target))
        return resize(seen, self._replicas, cap=self.cap, reason=f"{self._replicas} replicas")

    def _recommend(self, raw: float) -> int:
        have = self._replicas
        wanted = math.ceil(raw)
        if have * (1 - self.tolerance) < raw < have * (1 + self.tolerance):
            wanted = have
        wanted = max(wanted, min(have - 1, math.ceil(have * self.max_downscale)))
        wanted = min(wanted, max(have + 1, math.ceil(have * self.max_upscale)))
        return min(self.cap, max(self.minimum, wanted))

    def _stabilized(self, now: float, wanted: int) -> int:
        have, age = self._replicas, now - (self._began or 0.0)
        self._up.add(now, wanted)
        self._down.add(now, wanted)
        if wanted < have:
            return have if age < self.downscale_stabilization else min(have, int(self._down.max()))
        if wanted > have:
            return have if age < self.upscale_stabilization else max(have, int(self._up.min()))
        return have
