"""Launches are neither doubled nor forgotten, whatever EC2 answers."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain.scaling import Launch, Terminate
from irs.scaler import actuator as module
from irs.scaler.actuator import Actuator
from irs.testing import FakeClock, FaultPlan, MemoryFleet


class Rig:
    """An actuator on a fleet in memory; `launch` is one tick that wants so many."""

    def __init__(self, *, plan: FaultPlan | None = None, epoch: str = "e", **fleet: Any) -> None:
        self.clock = FakeClock()
        self.ec2 = MemoryFleet(clock=self.clock, **fleet)
        self.plan = plan or FaultPlan()
        self.ticks = 0
        self.new_actuator(epoch)

    def new_actuator(self, epoch: str) -> None:
        self.actuator = Actuator(settings_module.build(), self.plan.wrap(self.ec2), epoch=epoch)

    def seen(self) -> list[str]:
        return [view.name for view in self.actuator.fleet(self.clock.now()) if view.active]

    def launch(self, count: int = 1) -> None:
        self.seen()
        self.actuator.act((Launch(count=count, reason=""),), tick=self.ticks, now=self.clock.now())
        self.ticks += 1

    def real(self) -> list[str]:
        return sorted(i.name for i in self.ec2.actual())


def names(*numbers: int) -> list[str]:
    return [f"AppTier-Instance-{n}" for n in numbers]


def test_names_take_the_lowest_free_number() -> None:
    rig = Rig()
    rig.launch(3)
    assert rig.ec2.launched == names(1, 2, 3)
    second = next(i for i in rig.ec2.describe() if i.name == "AppTier-Instance-2")
    rig.actuator.act((Terminate(ids=(second.id,), reason=""),), tick=1, now=rig.clock.now())
    rig.launch(2)
    assert rig.ec2.launched[3:] == names(2, 4)


def test_a_stopped_instance_keeps_its_name() -> None:
    rig = Rig()
    rig.launch(1)
    rig.ec2.stop([rig.ec2.describe()[0].id])
    rig.launch(1)
    assert rig.ec2.launched == names(1, 2)


def test_a_launch_counts_although_describe_does_not_show_it_yet() -> None:
    rig = Rig(lag=20)
    rig.launch(2)
    assert rig.ec2.describe() == []
    assert rig.seen() == names(1, 2)
    rig.launch(1)
    assert rig.real() == names(1, 2, 3)
    rig.clock.advance(25)
    assert rig.seen() == names(1, 2, 3), "described now, and counted once"


def test_a_launch_that_never_shows_up_is_forgotten_after_a_while() -> None:
    rig = Rig(lag=10_000)
    rig.launch(1)
    rig.clock.advance(module.UNSEEN - 1)
    assert rig.seen() == names(1)
    rig.clock.advance(1)
    assert rig.seen() == []


def test_one_empty_describe_does_not_end_a_fleet_and_two_do() -> None:
    rig = Rig()
    rig.launch(3)
    rig.clock.advance(module.UNSEEN)
    assert rig.seen() == names(1, 2, 3)
    rig.ec2.blind = 1
    assert rig.seen() == names(1, 2, 3)
    assert rig.seen() == names(1, 2, 3)
    rig.ec2.blind = 2
    assert rig.seen() == names(1, 2, 3)
    assert rig.seen() == []


def test_an_instance_that_ended_itself_is_gone_with_the_second_look() -> None:
    rig = Rig()
    rig.launch(1)
    assert rig.seen() == names(1)
    rig.ec2.terminate([rig.ec2.describe()[0].id])
    assert rig.seen() == names(1)
    assert rig.seen() == []


def test_our_own_termination_is_believed_at_once() -> None:
    rig = Rig()
    rig.launch(2)
    assert rig.seen() == names(1, 2)
    first = rig.ec2.describe()[0].id
    rig.actuator.act((Terminate(ids=(first,), reason=""),), tick=1, now=rig.clock.now())
    assert rig.seen() == names(2)


def test_a_lost_answer_is_not_a_second_instance() -> None:
    lost = errors.Unreachable("timeout")
    rig = Rig(plan=FaultPlan().fail("launch", 1, lost, after=True), lag=20)
    rig.launch(1)
    assert rig.real() == names(1), "it happened, and nobody knows"
    assert rig.seen() == []
    rig.launch(1)
    assert rig.real() == names(1), "the repeat returned the first"
    assert rig.seen() == names(1)
    rig.launch(1)
    assert rig.real() == names(1, 2)


def test_a_call_that_did_not_arrive_is_repeated() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.Throttled("slow down")))
    rig.launch(2)
    assert rig.real() == [], "the rest of a throttled tick waits as well"
    rig.launch(2)
    assert rig.real() == names(1, 2)


def test_a_lost_answer_that_describe_answers_is_settled() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.Unreachable("timeout"), after=True))
    rig.launch(1)
    rig.launch(1)
    assert rig.real() == names(1, 2), "the first was seen by its name; this is a new one"


def test_a_repeat_that_finds_its_instance_ended_starts_anew() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.Unreachable("timeout"), after=True), lag=20)
    rig.launch(1)
    rig.ec2.terminate([rig.ec2.actual()[0].id])
    rig.launch(1)
    assert rig.real() == []
    rig.launch(1)
    assert rig.real() == names(1)


def test_no_lost_answer_ever_breaks_the_maximum() -> None:
    plan = FaultPlan(seed=5)
    plan.fail_randomly("launch", 0.4, errors.Unreachable("timeout"), after=True)
    plan.fail_randomly("launch", 0.3, errors.Throttled("slow down"))
    rig = Rig(plan=plan, lag=15)
    for _ in range(100):
        wanted = 5 - len(rig.seen())
        rig.actuator.act((Launch(count=wanted, reason=""),) if wanted else (),
                         tick=rig.ticks, now=rig.clock.now())
        rig.ticks += 1
        assert len(rig.ec2.actual()) <= 5
        rig.clock.advance(3)
    assert len(rig.ec2.actual()) == 5
    assert plan.calls["launch"] > 5, "the plan did strike"


def test_capacity_errors_back_off_exponentially_and_recover() -> None:
    rig = Rig(capacity=0)
    waited = []
    for _ in range(8):
        rig.launch(1)
        before = rig.clock.now()
        while rig.actuator.waits(rig.clock.now()):
            rig.launch(1)
            rig.clock.advance(1)
        waited.append((rig.clock.now() - before).total_seconds())
    assert waited == [6, 12, 24, 48, 96, 192, 300, 300]
    assert rig.plan.calls["launch"] == 8, "no call while it waits"
    rig.ec2.capacity = 1
    rig.launch(1)
    assert rig.real() == names(1)
    rig.launch(1)
    assert rig.actuator.waits(rig.clock.now())
    rig.clock.advance(module.BACKOFF_FIRST)
    assert not rig.actuator.waits(rig.clock.now()), "after a success it begins anew"


def test_a_launch_that_will_never_work_is_not_remembered() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.AccessDenied("no")))
    rig.launch(1)
    rig.launch(1)
    assert rig.real() == names(1)


def test_a_termination_that_fails_is_left_to_the_next_tick() -> None:
    rig = Rig(plan=FaultPlan().fail("terminate", 1, errors.Throttled("slow down")))
    rig.launch(1)
    ids = tuple(i.id for i in rig.ec2.describe())
    rig.actuator.act((Terminate(ids=ids, reason=""),), tick=1, now=rig.clock.now())
    assert rig.seen() == names(1)
    rig.actuator.act((Terminate(ids=ids, reason=""),), tick=2, now=rig.clock.now())
    assert rig.real() == []


def test_tokens_depend_on_cluster_epoch_tick_and_slot() -> None:
    tokens: list[str] = []

    class Recorder(MemoryFleet):
        def launch(self, name: str, *, token: str, user_data: str) -> Any:
            tokens.append(token)
            return super().launch(name, token=token, user_data=user_data)

    def launch(epoch: str, tick: int, **changes: Any) -> None:
        clock = FakeClock()
        actuator = Actuator(settings_module.build(changes), Recorder(clock=clock), epoch=epoch)
        actuator.fleet(clock.now())
        actuator.act((Launch(count=2, reason=""),), tick=tick, now=clock.now())

    launch("e", 0)
    launch("e", 0)
    assert tokens[:2] == tokens[2:], "deterministic"
    launch("f", 0)
    launch("e", 1)
    launch("e", 0, cluster="other")
    assert len(set(tokens[2:])) == 8
    assert all(len(token) == 64 and int(token, 16) for token in tokens)


@pytest.mark.parametrize("state", ["pending", "running"])
def test_instances_that_nobody_remembers_are_adopted(state: str) -> None:
    rig = Rig(boot=100 if state == "pending" else 0)
    rig.launch(2)
    rig.new_actuator("another life")
    assert rig.seen() == names(1, 2)
    rig.launch(1)
    assert rig.real() == names(1, 2, 3)
