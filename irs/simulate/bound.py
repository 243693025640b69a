"""What perfect foresight would have paid: a lower bound, and the plan that all but reaches it.

How it is computed. Time is cut into steps of about 5 s; the queue is first come, first
served; in a step the fleet is a whole number N of instances, each serving its share. A
dynamic programme over (step, N, backlog), exact in whole messages, finds the least
instance-seconds, counting the billed boot of every launch, with all arrivals known in
advance, so that an instance is ready in the very step that wants it. "95 % of the messages
wait at most W" enters by Lagrange: each late message costs a price, and for *any* price
(cost of the priced optimum) - price x (late messages allowed) is a lower bound of the
constrained optimum (weak duality); the best price is searched for by bisection.

Everything in doubt is decided in the plan's favour: a step's arrivals may be served from
the step's start; a message is late only when no reading of its bin's times lets it be in
time; boots take the median, never longer; the 60 s billing minimum and the controller's
tick are ignored; what is left at the end costs its bare work. The one restriction: no
plan lets more wait than `DEEP` times what arrives within W at the busiest time (beyond
that nothing is saved: it is all late).

How tight it is. `plan` gives the priced optimum's fleet over time, and `Foresight` obeys it
inside the simulator, with its real billing, ticks and service (boots at their median):
what it pays is what some controller can pay, so the true optimum lies between the two.
On the day-long traces it pays 0.3 % (Twitter) and 0.1 % (WorldCup98) more than the bound, at
a p95 2 to 6 s above W; the plan priced so that all but nobody is late (price 20) costs 1.2
and 1.3 % more. So there the bound is tight to about 1 %. On an hour of bursts
(azure-llm-code) that plan costs 3.8 % more, and what is decided in the plan's favour weighs
more: obeyed to the letter, its fleet falls behind. The bound is loose there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from irs.domain.scaling import Action, Launch, Observation, Terminate
from irs.simulate.engine import EPOCH
from irs.simulate.world import World

#: Seconds a step, roughly: it is a multiple of the service time.
STEP = 5.0
#: The most that may wait, in arrivals of the busiest W seconds.
DEEP = 1.5
#: Steps between two kept value tables, when the plan is read back.
CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The lower bound and where it comes from."""

    #: the bound, instance-seconds
    instance_seconds: float
    #: the price of a late message that gave it, instance-seconds
    price: float
    #: seconds a step
    step: float


class _Programme:
    """The dynamic programme for one set of arrivals; `solve` runs it for one price."""

    def __init__(self, arrivals: np.ndarray, world: World, wait: float, duration: float) -> None:
        self.served = max(1, round(STEP / world.service_seconds))
        self.step = self.served * world.service_seconds
        steps = max(1, math.ceil(duration / self.step))
        self.counts = np.bincount(np.minimum((arrivals / self.step).astype(int), steps - 1),
                                  minlength=steps).astype(int) if len(arrivals) else np.zeros(steps, int)
        self.total = int(self.counts.sum())
        #: messages before each step
        self.before = np.concatenate([[0], np.cumsum(self.counts)])
        span = math.floor(wait / self.step)
        #: of a step's backlog, how many are the youngest: not certainly late
        self.young = self.before[:-1] - self.before[np.maximum(np.arange(steps) - span, 0)]
        self.fleets = world.cap + 1
        self.depth = int(DEEP * (self.young.max() + self.counts.max())) + self.served + 1
        self.launch = np.float32(world.boot_billed)
        self.service = world.service_seconds
        #: steps in which nothing can be ready yet: every run starts from an empty fleet
        self.dark = math.floor(world.boot_median / self.step)
        self._backlog = np.arange(self.depth)
        self._fleet = np.arange(self.fleets)[:, None]
        self._run = (self._fleet * self.step).astype(np.float32)
        #: most that each fleet starts in a step
        self._most = (self._fleet * self.served).astype(np.float32)
        # Row N of the value table is read ``N * served`` to the left: a view with slanted
        # rows does that without an index. Left of 0 stands 0, right of the depth nothing.
        self._left = self.served * (self.fleets - 1)
        self._pad = np.full((self.fleets, self._left + self.depth + int(self.counts.max(initial=0))),
                            np.inf, np.float32)

    @property
    def steps(self) -> int:
        return len(self.counts)

    def last(self) -> np.ndarray:
        """(fleets, depth): the cost of ending with this fleet and backlog: its bare work."""
        return np.broadcast_to((self._backlog * self.service).astype(np.float32),
                               (self.fleets, self.depth)).copy()

    def stage(self, t: int, after: np.ndarray, price: float) -> np.ndarray:
        """(fleets, depth): cost from step ``t`` on when ``fleet`` is what serves in it."""
        left, pad = self._left, self._pad
        pad[:, left:left + self.depth] = after
        pad[:, :left] = after[:, :1]
        row, item = pad.strides
        cost = np.lib.stride_tricks.as_strided(
            pad[:, left + int(self.counts[t]):], (self.fleets, self.depth),
            (row - self.served * item, item), writeable=False) + self._run
        first = int(self.young[t]) + 1
        if price and first < self.depth:
            late = (self._backlog[first:] - self.young[t]).astype(np.float32)
            cost[:, first:] += np.float32(price) * np.minimum(late, self._most)
        if t < self.dark:
            cost[1:] = np.inf
        return cost

    def switch(self, cost: np.ndarray) -> np.ndarray:
        """(fleets, depth): the best of all next fleets, from each fleet before the step."""
        # Row by row: numpy's accumulate along the first axis is four times as slow.
        best = cost.copy()
        for fleet in range(self.fleets - 2, -1, -1):
            np.minimum(best[fleet], best[fleet + 1] + self.launch, out=best[fleet])
        for fleet in range(1, self.fleets):
            np.minimum(best[fleet], best[fleet - 1], out=best[fleet])
        return best

    def solve(self, price: float, keep: dict[int, np.ndarray] | None = None) -> float:
        """The least priced cost from an empty fleet and an empty queue."""
        value = self.last()
        for t in range(self.steps - 1, -1, -1):
            if keep is not None and (t + 1) % CHUNK == 0:
                keep[t + 1] = value
            value = self.switch(self.stage(t, value, price))
        return float(value[0, 0])

    def walk(self, price: float) -> np.ndarray:
        """(steps,) int: the fleet of the priced optimum in each step."""
        keep: dict[int, np.ndarray] = {}
        self.solve(price, keep)
        fleet, backlog = 0, 0
        path = np.zeros(self.steps, int)
        for start in range(0, self.steps, CHUNK):
            end = min(start + CHUNK, self.steps)
            value = keep[end] if end % CHUNK == 0 else self.last()
            costs: list[np.ndarray] = []
            for t in range(end - 1, start - 1, -1):
                costs.append(self.stage(t, value, price))
                value = self.switch(costs[-1])
            for t, cost in zip(range(start, end), reversed(costs)):
                moved = cost[:, backlog] + self.launch * np.maximum(self._fleet[:, 0] - fleet, 0)
                fleet = int(np.argmin(moved))
                path[t] = fleet
                backlog = max(0, backlog + int(self.counts[t]) - fleet * self.served)
        return path


def lower(arrivals: np.ndarray, world: World, *, wait: float, late: float = 0.05,
          duration: float | None = None, rounds: int = 7) -> Bound:
    """The least instance-seconds that serve ``arrivals`` with at most ``late`` beyond ``wait`` s.

    ``arrivals``: (n,) sorted seconds. A day takes some 20 s; ``rounds`` is how often the
    price is refined: fewer are quicker, and still a lower bound.
    """
    if not len(arrivals):
        return Bound(instance_seconds=0.0, price=0.0, step=STEP)
    programme = _Programme(arrivals, world, wait, duration or float(arrivals[-1]))
    best = Bound(instance_seconds=programme.total * world.service_seconds, price=0.0, step=programme.step)
    # The dual is concave in the price: golden-section search on a logarithmic scale.
    low, high = math.log(0.02), math.log(40.0)
    ratio = (math.sqrt(5) - 1) / 2
    seen: dict[float, float] = {}

    def dual(log_price: float) -> float:
        if log_price not in seen:
            price = math.exp(log_price)
            seen[log_price] = programme.solve(price) - price * late * programme.total
        return seen[log_price]

    left, right = high - ratio * (high - low), low + ratio * (high - low)
    for _ in range(rounds):
        if dual(left) < dual(right):
            low, left = left, right
            right = low + ratio * (high - low)
        else:
            high, right = right, left
            left = high - ratio * (high - low)
    log_price, value = max(seen.items(), key=lambda item: item[1])
    if value > best.instance_seconds:
        best = Bound(instance_seconds=value, price=math.exp(log_price), step=programme.step)
    return best


def plan(arrivals: np.ndarray, world: World, *, wait: float, price: float,
         duration: float | None = None) -> np.ndarray:
    """(steps,) int: the fleet that the priced optimum keeps in each step of `Bound.step` s."""
    programme = _Programme(arrivals, world, wait, duration or float(arrivals[-1]))
    fleet = programme.walk(price)
    # The programme may leave a backlog at the end, at the price of its work: somebody must do it.
    tail = max(0, len(fleet) - math.ceil((2 * wait + world.boot_median) / programme.step))
    fleet[tail:] = np.maximum(fleet[tail:], max(1, fleet[tail]) if len(fleet) else 0)
    return fleet


class Foresight:
    """A controller that obeys a plan: what knowing the day in advance really costs.

    Give it a world whose boots do not vary (``boot_sigma=0``): nobody foresees those.
    """

    name = "foresight"

    def __init__(self, fleet: np.ndarray, step: float, world: World) -> None:
        change = np.diff(fleet, prepend=0)
        at = np.arange(len(fleet)) * step
        #: when each launch must be made, and when each end is due
        self._launch = np.repeat(at, np.maximum(change, 0)) - world.boot_median - world.tick
        self._end = np.repeat(at, np.maximum(-change, 0))
        self._launched = self._ended = 0

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        """Launch what is due one boot from now, end what is due now; the oldest go first."""
        at = (seen.now - EPOCH).total_seconds()
        launch = int(np.searchsorted(self._launch, at, side="right")) - self._launched
        ready = sorted((i for i in seen.fleet if i.active and i.ready_at), key=lambda i: i.launched_at)
        end = min(len(ready), int(np.searchsorted(self._end, at, side="right")) - self._ended)
        self._launched += launch
        self._ended += end
        actions: list[Action] = []
        if end:
            actions.append(Terminate(ids=tuple(i.id for i in ready[:end]), reason="foreseen"))
        if launch:
            actions.append(Launch(count=launch, reason="foreseen"))
        return tuple(actions)
