"""How fast a worker is, from when its tasks begin and end."""

from __future__ import annotations

import pytest

from irs.testing import FakeClock
from irs.worker.meter import ENOUGH, HALF_LIFE, Meter


class Rig:
    def __init__(self, full: int = 4) -> None:
        self.clock = FakeClock()
        self.meter = Meter(full, clock=lambda: self.clock.now().timestamp())

    def one_by_one(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.meter.began()
            self.clock.advance(seconds)
            self.meter.ended(finished=True)

    def saturated(self, count: int, each: float, running: int = 6) -> None:
        """A new image begins whenever one ends."""
        for _ in range(running):
            self.meter.began()
        for _ in range(count):
            self.clock.advance(each)
            self.meter.ended(finished=True)
            self.meter.began()
        for _ in range(running):
            self.meter.ended(finished=False)


def test_too_few_images_are_no_measurement() -> None:
    rig = Rig()
    assert rig.meter.service_seconds is None
    rig.one_by_one(int(ENOUGH) - 1, 0.01)
    assert rig.meter.service_seconds is None


def test_one_at_a_time() -> None:
    rig = Rig()
    rig.one_by_one(30, 0.2)
    assert rig.meter.service_seconds == pytest.approx(0.2, rel=0.05)
    assert (rig.meter.done, rig.meter.running) == (30, 0)


def test_images_that_share_the_engine_count_each() -> None:
    rig = Rig()
    rig.saturated(200, 0.05)
    assert rig.meter.service_seconds == pytest.approx(0.05, rel=0.05)


def test_what_it_can_do_when_it_is_full_counts_more_than_what_it_does_else() -> None:
    rig = Rig()
    rig.saturated(200, 0.05)
    rig.one_by_one(20, 0.3)
    assert rig.meter.service_seconds == pytest.approx(0.05, rel=0.05)


def test_idle_time_counts_for_nothing() -> None:
    rig = Rig()
    rig.one_by_one(10, 0.2)
    rig.clock.advance(1000)
    rig.one_by_one(10, 0.2)
    assert rig.meter.service_seconds == pytest.approx(0.2, rel=0.05)


def test_a_change_shows_within_a_few_half_lives() -> None:
    rig = Rig()
    rig.saturated(2000, 0.1)
    rig.saturated(round(3 * HALF_LIFE / 0.3), 0.3)
    assert rig.meter.service_seconds == pytest.approx(0.3, rel=0.35)


def test_what_comes_again_is_not_done() -> None:
    rig = Rig()
    rig.meter.began()
    assert rig.meter.running == 1
    rig.meter.ended(finished=False)
    rig.meter.ended(finished=False)
    assert (rig.meter.running, rig.meter.done) == (0, 0)
