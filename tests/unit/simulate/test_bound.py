"""The lower bound: below everything that can be done, and close to what its plan really costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irs.domain.scaling import Policy
from irs.simulate import bound, engine, traces
from irs.simulate.controllers import PolicyController
from irs.simulate.world import World

#: A small cap keeps the programme small.
WORLD = World(cap=6, boot_sigma=0.0)


def hour(seed: int) -> tuple[np.ndarray, float]:
    trace = traces.scaled(traces.diurnal(seed, duration=3600), 4.0)
    return traces.draw(trace, seed), trace.duration


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_beats_it_and_its_own_plan_comes_close(seed: int) -> None:
    arrivals, duration = hour(seed)
    least = bound.lower(arrivals, WORLD, wait=30.0, duration=duration)
    assert least.instance_seconds >= len(arrivals), "the work itself"
    fleet = bound.plan(arrivals, WORLD, wait=30.0, price=least.price, duration=duration)
    foreseen = engine.simulate(arrivals, bound.Foresight(fleet, least.step, WORLD), WORLD, seed,
                               duration=duration)
    assert foreseen.instance_seconds == pytest.approx(least.instance_seconds, rel=0.06)
    ours = engine.simulate(arrivals, PolicyController(Policy(max=6)), WORLD, seed, duration=duration)
    assert ours.instance_seconds >= least.instance_seconds


def test_a_constant_load_costs_its_work_and_its_boots() -> None:
    arrivals = np.arange(0, 3600, 0.5)
    least = bound.lower(arrivals, WORLD, wait=30.0, duration=3600)
    # 2/s need two instances; what came in the dark first minute wants a third for a while.
    assert 7200 + 2 * 38 <= least.instance_seconds <= 7200 + 4 * 38 + 60


def test_a_longer_wait_never_costs_more_and_fewer_rounds_stay_below() -> None:
    arrivals, duration = hour(3)
    costs = [bound.lower(arrivals, WORLD, wait=wait, duration=duration).instance_seconds
             for wait in (10.0, 30.0, 90.0)]
    assert costs[0] >= costs[1] - 1
    assert costs[1] >= costs[2] - 1
    rough = bound.lower(arrivals, WORLD, wait=30.0, duration=duration, rounds=2)
    assert rough.instance_seconds <= costs[1] * 1.001
    assert bound.lower(arrivals, replace(WORLD, boot_billed=0.0), wait=30.0, duration=duration
                       ).instance_seconds <= costs[1]


def test_no_arrivals_cost_nothing() -> None:
    assert bound.lower(np.array([]), WORLD, wait=30.0).instance_seconds == 0
