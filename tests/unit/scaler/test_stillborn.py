"""What ends before it has worked is launched again, but not each round."""

from __future__ import annotations

import itertools

import pytest

from irs.domain.observing import Report
from irs.domain.scaling import Launch
from irs.scaler.stillborn import MOST
from tests.unit.scaler.test_actuator import Rig


def _try(rig: Rig) -> str:
    """One round that wants one instance; its id, or nothing."""
    before = {i.id for i in rig.ec2.actual()}
    rig.seen()
    rig.actuator.act((Launch(count=1, reason=""),), tick=rig.ticks, now=rig.clock.now())
    rig.ticks += 1
    return next((i.id for i in rig.ec2.actual() if i.id not in before), "")


def _launches_in(rig: Rig, seconds: int) -> list[int]:
    """Seconds at which something was launched, where each one ends a second later."""
    found = []
    for second in range(seconds):
        if born := _try(rig):
            found.append(second)
            rig.clock.advance(0.5)
            rig.seen()
            rig.ec2.terminate([born])
            rig.clock.advance(0.5)
        else:
            rig.clock.advance(1)
    return found


def test_each_launch_after_the_second_waits_longer_up_to_a_minute() -> None:
    times = _launches_in(Rig(), 400)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[:6] == pytest.approx([1, 5, 9, 17, 33, 61], abs=1)
    assert max(gaps) <= MOST + 1
    assert len(times) < 13


def test_one_that_worked_later_begins_anew() -> None:
    rig = Rig()
    _launches_in(rig, 30)
    rig.clock.advance(MOST)
    born = _try(rig)
    rig.reports[born] = Report(
        instance=born, at=rig.clock.now(), started_at=rig.clock.now(), ready_at=rig.clock.now())
    rig.seen()
    rig.ec2.terminate([born])  # it has worked: not stillborn
    assert _launches_in(rig, 3)[0] <= 1


def test_one_that_lived_past_its_deadline_is_not_stillborn() -> None:
    rig = Rig(settings={"boot_deadline": 20})
    for _ in range(3):
        born = _try(rig)
        assert born, "launched at once"
        rig.seen()
        rig.clock.advance(21)
        rig.ec2.terminate([born])
        rig.clock.advance(1)


def test_what_the_scaler_ends_is_not_stillborn() -> None:
    rig = Rig()
    for _ in range(3):
        born = _try(rig)
        assert born, "launched at once"
        rig.seen()
        rig.end(born)
        rig.clock.advance(1)
