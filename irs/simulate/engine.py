"""The discrete-event simulation: instances pull from one first-come queue; a controller ticks.

Exact for the model, event by event: a message starts on the instance that has been free
the longest, or else on the one that frees first. Between two ticks nothing but messages,
boots and crashes happens, so the heap of instances by the moment they are free is all the
state there is. Deterministic by seed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import numpy as np

from irs.domain.scaling import Action, Launch, Terminate
from irs.simulate.machine import Instance
from irs.simulate.run import EPOCH, GRACE, Controller, Run
from irs.simulate.sight import Sight
from irs.simulate.world import World

__all__ = ["EPOCH", "GRACE", "Controller", "Run", "simulate"]


class Served:
    """One run's state. `advance` serves, `apply` obeys; `irs.simulate.sight` shows it."""

    def __init__(self, arrivals: np.ndarray, controller: Controller, world: World, seed: int) -> None:
        self.world = world
        self.controller = controller
        self.drains = getattr(controller, "drains", True)
        self.idle_exit: float = math.inf
        if (idle := getattr(controller, "idle_shutdown", None)) is not None:
            self.idle_exit = float(idle)
        self.rng = np.random.default_rng([seed, 0x5EED])
        self.turns = np.random.default_rng([seed, 0x1D1E])
        self.arrivals: list[float] = arrivals.tolist()
        service = world.service_times(len(arrivals), np.random.default_rng([seed, 0x5E2]))
        self.service: list[float] = service.tolist()
        self.starts: list[float] = [math.nan] * len(arrivals)
        self.head = 0
        #: (visible again at, message) of messages whose instance died
        self.again: list[tuple[float, int]] = []
        #: (free at, launch number, instance) of every instance that takes messages
        self.heap: list[tuple[float, int, Instance]] = []
        self.alive: dict[str, Instance] = {}
        self.ending: list[Instance] = []
        self.stopped = 0
        self.launches = self.wasted = self.refused = self.kills = self.crashes = 0
        self.billed = 0.0

    # -- service

    def advance(self, until: float) -> None:
        """Start every message that an instance can start before ``until``."""
        heap, arrivals, service, starts = self.heap, self.arrivals, self.service, self.starts
        head, total, idle_exit = self.head, len(self.arrivals), self.idle_exit
        replace_top = heapq.heapreplace
        while heap:
            free, number, instance = heap[0]
            if instance.draining:
                heapq.heappop(heap)
                continue
            came = arrivals[head] if head < total else math.inf
            again = self.again and self.again[0][0] < came
            if again:
                came = self.again[0][0]
            start = came if came > free else free
            gone = free + idle_exit
            if gone < until and gone < start:
                heapq.heappop(heap)
                self._end(instance, gone)
                continue
            if instance.crash < until and instance.crash <= start:
                heapq.heappop(heap)
                self._crash(instance, None)
                continue
            if start >= until:
                break
            if came > free and idle_exit < math.inf:
                number, instance = self._any_idle(came)
            if again:
                message = heapq.heappop(self.again)[1]
            else:
                message = head
                head += 1
            starts[message] = start
            finish = start + service[message]
            instance.served += 1
            instance.message = message
            instance.free = finish
            if instance.crash < finish:
                heapq.heappop(heap)
                self._crash(instance, message)
                continue
            replace_top(heap, (finish, number, instance))
        self.head = head

    def _any_idle(self, at: float) -> tuple[int, Instance]:
        """Who gets a message that several wait for, put at the heap's top: any of them, as on SQS.

        Asked only where idle instances end themselves: to all others it makes no difference.
        """
        heap = self.heap
        idle = [place for place, (free, _, each) in enumerate(heap)
                if free < at < each.crash and not each.draining]
        place = idle[int(self.turns.random() * len(idle))]
        _, number, instance = heap[place]
        heap[place] = (-math.inf, number, instance)
        heapq.heapify(heap)
        return number, instance

    def _crash(self, instance: Instance, message: int | None) -> None:
        self.crashes += 1
        if message is not None:
            instance.served -= 1
            heapq.heappush(self.again, (self.starts[message] + self.world.visibility_timeout, message))
            self.starts[message] = math.nan
        self._end(instance, instance.crash)

    def _end(self, instance: Instance, at: float) -> None:
        instance.draining = True
        instance.end = at
        self.alive.pop(instance.id, None)
        self.ending.append(instance)
        if at > instance.billed_from:
            self.billed += max(self.world.billing_minimum, at - instance.billed_from)
        if not instance.served:
            self.wasted += 1

    # -- what it asks for

    def apply(self, actions: tuple[Action, ...], at: float) -> None:
        """Launch and terminate; the cap holds whatever is asked."""
        for action in actions:
            if isinstance(action, Launch):
                for _ in range(action.count):
                    self._launch(at)
            elif isinstance(action, Terminate):
                for key in action.ids:
                    self._terminate(key, at)

    def _launch(self, at: float) -> None:
        if self.world.out_of_capacity(at) or len(self.alive) >= self.world.cap:
            self.refused += 1
            return
        stopped = self.stopped > 0
        self.stopped -= stopped
        boot, billed = self.world.boot_time(self.rng, stopped=stopped)
        crash = math.inf
        if self.world.crash_seconds:
            crash = at + boot + self.rng.exponential(self.world.crash_seconds)
        self.launches += 1
        instance = Instance(self.launches, at, boot, billed, crash)
        self.alive[instance.id] = instance
        heapq.heappush(self.heap, (instance.free, self.launches, instance))

    def _terminate(self, key: str, at: float) -> None:
        instance = self.alive.get(key)
        if instance is None:
            return
        if self.stopped < self.world.warm_pool:
            self.stopped += 1
        busy = instance.served > 0 and instance.free > at
        if not busy or self.drains:
            self._end(instance, max(at, instance.free) if busy else at)
            return
        self.kills += 1
        instance.served -= 1
        heapq.heappush(self.again, (self.starts[instance.message] + self.world.visibility_timeout,
                                    instance.message))
        self.starts[instance.message] = math.nan
        instance.free = at
        self._end(instance, at)

    def done(self) -> bool:
        return self.head == len(self.arrivals) and not self.again

    def close(self, at: float) -> None:
        """The end of the run: whatever lives is billed up to here."""
        wasted = self.wasted
        for instance in list(self.alive.values()):
            self._end(instance, max(at, instance.free) if instance.served else at)
        # What still boots as the day ends has not been wasted yet.
        self.wasted = wasted


def simulate(arrivals: np.ndarray, controller: Controller, world: World, seed: int, *,
             duration: float | None = None, progress: Callable[[float], None] | None = None) -> Run:
    """Run ``controller`` on ``arrivals`` ((n,) seconds, sorted) from an empty fleet.

    Runs for ``duration`` seconds (by default up to the last arrival), and on until nothing
    waits, `GRACE` at most. ``progress`` is told the share done, 0 to 1, now and then.
    Raises `ValueError` for arrivals that are not sorted or are negative.
    """
    arrivals = np.asarray(arrivals, dtype=np.float64)
    if len(arrivals) and (arrivals[0] < 0 or (np.diff(arrivals) < 0).any()):
        raise ValueError("arrivals: want sorted seconds, none below 0")
    last = max(duration or 0.0, float(arrivals[-1]) if len(arrivals) else 0.0)
    engine = Served(arrivals, controller, world, seed)
    sight = Sight(engine)
    number, at = 0, 0.0
    while at <= last or (not engine.done() and at <= last + GRACE):
        engine.advance(at)
        engine.apply(controller.tick(sight.observe(at)), at)
        number += 1
        at = number * world.tick
        if progress is not None and number % 200 == 0:
            progress(min(1.0, at / last) if last else 1.0)
    engine.advance(at)
    engine.close(max(last, at - world.tick))
    starts = np.asarray(engine.starts, dtype=np.float64)
    missing = np.isnan(starts)
    starts[missing] = at
    if progress is not None:
        progress(1.0)
    columns = [np.asarray(column) for column in zip(*sight.timeline)]
    return Run(
        controller=controller.name, duration=at, instance_seconds=engine.billed,
        launches=engine.launches, wasted_launches=engine.wasted, refused_launches=engine.refused,
        busy_kills=engine.kills, crashes=engine.crashes, waits=starts - arrivals,
        unserved=int(missing.sum()), at=columns[0], queue=columns[1], ready=columns[2],
        booting=columns[3], oldest=columns[4])
