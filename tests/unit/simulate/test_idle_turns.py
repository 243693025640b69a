"""Which idle instance gets a message decides which one idles long enough to leave."""

from __future__ import annotations

import numpy as np
import pytest

from irs.simulate import engine, policies
from irs.simulate.world import World


@pytest.mark.parametrize("crash_seconds", [0.0, 2000.0])
def test_of_many_idle_instances_some_leave_although_all_could_be_kept_busy(crash_seconds: float) -> None:
    """Ten for a burst, then a message a second: taking turns, each would have one every 10 s."""
    world = World(boot_sigma=0.0, crash_seconds=crash_seconds)
    arrivals = np.sort(np.concatenate([np.zeros(200), np.arange(0.5, 1200.0)]))
    controller = policies.make("idle-timeout", policies.Setting(world=world), per_instance=20.0,
                               idle_shutdown=20.0)
    run = engine.simulate(arrivals, controller, world, 0)
    fleet = run.ready + run.booting
    assert fleet.max() >= 10
    assert 1 <= fleet[-60:].max() <= 5
    assert (run.unserved, run.busy_kills) == (0, 0)
    again = engine.simulate(arrivals, policies.make(
        "idle-timeout", policies.Setting(world=world), per_instance=20.0, idle_shutdown=20.0), world, 0)
    assert np.array_equal(run.waits, again.waits), "by seed"
