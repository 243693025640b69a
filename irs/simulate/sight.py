"""What a controller sees of a simulated world: as late, as coarse and as noisy as it is set."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from irs.domain import totals
from irs.domain.observing import EVERY, Report
from irs.domain.scaling import Observation
from irs.domain.totals import Known, Life
from irs.simulate.machine import Instance, moment

if TYPE_CHECKING:
    from irs.simulate.engine import Served

#: Seconds between a worker's reports at least, where work has come or gone.
_APART = 5.0


class Sight:
    """One run's; `observe` at each tick, in order."""

    def __init__(self, world: Served) -> None:
        self._of = world
        self._world = world.world
        self._came = 0
        self._boots: list[tuple[float, float]] = []
        #: (at, visible, in flight, came, finished) at each tick
        self._history: list[tuple[float, int, int, int, int]] = []
        self._known = Known()
        self._reports: dict[str, Report] = {}
        #: (at, queue, ready, booting, seconds that the oldest message has waited) at each tick
        self.timeline: list[tuple[float, int, int, int, float]] = []

    def observe(self, at: float) -> Observation:
        """The world at second ``at``, up to which it has been advanced."""
        of, arrivals = self._of, self._of.arrivals
        while self._came < len(arrivals) and arrivals[self._came] <= at:
            self._came += 1
        came = self._came
        of.ending = [i for i in of.ending if i.end > at]
        alive = of.alive.values()
        for instance in alive:
            if instance.ready <= at and (not instance.shown or instance.shown[1] is None):
                self._boots.append((instance.boot, instance.ready - instance.billed_from))
        busy = sum(1 for i in alive if i.ready <= at < i.free)
        busy += sum(1 for i in of.ending if i.served and i.free > at)
        hidden = sum(1 for when, _ in of.again if when > at)
        visible = came - of.head + len(of.again) - hidden
        finished = came - visible - busy - hidden
        self._history.append((at, visible, busy + hidden, came, finished))
        ready = sum(1 for i in alive if i.ready <= at)
        oldest = at - arrivals[of.head] if of.head < came else 0.0
        self.timeline.append((at, visible, ready, len(alive) - ready, oldest))
        return self._seen(at)

    def _seen(self, at: float) -> Observation:
        world = self._world
        back = round(world.metric_lag / world.tick)
        counted, visible, in_flight, came, finished = (
            self._history[-1 - back] if back < len(self._history) else (0.0, 0, 0, 0, 0))
        if world.metric_noise:
            rng = self._of.rng
            visible = max(0, round(visible * (1 + world.metric_noise * rng.standard_normal())))
            in_flight = max(0, round(in_flight * (1 + world.metric_noise * rng.standard_normal())))
        views = tuple(i.seen(at, busy_known=world.busy_known, ready_known=world.ready_known)
                      for i in (*self._of.alive.values(), *self._of.ending))
        if world.reports:
            known = self._fold(at, visible + in_flight)
            return Observation(
                visible=visible, in_flight=in_flight, fleet=views, now=moment(at),
                counted_at=known.counted_at, arrived=known.arrived, finished=known.left,
                service_seconds=world.service_seconds if finished else None,
                boot_seconds=known.boot_seconds, billed_boot_seconds=known.billed_boot_seconds)
        boots = self._boots[-16:]
        return Observation(
            visible=visible, in_flight=in_flight, fleet=views, now=moment(at),
            counted_at=moment(counted) if world.lag_known else None,
            arrived=came if world.counters else None,
            finished=finished if world.counters else None,
            service_seconds=world.service_seconds if finished else None,
            boot_seconds=sum(b for b, _ in boots) / len(boots) if boots else None,
            billed_boot_seconds=sum(b for _, b in boots) / len(boots) if boots else None)

    def _fold(self, at: float, backlog: int) -> Known:
        """What the scaler makes of the reports there are: `irs.worker.report` says when one comes."""
        workers = [*self._of.alive.values(), *self._of.ending]
        fresh = {}
        for each in workers:
            if each.ready <= at:
                fresh[each.id] = _report(each, at, self._reports.get(each.id))
        # What a worker said last is read once more after its end.
        last = [report for key, report in self._reports.items() if key not in fresh]
        self._reports = fresh
        lives = {each.id: Life(launched_at=moment(each.launched), running_since=moment(each.billed_from))
                 for each in workers}
        self._known = totals.fold(self._known, [*fresh.values(), *last], backlog=backlog,
                                  now=moment(at), lives=lives)
        return self._known


def _report(worker: Instance, at: float, before: Report | None) -> Report:
    """Its latest report: a new one, if one is due."""
    now, running = moment(at), int(worker.free > at)
    if before is not None:
        age = (now - before.at) / timedelta(seconds=1)
        if age < EVERY and (age < _APART or running == before.running) and not worker.draining:
            return before
    return Report(instance=worker.id, at=now, started_at=moment(worker.launched),
                  ready_at=moment(worker.ready), done=max(0, worker.served - running), running=running,
                  draining=worker.draining)
