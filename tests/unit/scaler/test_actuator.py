"""Launches are neither doubled nor forgotten, whatever EC2 answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain.journal import Journal
from irs.domain.observing import Report
from irs.domain.scaling import Launch, Terminate
from irs.scaler import ending, launches, ledger, pools
from irs.scaler.actuator import Actuator
from irs.testing import FakeClock, FaultPlan, MemoryFleet


class Rig:
    """An actuator on a fleet in memory; `launch` is one tick that wants so many."""

    def __init__(self, *, plan: FaultPlan | None = None, epoch: str = "e",
                 settings: dict[str, Any] | None = None, **fleet: Any) -> None:
        self.clock = FakeClock()
        self.settings = settings_module.build(settings)
        self.journal = Journal()
        self.no_record: errors.IRSError | None = None
        self.reports: dict[str, Report] = {}
        self.ec2 = MemoryFleet(clock=self.clock, **fleet)
        self.plan = plan or FaultPlan()
        self.ticks = 0
        self.new_actuator(epoch)

    def new_actuator(self, epoch: str, journal: Journal | None = None) -> None:
        """Another life, which knows what is in ``journal``."""
        self.actuator = Actuator(self.settings, self.plan.wrap(self.ec2), epoch=epoch,
                                 journal=journal, record=self.record)

    def record(self) -> None:
        """As the scaler does: what is noted survives it."""
        if self.no_record:
            raise self.no_record
        self.journal = Journal.from_json(Journal(epoch=1, holder="h", **self.actuator.noted()).to_json())

    def seen(self) -> list[str]:
        return [view.name for view in self.actuator.fleet(self.clock.now(), self.reports) if view.active]

    def end(self, *ids: str) -> None:
        self.actuator.act((Terminate(ids=ids, reason=""),), tick=self.ticks, now=self.clock.now())
        self.ticks += 1

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
    rig.clock.advance(ledger.UNSEEN - 1)
    assert rig.seen() == names(1)
    rig.clock.advance(1)
    assert rig.seen() == names(1), "missed for the first time"
    assert rig.seen() == []


def test_one_empty_describe_does_not_end_a_fleet_and_two_do() -> None:
    rig = Rig()
    rig.launch(3)
    rig.clock.advance(ledger.UNSEEN)
    assert rig.seen() == names(1, 2, 3)
    rig.ec2.blind = 1
    assert rig.seen() == names(1, 2, 3)
    assert rig.seen() == names(1, 2, 3)
    rig.ec2.blind = 2
    assert rig.seen() == names(1, 2, 3)
    assert rig.seen() == []


@pytest.mark.parametrize("shutdown", [0, 30])
@pytest.mark.parametrize("after", [0, 100])
def test_an_instance_that_ended_otherwise_is_gone_at_once(shutdown: float, after: float) -> None:
    """Whether EC2 shows it as terminated or as ending, and however lately it reported or was ours."""
    rig = Rig(shutdown=shutdown)
    rig.launch(2)
    assert rig.seen() == names(1, 2)
    rig.clock.advance(after)
    (first, second) = rig.ec2.describe()
    rig.reports = {first.id: report(first.id, rig)}
    rig.ec2.terminate([first.id])
    assert rig.seen() == names(2)
    assert {v.id: v.state for v in rig.actuator.views(rig.clock.now())} == {
        first.id: "shutting-down" if shutdown else "terminated", second.id: "running"}
    rig.launch(1)
    assert rig.real() == (names(2, 3) if shutdown else names(1, 2)), "a terminated one's name is free"
    rig.clock.advance(60)
    rig.seen()
    assert first.id not in rig.actuator.ledger.entries


def test_an_end_that_ec2_tells_late_is_waited_for() -> None:
    rig = Rig(lag=10)
    rig.launch(1)
    rig.clock.advance(40)
    assert rig.seen() == names(1)
    rig.ec2.terminate([rig.ec2.describe()[0].id])
    assert rig.seen() == names(1), "the answer is from before"
    rig.clock.advance(10)
    assert rig.seen() == []


def test_an_ec2_that_forgets_the_ended_is_believed_with_the_second_look(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS does after an hour, should the scaler have been away for so long."""
    rig = Rig()
    rig.launch(1)
    assert rig.seen() == names(1)
    rig.ec2.terminate([rig.ec2.describe()[0].id])
    monkeypatch.setattr(rig.ec2, "ended", lambda ids: frozenset())
    assert rig.seen() == names(1)
    assert rig.seen() == []


def test_the_ended_are_asked_for_only_when_one_is_missing() -> None:
    rig = Rig()
    rig.launch(2)
    for _ in range(5):
        rig.seen()
    assert rig.plan.calls["ended"] == 0
    rig.ec2.terminate([rig.ec2.describe()[0].id])
    rig.seen()
    assert rig.plan.calls["ended"] == 1
    rig.seen()
    assert rig.plan.calls["ended"] == 1


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
    assert rig.seen() == names(1), "so it counts as an instance that boots"
    rig.launch(0)
    assert rig.plan.calls["launch"] == 2, "and is called again, whatever is decided meanwhile"
    assert rig.real() == names(1), "the repeat returned the first"
    assert rig.seen() == names(1)
    rig.launch(1)
    assert rig.real() == names(1, 2)


def test_a_call_that_did_not_arrive_is_repeated() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.Throttled("slow down")))
    rig.launch(2)
    assert rig.real() == [], "the rest of a throttled tick waits as well"
    assert rig.seen() == names(1, 2)
    rig.launch(0)
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
    rig.launch(0)
    assert rig.real() == []
    assert rig.seen() == []
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
    rig.clock.advance(pools.BACKOFF_FIRST)
    assert not rig.actuator.waits(rig.clock.now()), "after a success it begins anew"


def test_a_launch_that_will_never_work_is_not_remembered() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.AccessDenied("no")))
    rig.launch(1)
    rig.launch(1)
    assert rig.real() == [], "not each round: a refusal is a call as well"
    rig.clock.advance(pools.BACKOFF_FIRST)
    rig.launch(1)
    assert rig.real() == names(1)


def test_a_termination_that_fails_is_left_to_the_next_tick() -> None:
    rig = Rig(plan=FaultPlan().fail("terminate", 1, errors.Throttled("slow down")))
    rig.launch(1)
    ids = tuple(i.id for i in rig.ec2.describe())
    rig.end(*ids)
    assert rig.seen() == names(1)
    assert [v.draining for v in rig.actuator.views(rig.clock.now())] == [True]
    rig.launch(0)
    assert rig.real() == [], "it was decided once, and is carried out"


def test_tokens_depend_on_cluster_epoch_tick_and_slot() -> None:
    tokens: list[str] = []

    class Recorder(MemoryFleet):
        def launch(self, name: str, *, token: str, **more: Any) -> Any:
            tokens.append(token)
            return super().launch(name, token=token, **more)

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


# -- killed on the way ------------------------------------------------------------------------
class Killed(BaseException):
    """The process is gone: nothing after it runs, no handler catches it."""


@pytest.mark.parametrize(("after", "there"), [(False, []), (True, names(1))],
                         ids=["before the call", "after the call"])
@pytest.mark.parametrize("lag", [0, 20])
def test_killed_between_the_record_and_the_launch(after: bool, there: list[str], lag: float) -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, Killed(), after=after), lag=lag)
    with pytest.raises(Killed):
        rig.launch(2)
    assert rig.real() == there
    rig.new_actuator("another life", rig.journal)
    assert rig.seen() == names(1, 2), "not forgotten"
    rig.launch(0)
    assert rig.real() == names(1, 2), "and not doubled"
    rig.clock.advance(25)
    assert rig.seen() == names(1, 2)


def test_killed_before_the_record_is_as_if_nothing_had_been_decided() -> None:
    rig = Rig()
    rig.no_record = errors.Unreachable("timeout")
    with pytest.raises(errors.Unreachable):
        rig.launch(2)
    assert rig.plan.calls["launch"] == 0
    rig.no_record = None
    rig.new_actuator("another life", rig.journal)
    rig.launch(2)
    assert rig.real() == names(1, 2)


def test_killed_after_the_launch_and_before_it_was_noted() -> None:
    rig = Rig(lag=20)
    rig.launch(2)
    assert len(rig.journal.intents) == 2, "noted before the call, and not since"
    rig.new_actuator("another life", rig.journal)
    rig.launch(0)
    assert rig.real() == names(1, 2)
    assert rig.seen() == names(1, 2)
    assert not rig.actuator.noted()["intents"]


def test_a_successor_remembers_the_fleet_while_describe_shows_nothing() -> None:
    rig = Rig()
    rig.launch(3)
    rig.seen()
    rig.record()
    rig.ec2.blind = 1
    rig.new_actuator("another life", rig.journal)
    assert rig.seen() == names(1, 2, 3)
    assert rig.seen() == names(1, 2, 3)


def test_an_old_intent_is_given_up_once_it_is_known_that_nothing_came_of_it() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, errors.Throttled("slow down")))
    rig.launch(1)
    rig.clock.advance(launches.INTENT_LIFE.total_seconds() + 1)
    rig.new_actuator("another life", rig.journal)
    assert rig.seen() == names(1)
    rig.launch(0)
    assert rig.real() == [], "too late to be called"
    assert rig.seen() == []


def test_settings_that_changed_since_do_not_launch_it_again() -> None:
    rig = Rig(lag=20)
    rig.launch(1)
    rig.settings = settings_module.build({"model": "resnet18"})
    rig.new_actuator("another life", rig.journal)
    rig.launch(0)
    assert rig.real() == names(1), "the token was used with other parameters: it is there"
    assert rig.seen() == names(1)
    rig.clock.advance(25)
    assert rig.seen() == names(1)


def test_a_holder_whose_lease_runs_out_stops_in_the_middle() -> None:
    rig = Rig()
    held = iter([True, True, False])
    rig.actuator = Actuator(rig.settings, rig.ec2, epoch="e", record=rig.record,
                            held=lambda: next(held))
    rig.launch(5)
    assert rig.real() == names(1, 2)
    rig.new_actuator("its successor", rig.journal)
    rig.launch(0)
    assert rig.real() == names(1, 2, 3, 4, 5)


# -- limits ---------------------------------------------------------------------------------
def test_never_above_the_maximum_whatever_is_decided() -> None:
    rig = Rig(settings={"max_instances": 3}, lag=20)
    rig.launch(2)
    rig.launch(100)
    assert rig.real() == names(1, 2, 3)
    rig.launch(1)
    assert rig.real() == names(1, 2, 3)


def test_a_fresh_report_proves_life_that_describe_denies() -> None:
    rig = Rig()
    rig.launch(1)
    (seen,) = rig.ec2.describe()
    rig.seen()
    rig.clock.advance(100)
    rig.reports = {seen.id: report(seen.id, rig)}
    rig.ec2.blind = 5
    assert [rig.seen() for _ in range(4)] == [names(1)] * 4
    rig.clock.advance(ledger.ALIVE)
    assert rig.seen() == names(1)
    rig.ec2.blind = 2
    assert rig.seen() == []


def report(instance: str, rig: Rig, **more: Any) -> Report:
    now = rig.clock.now()
    return Report(instance=instance, at=now, started_at=now, ready_at=now, **more)


# -- pools ----------------------------------------------------------------------------------
def test_the_next_pool_is_tried_in_the_same_tick() -> None:
    rig = Rig(settings={"instance_types": ("c6i.large",), "subnet_ids": ("subnet-a", "subnet-b")})
    rig.ec2.capacities = {("c7i.large", "subnet-a"): 0, ("c7i.large", "subnet-b"): 1}
    rig.launch(3)
    assert rig.real() == names(1, 2, 3)
    assert sorted(i.type for i in rig.ec2.actual()) == ["c6i.large", "c6i.large", "c7i.large"]
    # Within its pause an exhausted pool is not asked again.
    before = rig.plan.calls["launch"]
    rig.launch(1)
    assert rig.plan.calls["launch"] == before + 1


def test_without_any_pool_nothing_is_left_hanging() -> None:
    rig = Rig(settings={"instance_types": ("c6i.large",)}, capacity=0)
    rig.launch(3)
    assert rig.actuator.waits(rig.clock.now())
    assert rig.seen() == []
    assert not rig.actuator.noted()["intents"]


@pytest.mark.parametrize("refusal", [errors.NoCapacity("none"), errors.AccessDenied("no")])
def test_one_refusal_of_a_pool_ends_its_calls_for_that_tick(refusal: errors.CloudError) -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 1, refusal))
    rig.launch(5)
    assert rig.plan.calls["launch"] == 1
    assert rig.real() == []
    assert not rig.actuator.noted()["intents"]


def test_a_launch_that_may_have_happened_is_called_in_a_pool_that_has_refused() -> None:
    rig = Rig(settings={"instance_types": ("c6i.large",)}, lag=20)
    rig.launch(2)
    first, second = rig.journal.intents
    rig.ec2.capacities = {"c7i.large": 2}
    uncalled = replace(first, name="AppTier-Instance-3", origin="e/1/0")
    rig.new_actuator("another life", replace(rig.journal, intents=(uncalled, second)))
    rig.launch(0)
    assert rig.real() == names(1, 2, 3), "the second was there, and is not launched again elsewhere"
    assert rig.plan.calls["launch"] == 5, "two, a refusal, a repeat and another pool"


def test_another_pool_is_noted_before_it_is_called() -> None:
    rig = Rig(settings={"instance_types": ("c6i.large",)},
              plan=FaultPlan().fail("launch", 2, Killed(), after=True), lag=20)
    rig.ec2.capacities = {"c7i.large": 0}
    with pytest.raises(Killed):
        rig.launch(1)
    assert rig.real() == names(1)
    rig.ec2.capacities = {}
    rig.new_actuator("another life", rig.journal)
    rig.launch(0)
    assert rig.real() == names(1), "also now that the first pool has capacity again"


def test_subnets_are_used_in_turn() -> None:
    rig = Rig(settings={"subnet_ids": ("subnet-a", "subnet-b")})
    rig.launch(4)
    machines = rig.ec2._machines.values()
    assert sorted(m.subnet for m in machines) == ["subnet-a"] * 2 + ["subnet-b"] * 2


# -- warm pool ------------------------------------------------------------------------------
def test_a_warm_pool_is_filled_by_stopping_and_used_first() -> None:
    rig = Rig(settings={"warm_pool": 2})
    rig.launch(4)
    rig.seen()
    ids = [i.id for i in rig.ec2.describe()]
    rig.end(*ids[:3])
    states = {i.name: i.state for i in rig.ec2.describe()}
    assert sorted(states.values()) == ["running", "stopped", "stopped"]
    assert rig.seen() == names(4)
    rig.launch(3)
    assert rig.plan.calls["start"] == 1
    assert len(rig.real()) == 4
    assert rig.ec2.launched == names(1, 2, 3, 4, 3), "two were started and one was launched"
    assert len(rig.seen()) == 4


# -- preparing it --------------------------------------------------------------------------
class Quiet(Rig):
    """Nothing waits; each instance reports ``boots`` seconds after its launch (None: never)."""

    def __init__(self, *, boots: float | None = 30, **more: Any) -> None:
        self.boots = boots
        super().__init__(**more)

    def quiet(self, rounds: int = 1, *, launch: int = 0, quiet: bool = True) -> None:
        for _ in range(rounds):
            now = self.clock.now()
            for each in self.ec2.actual():
                if self.boots is not None and (now - each.launched_at).total_seconds() >= self.boots:
                    self.reports[each.id] = report(each.id, self)
            self.seen()
            self.actuator.act((Launch(count=launch, reason=""),) if launch else (),
                              tick=self.ticks, now=now, quiet=quiet)
            self.ticks += 1
            self.clock.advance(3)

    def states(self) -> list[str]:
        return sorted(i.state for i in self.ec2.describe())


def test_an_idle_cluster_prepares_its_pool_one_at_a_time() -> None:
    rig = Quiet(settings={"warm_pool": 2})
    rig.quiet(5)
    assert rig.states() == ["running"], "one, until it is up"
    assert [v.draining for v in rig.actuator.views(rig.clock.now())] == [True], "nobody counts on it"
    rig.quiet(10)
    assert "stopped" in rig.states()
    rig.quiet(30)
    assert rig.states() == ["stopped", "stopped"]
    rig.quiet(30)
    assert rig.ec2.launched == names(1, 2), "and no more"
    rig.launch(2)
    assert rig.states() == ["running", "running"]
    assert rig.ec2.launched == names(1, 2)


@pytest.mark.parametrize(("settings", "before", "quiet", "capacity"), [
    ({"warm_pool": 0}, 0, True, None),
    ({"warm_pool": 1}, 0, False, None),
    ({"warm_pool": 1}, 1, True, None),
    ({"warm_pool": 1, "min_instances": 2, "max_instances": 2}, 2, True, None),
    ({"warm_pool": 1}, 0, True, 0),
], ids=["no pool", "messages wait", "above the minimum", "no room", "no capacity"])
def test_nothing_is_prepared(settings: dict[str, Any], before: int, quiet: bool,
                             capacity: int | None) -> None:
    rig = Quiet(settings=settings)
    if before:
        rig.launch(before)
    rig.ec2.capacity = capacity
    rig.quiet(40, quiet=quiet)
    assert rig.states() == ["running"] * before


def test_who_wants_an_instance_gets_the_one_that_is_being_prepared() -> None:
    rig = Quiet(settings={"warm_pool": 1, "max_instances": 2})
    rig.quiet(3)
    rig.quiet(1, launch=2, quiet=False)
    assert rig.real() == names(1, 2), "one more, not two, and the maximum is no obstacle"
    rig.quiet(20, quiet=False)
    assert rig.states() == ["running", "running"], "nobody stops it any more"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lag", [0, 20])
def test_killed_while_one_is_launched_for_the_pool(after: bool, lag: float) -> None:
    rig = Quiet(settings={"warm_pool": 1}, lag=lag,
                plan=FaultPlan().fail("launch", 1, Killed(), after=after))
    with pytest.raises(Killed):
        rig.quiet()
    rig.new_actuator("another life", rig.journal)
    rig.quiet(30)
    assert rig.states() == ["stopped"]
    assert rig.ec2.launched == names(1)


@pytest.mark.parametrize(("rounds", "noted"), [(1, False), (2, True), (6, True)])
def test_killed_between_the_launch_for_the_pool_and_its_stop(rounds: int, noted: bool) -> None:
    rig = Quiet(settings={"warm_pool": 1})
    rig.quiet(rounds)
    assert any(leave.once_ready for leave in rig.journal.leaving.values()) == noted
    rig.new_actuator("another life", rig.journal)
    rig.quiet(30)
    assert rig.states() == ["stopped"]
    assert rig.ec2.launched == names(1)


def test_killed_at_the_stop_into_the_pool() -> None:
    rig = Quiet(settings={"warm_pool": 1}, plan=FaultPlan().fail("stop", 1, Killed()))
    with pytest.raises(Killed):
        rig.quiet(30)
    rig.new_actuator("another life", rig.journal)
    rig.quiet(3)
    assert rig.states() == ["stopped"]


def test_one_that_does_not_come_up_is_ended_and_not_followed_by_another_for_a_while() -> None:
    rig = Quiet(settings={"warm_pool": 1, "boot_deadline": 60}, boots=None)
    rig.quiet(200)
    assert rig.states() == []
    assert len(rig.ec2.launched) == 1
    rig.boots = 30
    rig.quiet(100)
    assert rig.states() == ["stopped"], "after twelve deadlines"


def test_a_start_counts_although_describe_still_says_stopped() -> None:
    rig = Rig(settings={"warm_pool": 1, "max_instances": 1})
    rig.launch(1)
    (seen,) = rig.ec2.describe()
    rig.seen()
    rig.end(seen.id)
    rig.clock.advance(60)
    assert rig.seen() == []
    rig.ec2.lag = 20
    rig.launch(1)
    rig.clock.advance(3)
    assert [i.state for i in rig.ec2.describe()] == ["stopped"], "late"
    assert rig.seen() == names(1)
    rig.launch(1)
    assert rig.ec2.launched == names(1)
    assert rig.plan.calls["start"] == 1


def test_a_pool_that_cannot_be_started_is_passed_by() -> None:
    rig = Rig(settings={"warm_pool": 1}, plan=FaultPlan().fail("start", 1, errors.NoCapacity("none")))
    rig.launch(1)
    rig.seen()
    rig.end(rig.ec2.describe()[0].id)
    rig.seen()
    rig.launch(1)
    assert rig.real() == []
    rig.launch(1)
    assert rig.real() == names(2)


def test_stopped_instances_of_older_settings_are_not_started_but_ended() -> None:
    rig = Rig(settings={"warm_pool": 1})
    rig.launch(1)
    rig.seen()
    rig.end(rig.ec2.describe()[0].id)
    rig.settings = settings_module.build({"warm_pool": 1, "model": "resnet18"})
    rig.new_actuator("another life", rig.journal)
    rig.launch(1)
    assert rig.ec2.launched == names(1, 2)
    assert [i.name for i in rig.ec2.describe()] == names(2)


def test_without_a_warm_pool_stopped_instances_are_somebody_elses() -> None:
    rig = Rig()
    rig.launch(1)
    rig.ec2.stop([rig.ec2.describe()[0].id])
    rig.launch(1)
    rig.launch(1)
    assert sorted(i.state for i in rig.ec2.describe()) == ["running", "running", "stopped"]


# -- ends -----------------------------------------------------------------------------------
def test_one_unknown_id_does_not_keep_the_others() -> None:
    rig = Rig()
    rig.launch(2)
    first, second = (i.id for i in rig.ec2.describe())
    rig.seen()
    forgotten = rig.ec2._machines.pop(first)
    rig.end(first, second)
    assert rig.real() == []
    assert forgotten.name == "AppTier-Instance-1"
    assert rig.seen() == []


def test_an_instance_that_may_end_itself_is_left_to_do_so_for_a_while() -> None:
    rig = Rig()
    rig.launch(1)
    (seen,) = rig.ec2.describe()
    rig.seen()
    rig.actuator.end([seen.id], rig.clock.now(), itself=True)
    rig.launch(0)
    assert rig.journal.leaving[seen.id].itself
    assert rig.real() == names(1)
    rig.clock.advance(ending.OWN_WAY + 1)
    rig.actuator.endings.overdue(rig.clock.now())
    rig.launch(0)
    assert rig.real() == [], "it was done for it"


def test_a_permission_can_be_withdrawn() -> None:
    rig = Rig()
    rig.launch(1)
    (seen,) = rig.ec2.describe()
    rig.seen()
    rig.actuator.end([seen.id], rig.clock.now(), itself=True)
    rig.launch(0)
    rig.actuator.endings.withdraw(seen.id)
    rig.launch(0)
    assert rig.journal.leaving == {}
    rig.end(seen.id)
    rig.actuator.endings.withdraw(seen.id)
    assert rig.real() == [], "an order is no permission"
