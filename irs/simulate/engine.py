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

from irs.domain.scaling import Action, Launch, Observation, Terminate
from irs.simulate.machine import Instance, moment
from irs.simulate.run import EPOCH, GRACE, Controller, Run
from irs.simulate.world import World

__all__ = ["EPOCH", "GRACE", "Controller", "Run", "simulate"]


class _Engine:
    """One run's state. `advance` serves, `observe` shows, `apply` obeys."""

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
        self.boots: list[tuple[float, float]] = []
        self.history: list[tuple[float, int, int, int, int]] = []
        self.timeline: list[tuple[float, int, int, int, float]] = []

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

    # -- what the controller sees

    def observe(self, at: float) -> Observation:
        """The world at second ``at``, as late and as coarse as the controller sees it."""
        arrivals, total = self.arrivals, len(self.arrivals)
        came = self.came
        while came < total and arrivals[came] <= at:
            came += 1
        self.came = came
        self.ending = [i for i in self.ending if i.end > at]
        for instance in self.alive.values():
            if instance.ready <= at and (not instance.shown or instance.shown[1] is None):
                self.boots.append((instance.boot, instance.ready - instance.billed_from))
        busy = sum(1 for i in self.alive.values() if i.ready <= at < i.free)
        busy += sum(1 for i in self.ending if i.served and i.free > at)
        hidden = sum(1 for when, _ in self.again if when > at)
        visible = came - self.head + len(self.again) - hidden
        finished = came - visible - busy - hidden
        self.history.append((at, visible, busy + hidden, came, finished))
        ready = sum(1 for i in self.alive.values() if i.ready <= at)
        oldest = at - arrivals[self.head] if self.head < came else 0.0
        self.timeline.append((at, visible, ready, len(self.alive) - ready, oldest))
        return self._seen(at)

    came = 0

    def _seen(self, at: float) -> Observation:
        world = self.world
        back = round(world.metric_lag / world.tick)
        counted, visible, in_flight, came, finished = (
            self.history[-1 - back] if back < len(self.history) else (0.0, 0, 0, 0, 0))
        if world.metric_noise:
            visible = max(0, round(visible * (1 + world.metric_noise * self.rng.standard_normal())))
            in_flight = max(0, round(in_flight * (1 + world.metric_noise * self.rng.standard_normal())))
        views = [i.seen(at, busy_known=world.busy_known, ready_known=world.ready_known)
                 for i in (*self.alive.values(), *self.ending)]
        boots = self.boots[-16:]
        return Observation(
            visible=visible, in_flight=in_flight, fleet=tuple(views), now=moment(at),
            counted_at=moment(counted) if world.lag_known else None,
            arrived=came if world.counters else None,
            finished=finished if world.counters else None,
            service_seconds=world.service_seconds if finished else None,
            boot_seconds=sum(b for b, _ in boots) / len(boots) if boots else None,
            billed_boot_seconds=sum(b for _, b in boots) / len(boots) if boots else None)

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
    engine = _Engine(arrivals, controller, world, seed)
    number, at = 0, 0.0
    while at <= last or (not engine.done() and at <= last + GRACE):
        engine.advance(at)
        engine.apply(controller.tick(engine.observe(at)), at)
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
    columns = [np.asarray(column) for column in zip(*engine.timeline)]
    return Run(
        controller=controller.name, duration=at, instance_seconds=engine.billed,
        launches=engine.launches, wasted_launches=engine.wasted, refused_launches=engine.refused,
        busy_kills=engine.kills, crashes=engine.crashes, waits=starts - arrivals,
        unserved=int(missing.sum()), at=columns[0], queue=columns[1], ready=columns[2],
        booting=columns[3], oldest=columns[4])
