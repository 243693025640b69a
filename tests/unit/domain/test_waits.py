"""Waits as they are told, against what then happens."""

from __future__ import annotations

import heapq
import math
import random
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from irs.domain import waits
from irs.domain.policies import fleet as fleets
from irs.domain.scaling import Action, Observation, Policy
from irs.domain.waits import Outlook
from irs.simulate.controllers import PolicyController
from irs.simulate.engine import simulate
from irs.simulate.run import EPOCH
from irs.simulate.world import World

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("says", "position", "fleet", "wait"), [
    ("nobody works and nobody will", 5, {"running": 0, "booting": ()}, None),
    ("the next one, at an idle instance", 1, {"running": 1, "booting": ()}, 1),
    ("the next one, behind one in hand", 1, {"running": 1, "booting": (), "in_flight": 1}, 3),
    ("ten behind one another", 10, {"running": 1, "booting": ()}, 19),
    ("ten at five instances", 10, {"running": 5, "booting": ()}, 3.8),
    ("in hand, with nobody else", 0, {"running": 1, "booting": (), "in_flight": 1}, 1),
    ("one of sixteen in hand", 0, {"running": 1, "booting": (), "in_flight": 16}, 16),
    ("counted too late, and nobody is there", 0, {"running": 0, "booting": (30.0,)}, 32),
    ("nobody but one that boots", 1, {"running": 0, "booting": (30.0,)}, 32),
    ("four at one that boots", 4, {"running": 0, "booting": (30.0,)}, 38),
    ("the order of boots does not matter", 4, {"running": 0, "booting": (90.0, 30.0)}, 38),
    ("far more than one can do until the other is there", 100, {"running": 1, "booting": (50.0,)}, 125),
    ("a boot that comes too late to matter", 10, {"running": 1, "booting": (50.0,)}, 19),
    ("one that is overdue counts as there", 1, {"running": 0, "booting": (-5.0,)}, 2),
    ("a tenth of an instance", 10, {"running": 0.1, "booting": ()}, 190),
])
def test_waits(says: str, position: int, fleet: dict[str, Any], wait: float | None) -> None:
    assert waits.seconds(position, service=2.0, **fleet) == (wait and pytest.approx(wait)), says


def test_a_wait_grows_with_the_queue_and_shrinks_with_the_fleet() -> None:
    told = [waits.seconds(p, running=2, booting=(10, 20), service=1.0) for p in range(1, 200)]
    assert told == sorted(told)
    assert all(waits.seconds(p, running=2, booting=(10, 20, 15), service=1.0) <= before
               for p, before in enumerate(told, 1))


# -- what the scaler tells -------------------------------------------------------------------
DECISION: dict[str, Any] = {
    "at": NOW.isoformat(), "ready": 2, "booting": [4.0, 30.0], "service_seconds": 0.5, "in_flight": 3}


def test_boots_go_on_since_it_was_told() -> None:
    assert Outlook.of(DECISION, NOW + timedelta(seconds=10)) == Outlook(
        running=2, booting=(0.0, 20.0), service=0.5, in_flight=3)


@pytest.mark.parametrize("off", [61, -61, 3_000_000])
def test_an_old_decision_tells_nothing(off: float) -> None:
    assert Outlook.of(DECISION, NOW + timedelta(seconds=off)) is None
    assert Outlook.of(DECISION, NOW + timedelta(seconds=off), stale=4e6) is not None


@pytest.mark.parametrize("changes", [
    {"at": None}, {"at": "noon"}, {"at": "2026-01-01T12:00:00"}, {"ready": None}, {"booting": None},
    {"booting": ["x"]}, {"in_flight": "many"}, {"booting": [math.inf]}, {"booting": [math.nan]},
    {"service_seconds": math.nan}, {"service_seconds": -1}, {"ready": math.inf}, {"ready": -1},
    {"booting": 7}])
def test_what_is_no_decision_tells_nothing(changes: dict[str, Any]) -> None:
    assert Outlook.of(DECISION | changes, NOW) is None
    assert Outlook.of({}, NOW) is None


def test_without_a_measurement_the_scalers_own_assumption() -> None:
    outlook = Outlook.of(DECISION | {"service_seconds": None}, NOW)
    assert outlook is not None
    assert outlook.service == Policy().service_seconds


# -- against what then happens ---------------------------------------------------------------
def _happens(rng: random.Random, position: int, running: int, booting: list[float],
             service: float) -> float:
    """One queue, image by image: seconds until the one at ``position`` is done."""
    def one() -> float:  # half of the mean's spread
        return service * rng.lognormvariate(-0.11, 0.47)

    free = [rng.random() * one() for _ in range(running)]
    free += [ready * rng.lognormvariate(0, 0.2) for ready in booting]
    heapq.heapify(free)
    for _ in range(position):
        done = heapq.heappop(free) + one()
        heapq.heappush(free, done)
    return done


def _ratios(count: int, **most: int) -> list[float]:
    ratios = []
    for seed in range(count):
        rng = random.Random(seed)
        running, boots = rng.randint(0, most["running"]), rng.randint(1, most["booting"])
        service = rng.uniform(0.05, 3)
        position = rng.randint(1, most["position"])
        booting = [rng.uniform(1, 60) for _ in range(boots)]
        told = waits.seconds(position, running=running, booting=booting, service=service, in_flight=running)
        assert told is not None
        ratios.append(told / _happens(rng, position, running, booting, service))
    return ratios


@pytest.mark.parametrize("most", [
    {"running": 0, "booting": 19, "position": 200},
    {"running": 19, "booting": 19, "position": 2000},
    {"running": 3, "booting": 3, "position": 30},
], ids=["a cold fleet", "a large one", "a small one"])
def test_estimates_come_true(most: dict[str, int]) -> None:
    ratios = _ratios(400, **most)
    assert statistics.median(ratios) == pytest.approx(1, abs=0.1)
    assert statistics.median(abs(math.log(r)) for r in ratios) < math.log(1.25)
    early, late = sum(r < 0.8 for r in ratios), sum(r > 1.25 for r in ratios)
    assert abs(early - late) < 0.15 * len(ratios), "as often too early as too late"


class _Tells:
    """The service's own rule, and at each round what a client that came now would be told."""

    name = "predictive"
    drains = True

    def __init__(self) -> None:
        self._rule = PolicyController()
        #: (seconds since the run's begin, seconds until its result)
        self.told: list[tuple[float, float]] = []

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        actions = self._rule.tick(seen)
        launch = sum(getattr(action, "count", 0) for action in actions)
        boot = seen.boot_seconds or Policy().boot_seconds
        fleet = fleets.sort(seen.fleet, seen.now.timestamp(), boot)
        wait = waits.seconds(
            seen.visible, running=len(fleet.serving), booting=(*fleet.booting, *[boot] * launch),
            service=seen.service_seconds or 1.0, in_flight=seen.in_flight)
        if seen.visible and wait is not None:
            self.told.append(((seen.now - EPOCH).total_seconds(), wait))
        return actions


@pytest.mark.parametrize("lag", [0.0, 12.0])
def test_estimates_come_true_under_the_services_own_scaler(lag: float) -> None:
    """Bursts upon a fleet that the scaler grows from nothing: whoever waits then is told the truth."""
    world = World(service_seconds=1.0, service_cv=0.5, reports=True, metric_lag=lag)
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        bursts = [np.sort(begin + rng.uniform(0, 20, int(rng.integers(40, 400)))) for begin in (5.0, 600.0)]
        arrivals = np.concatenate(bursts)
        rule = _Tells()
        run = simulate(arrivals, rule, world, seed=seed)
        for at, told in rule.told:
            last = int(np.searchsorted(arrivals, at, side="right")) - 1
            came = run.waits[last] + world.service_seconds - (at - arrivals[last])
            if last >= 0 and came > 2:
                ratios.append(told / came)
    assert len(ratios) > 300
    assert statistics.median(ratios) == pytest.approx(1, abs=0.15)
    assert statistics.median(abs(math.log(r)) for r in ratios) < math.log(1.25)
