"""Emulated autoscalers do what their documents say: a small fleet, played tick by tick."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from irs.domain.scaling import InstanceView, Launch, Observation, Terminate
from irs.simulate import engine, policies, traces
from irs.simulate.policies.aws import TargetTracking
from irs.simulate.policies.cortex import Cortex
from irs.simulate.policies.fixed import Fixed
from irs.simulate.policies.idle import IdleTimeout
from irs.simulate.policies.keda import Keda
from irs.simulate.policies.ray_serve import RayServe
from irs.simulate.policies.replicas import Every, Window, resize
from irs.simulate.policies.sagemaker import SageMaker
from irs.simulate.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
BOOT = 30.0


class Play:
    """Instances boot in `BOOT` seconds and end at once; the messages are what a test says."""

    def __init__(self, controller: engine.Controller) -> None:
        self.controller = controller
        self.now = 0.0
        self.launched: dict[str, float] = {}
        self.count = 0
        #: (second, instances) after each tick in which it changed
        self.changes: list[tuple[float, int]] = []

    def run(self, seconds: float, backlog: Callable[[float], int] | int, *, tick: float = 3.0) -> int:
        """The number of instances after ``seconds`` more."""
        until = self.now + seconds
        while self.now < until:
            visible = backlog if isinstance(backlog, int) else backlog(self.now)
            before = len(self.launched)
            for action in self.controller.tick(self.seen(visible)):
                if isinstance(action, Launch):
                    for _ in range(action.count):
                        self.count += 1
                        self.launched[f"i-{self.count:03d}"] = self.now
                elif isinstance(action, Terminate):
                    for key in action.ids:
                        del self.launched[key]
            if len(self.launched) != before:
                self.changes.append((self.now, len(self.launched)))
            self.now += tick
        return len(self.launched)

    def seen(self, visible: int) -> Observation:
        def moment(at: float) -> datetime:
            return START + timedelta(seconds=at)

        fleet = tuple(
            InstanceView(id=key, state="running", launched_at=moment(at),
                         ready_at=moment(at + BOOT) if self.now >= at + BOOT else None)
            for key, at in self.launched.items())
        return Observation(visible=visible, in_flight=0, fleet=fleet, now=moment(self.now))


# -- what all share ---------------------------------------------------------------------------
def test_a_timer_is_due_once_in_each_period_whatever_the_ticks() -> None:
    timer = Every(period=10.0)
    assert [at for at in range(0, 40, 3) if timer.due(at)] == [0, 12, 21, 30]


def test_a_window_forgets_what_is_older_than_its_period() -> None:
    window = Window(period=10.0)
    for at, value in ((0, 9.0), (5, 1.0), (12, 3.0)):
        window.add(at, value)
    assert (window.min(), window.max(), window.mean()) == (1.0, 3.0, 2.0)


def test_too_many_are_ended_in_the_order_that_costs_least() -> None:
    def view(key: str, **known: object) -> InstanceView:
        return InstanceView(id=key, state="running", **{
            "launched_at": START, "ready_at": START, "busy": True} | known)

    later = START + timedelta(seconds=9)
    fleet = (view("old"), view("young", launched_at=later), view("idle", busy=False),
             view("boots", ready_at=None, busy=None))
    seen = Observation(visible=0, in_flight=3, fleet=fleet, now=later)
    ended = [resize(seen, desired, cap=9, reason="")[0].ids for desired in (3, 2, 1, 0)]
    assert ended[-1] == ("boots", "idle", "young", "old")
    assert all(ended[-1][: len(ids)] == ids for ids in ended)


def test_what_drains_counts_against_the_cap_but_not_as_a_replica() -> None:
    leaving = InstanceView(id="a", state="running", launched_at=START, draining=True)
    seen = Observation(visible=9, in_flight=1, fleet=(leaving,), now=START)
    assert resize(seen, 3, cap=3, reason="") == (Launch(count=2, reason=""),)


# -- each by its documents --------------------------------------------------------------------
def test_a_fixed_fleet_replaces_what_crashed() -> None:
    play = Play(Fixed(count=3))
    assert play.run(3, 0) == 3
    play.launched.popitem()
    assert play.run(3, 0) == 3


def test_the_idle_rule_launches_what_waits_and_leaves_the_end_to_the_instances() -> None:
    controller = IdleTimeout(cap=9, per_instance=2, idle_shutdown=60.0)
    play = Play(controller)
    assert play.run(12, 5) == 3
    assert play.run(3600, 0) == 3
    assert controller.idle_shutdown == 60.0  # which the engine obeys


def test_target_tracking_needs_three_points_above_and_is_proportional() -> None:
    play = Play(TargetTracking(cap=19, target=10.0, warmup=300.0))
    play.run(3, 0)
    assert play.run(177, 45) == 1, "two minutes above the target are not three"
    assert play.run(60, 45) == 5, "ceil(1 instance x 45 / 10)"


def test_target_tracking_does_not_launch_twice_for_what_warms_up() -> None:
    play = Play(TargetTracking(cap=19, target=10.0, warmup=300.0))
    play.run(600, 100)
    assert play.changes == [(0.0, 1), (120.0, 10)], "points at 0, 60 and 120"
    # Ten serve, one is warm: 100 / 10 is the target exactly.
    assert play.run(900, 100) == 10


def test_target_tracking_goes_in_one_a_minute_after_fifteen_low_points() -> None:
    play = Play(TargetTracking(cap=19, target=10.0, warmup=60.0))
    grown = play.run(300, 100)
    began = play.now
    play.run(3600, 0)
    steps = [(at - began, count) for at, count in play.changes if at > began]
    assert steps[0][0] >= 14 * 60, "15 points take 14 minutes and more"
    assert [count for _, count in steps] == list(range(grown - 1, 0, -1)), "the minimum is 1"
    assert {b[0] - a[0] for a, b in itertools.pairwise(steps)} == {60.0}


def test_sagemaker_wakes_from_zero_on_the_second_minute_with_a_backlog() -> None:
    play = Play(SageMaker(cap=19))
    play.run(3, 0)
    play.run(240, 1)
    assert play.changes[0] == (120.0, 1), "points at 60 and 120 s"


def test_sagemaker_during_its_cooldown_only_grows_for_more() -> None:
    play = Play(SageMaker(cap=19, target=5.0))
    play.run(3, 0)
    grown = play.run(117 + 240, 40)
    assert grown == 8, "ceil(40 / 5), counted from the one that was there"
    assert play.run(120, 40) == 8


def test_sagemaker_goes_in_at_the_pace_of_its_cooldown() -> None:
    play = Play(SageMaker(cap=19, target=5.0))
    play.run(400, 40)
    began = play.now
    play.run(3600, 0)
    steps = [at - began for at, _ in play.changes if at > began]
    assert {b - a for a, b in itertools.pairwise(steps)} == {600.0}


def test_keda_wakes_at_its_poll_and_the_hpa_grows_by_four_or_double() -> None:
    play = Play(Keda(cap=19))
    play.run(3, 0)
    play.run(87, 100)
    assert play.changes == [(30.0, 5), (45.0, 10), (60.0, 19)], "1, then + 4, x 2, the cap"


def test_keda_keeps_what_is_within_the_tolerance() -> None:
    play = Play(Keda(cap=19, queue_length=5.0))
    assert play.run(120, 50) == 10
    assert play.run(600, 54) == 10, "1.08 of the target"
    assert play.run(60, 56) == 12


def test_keda_goes_in_after_five_minutes_and_to_zero_after_its_cooldown() -> None:
    play = Play(Keda(cap=19))
    play.run(120, 50)
    began = play.now
    assert play.run(285, 1) == 10
    assert play.run(30, 1) == 1, "the highest recommendation of 300 s has passed"
    assert play.run(270, 0) == 1
    assert play.run(60, 0) == 0
    assert began == 120.0


def test_cortex_grows_by_half_once_a_minute() -> None:
    play = Play(Cortex(cap=19, window=10.0))
    play.run(600, 19)
    times, counts = zip(*play.changes, strict=True)
    assert times[0] >= 60.0, "no step before the period has passed once"
    assert counts == (1, 2, 3, 5, 8, 12, 18, 19)
    assert all(later - earlier >= 60.0 for earlier, later in itertools.pairwise(times))


def test_cortex_holds_within_five_percent_and_shrinks_to_three_quarters() -> None:
    play = Play(Cortex(cap=99, target=1.0, window=10.0, upscale_stabilization=0.0, max_upscale=100.0,
                       downscale_stabilization=0.0))
    assert play.run(60, 40) == 40
    assert play.run(60, 39) == 40, "2.5 % below"
    play.changes.clear()
    play.run(30, 0)
    assert [count for _, count in play.changes] == [30, 23, 18]


def test_cortex_averages_its_window() -> None:
    play = Play(Cortex(cap=99, window=60.0, upscale_stabilization=0.0, max_upscale=100.0))
    play.run(63, 0)
    play.run(21, 60)
    assert play.changes == [(72.0, 1), (81.0, 20)], "two of six counts are 60"


def test_ray_wakes_at_once_and_waits_its_delays() -> None:
    play = Play(RayServe(cap=19, target=2.0))
    play.run(3, 0)
    play.run(90, 20)
    assert play.changes[0] == (3.0, 1)
    assert play.changes[1][0] >= 3.0 + BOOT + 30.0, "30 s of wanting more, from the first that runs"
    assert play.run(300, 20) == 10
    began = play.now
    assert play.run(594, 0) == 10
    assert play.run(60, 0) == 1, "to zero only from one"
    assert play.run(660, 0) == 0
    assert began == 393.0


# -- the register -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", policies.POLICIES)
def test_every_policy_serves_a_small_trace_within_the_cap(name: str) -> None:
    world = World(cap=5)
    arrivals = traces.draw(traces.coursework(3, duration=1800.0), 1)[:400]
    run = engine.simulate(arrivals, policies.make(name, policies.Setting(world=world)), world, 1)
    assert run.controller == name
    assert (run.unserved, run.busy_kills) == (0, 0)
    assert (run.ready + run.booting).max() <= 5


@pytest.mark.parametrize("name", policies.POLICIES)
def test_every_value_of_a_grid_builds(name: str) -> None:
    grid = policies.POLICIES[name].grid()
    assert grid
    for changed in grid:
        policies.make(name, policies.Setting(), **changed)


def test_the_fixed_fleet_is_for_the_peak_and_the_aws_target_for_the_wait() -> None:
    setting = policies.Setting(world=World(service_seconds=0.5), wait=30.0, peak=9.0)
    assert policies.make("fixed", setting).count == 5
    assert policies.make("aws-target-tracking", setting).target == 60.0
