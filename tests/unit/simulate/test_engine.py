"""The engine against what can be worked out by hand, and against its own promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from irs.domain import scaling
from irs.domain.scaling import Action, Launch, Observation, Policy, Terminate
from irs.simulate import engine, traces
from irs.simulate.controllers import PolicyController
from irs.simulate.world import World

#: Boots of exactly 50 s, of which 38 s are billed.
EXACT = World(boot_sigma=0.0)


class Script:
    """Does what a function of (seconds, observation) says."""

    name = "script"

    def __init__(self, decide: Callable[[float, Observation], tuple[Action, ...]], *,
                 drains: bool = True, idle_shutdown: float | None = None) -> None:
        self.decide, self.drains, self.idle_shutdown = decide, drains, idle_shutdown
        self.seen: list[Observation] = []

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        self.seen.append(seen)
        return self.decide((seen.now - engine.EPOCH).total_seconds(), seen)


def launch(count: int) -> Callable[[float, Observation], tuple[Action, ...]]:
    return lambda at, _: (Launch(count=count, reason="start"),) if at == 0 else ()


def test_two_instances_share_a_burst_first_come_first_served() -> None:
    run = engine.simulate(np.zeros(10), Script(launch(2)), EXACT, 1, duration=60)
    assert run.waits.tolist() == [50, 50, 51, 51, 52, 52, 53, 53, 54, 54]
    # Ready at 50 s, billed from 12 s: both to the end at second 60, a minute at least.
    assert run.instance_seconds == 2 * 60
    assert (run.launches, run.wasted_launches, run.unserved, run.busy_kills) == (2, 0, 0, 0)
    assert run.queue[0] == 10
    assert run.oldest[1] == 3


def test_billing_is_by_the_second_from_running_on_with_a_minimum() -> None:
    def until(stop: float) -> Script:
        def decide(at: float, seen: Observation) -> tuple[Action, ...]:
            if at == 0:
                return (Launch(count=1, reason=""),)
            return (Terminate(ids=(seen.fleet[0].id,), reason=""),) if at == stop else ()
        return Script(decide)

    for stop, billed in ((9, 0.0), (30, 60.0), (300, 288.0)):
        run = engine.simulate(np.array([]), until(stop), EXACT, 1, duration=600)
        assert run.instance_seconds == billed
        assert run.wasted_launches == 1


def test_a_drained_instance_finishes_and_a_killed_one_does_not() -> None:
    world = World(boot_sigma=0.0, service_seconds=10.0)

    def decide(at: float, seen: Observation) -> tuple[Action, ...]:
        if at in (0, 60):
            return (Launch(count=1, reason=""),)
        return (Terminate(ids=(seen.fleet[0].id,), reason=""),) if at == 54 else ()

    drained = engine.simulate(np.zeros(1), Script(decide), world, 1, duration=200)
    assert (drained.busy_kills, drained.waits[0]) == (0, 50)
    killed = engine.simulate(np.zeros(1), Script(decide, drains=False), world, 1, duration=200)
    # Started at 50, killed at 54, visible again at 50 + 60 on the second instance, ready then.
    assert (killed.busy_kills, killed.waits[0], killed.unserved) == (1, 110, 0)


def test_an_idle_instance_ends_itself_where_the_controller_says_so() -> None:
    run = engine.simulate(np.array([0.0, 100.0]), Script(launch(1), idle_shutdown=20.0), EXACT, 1,
                          duration=200)
    assert run.unserved == 1
    assert run.instance_seconds == 60, "ready 50, works to 51, ends at 71"


def test_the_cap_and_an_outage_refuse_launches() -> None:
    run = engine.simulate(np.zeros(5), Script(launch(30)), EXACT, 1, duration=100)
    assert (run.launches, run.refused_launches) == (19, 11)
    short = World(outages=((0.0, 10.0),))
    assert engine.simulate(np.array([]), Script(launch(3)), short, 1, duration=9).launches == 0


def test_a_stopped_instance_starts_faster() -> None:
    world = World(boot_sigma=0.0, warm_pool=1)

    def decide(at: float, seen: Observation) -> tuple[Action, ...]:
        if at in (0, 150):
            return (Launch(count=1, reason=""),)
        return (Terminate(ids=(seen.fleet[0].id,), reason=""),) if at == 120 else ()

    run = engine.simulate(np.array([0.0, 150.0]), Script(decide), world, 1, duration=300)
    assert run.waits.tolist() == [50, 23]


def test_counts_come_late_and_say_so() -> None:
    script = Script(launch(1))
    engine.simulate(np.full(4, 30.0), script, World(boot_sigma=0.0, metric_lag=9.0), 1, duration=60)
    first = next(seen for seen in script.seen if seen.visible)
    assert (first.now - engine.EPOCH).total_seconds() == 39
    assert first.counted_at is not None
    assert (first.now - first.counted_at).total_seconds() == 9
    assert first.arrived == 4


@pytest.mark.parametrize("lag", [0.0, 20.0])
def test_a_lag_that_nobody_tells_is_measured_from_the_workers_reports(lag: float) -> None:
    trace = traces.scaled(traces.diurnal(5, duration=7200))
    arrivals = traces.draw(trace, 5)
    script = Script(lambda *_: ())
    ours = PolicyController()
    script.decide = lambda _, seen: ours.tick(seen)
    world = World(metric_lag=lag, reports=True)
    run = engine.simulate(arrivals, script, world, 5, duration=trace.duration)
    told = [(seen.now - seen.counted_at).total_seconds() for seen in script.seen if seen.counted_at]
    assert abs(told[-1] - lag) <= 5
    assert max(told) <= lag + 5
    assert np.percentile(run.waits[1000:], 95) <= 33
    assert run.instance_seconds <= 1.15 * len(arrivals)
    assert run.busy_kills == 0
    for seen in script.seen[600:]:
        assert seen.arrived is not None
        assert seen.finished is not None
        inside = seen.arrived - seen.finished
        assert abs(inside - seen.visible - seen.in_flight) <= 10 + 0.3 * inside


def test_every_count_is_true_at_every_tick() -> None:
    arrivals = traces.draw(traces.coursework(3, duration=3600), 3)
    script = Script(lambda *_: ())
    ours = PolicyController(Policy(target_wait=90.0))
    script.decide = lambda _, seen: ours.tick(seen)
    run = engine.simulate(arrivals, script, World(crash_seconds=900.0), 3, duration=3600)
    assert run.crashes > 0
    assert run.unserved == 0
    assert (run.waits >= 0).all()
    for seen in script.seen:
        at = (seen.now - engine.EPOCH).total_seconds()
        assert seen.arrived == np.searchsorted(arrivals, at, side="right")
        assert seen.arrived - (seen.finished or 0) == seen.visible + seen.in_flight
        assert sum(view.active for view in seen.fleet) <= 19


def test_the_same_seed_gives_the_same_run_and_another_does_not() -> None:
    arrivals = traces.draw(traces.scaled(traces.diurnal(2, duration=1800)), 1)
    world = World(metric_noise=0.1, service_cv=0.5, crash_seconds=3600.0)
    one, two, other = (engine.simulate(arrivals, PolicyController(), world, seed) for seed in (7, 7, 8))
    assert one.instance_seconds == two.instance_seconds
    assert (one.waits == two.waits).all()
    assert one.instance_seconds != other.instance_seconds


@pytest.mark.parametrize("arrivals", [np.array([2.0, 1.0]), np.array([-1.0, 1.0])])
def test_arrivals_that_are_not_sorted_seconds_are_refused(arrivals: np.ndarray) -> None:
    with pytest.raises(ValueError, match="want sorted seconds"):
        engine.simulate(arrivals, Script(launch(1)), EXACT, 1)


@pytest.mark.parametrize("wrong", [{"tick": 0.0}, {"service_seconds": -1.0}, {"metric_lag": -1.0},
                                   {"boot_billed": 51.0}])
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        World(**wrong)


def test_our_policy_keeps_the_promises_on_a_steady_hour_and_kills_nothing() -> None:
    trace = traces.scaled(traces.diurnal(5, duration=7200))
    arrivals = traces.draw(trace, 5)
    for world in (World(), World(metric_lag=20.0), World(counters=False), World(ready_known=False)):
        run = engine.simulate(arrivals, PolicyController(), world, 5, duration=trace.duration)
        assert np.percentile(run.waits[1000:], 95) <= 33
        assert run.busy_kills == 0
        assert run.instance_seconds <= 1.15 * len(arrivals)
    seed = engine.simulate(arrivals, PolicyController(scaling.Policy(name="seed")), World(), 5)
    assert seed.busy_kills == 0
