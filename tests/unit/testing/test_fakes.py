"""What the fakes add to their ports: time by hand, faults on order, trouble on request."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

from irs import errors
from irs.testing import FakeClock, FaultPlan, MemoryFleet, MemoryQueue, SystemClock


class Echo:
    """A port of one method."""

    def __init__(self) -> None:
        self.name = "echo"
        self.heard: list[int] = []

    def say(self, number: int) -> int:
        self.heard.append(number)
        return number


def outcomes(port: Any, count: int) -> list[Any]:
    found: list[Any] = []
    for number in range(count):
        try:
            found.append(port.say(number))
        except errors.CloudError as exc:
            found.append(str(exc))
    return found


def test_the_nth_call_fails_and_did_not_happen() -> None:
    echo, plan = Echo(), FaultPlan().fail("say", 2, errors.Throttled("slow"))
    assert outcomes(plan.wrap(echo), 3) == [0, "slow", 2]
    assert echo.heard == [0, 2]
    assert plan.calls["say"] == 3


def test_a_lost_answer_did_happen() -> None:
    echo, plan = Echo(), FaultPlan().fail("say", 2, errors.Unreachable("timeout"), after=True)
    assert outcomes(plan.wrap(echo), 3) == [0, "timeout", 2]
    assert echo.heard == [0, 1, 2]


def test_chance_is_repeatable_and_differs_by_seed() -> None:
    def run(seed: int) -> list[Any]:
        return outcomes(FaultPlan(seed).fail_randomly("say", 0.3, errors.Throttled("x")).wrap(Echo()), 100)

    assert run(1) == run(1) != run(2)
    assert 15 < run(1).count("x") < 45


def test_what_is_no_call_passes_through() -> None:
    assert FaultPlan().wrap(Echo()).name == "echo"


def test_a_fake_clock_moves_only_by_hand_and_forward() -> None:
    clock = FakeClock()
    before = clock.now()
    assert clock.now() == before
    clock.advance(1.5)
    assert (clock.now() - before).total_seconds() == 1.5
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="naive"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake in question


@pytest.mark.parametrize("prepare", ["nothing", "hidden"])
def test_a_long_poll_on_the_system_clock_waits_for_a_message(prepare: str) -> None:
    queue = MemoryQueue(clock=SystemClock())
    if prepare == "hidden":
        queue.send("x")
        (message,) = queue.receive(wait=0)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(queue.receive(wait=20)))
    thread.start()
    if prepare == "hidden":
        queue.set_visibility_batch([(message.receipt, 0)])
    else:
        queue.send("x")
    thread.join(15)
    assert not thread.is_alive()
    assert [m.body for m in got] == ["x"]


def test_a_receive_on_a_fake_clock_never_waits() -> None:
    assert MemoryQueue(clock=FakeClock()).receive(wait=20) == []


def launch(fleet: MemoryFleet, number: int) -> Any:
    return fleet.launch(f"n-{number}", token=f"{number:064x}", user_data="")


def test_instances_boot_and_shut_down_in_their_time() -> None:
    clock = FakeClock()
    fleet = MemoryFleet(clock=clock, boot=40, shutdown=10)
    instance = launch(fleet, 1)
    seen = []
    for _ in range(3):
        seen += [i.state for i in fleet.describe()]
        clock.advance(20)
    fleet.terminate([instance.id])
    seen += [i.state for i in fleet.describe()]
    clock.advance(10)
    assert seen == ["pending", "pending", "running", "shutting-down"]
    assert fleet.describe() == []


def test_an_instance_terminated_while_it_boots_never_runs() -> None:
    clock = FakeClock()
    fleet = MemoryFleet(clock=clock, boot=40)
    fleet.terminate([launch(fleet, 1).id])
    clock.advance(60)
    assert fleet.describe() == []


def test_describe_is_late_by_the_lag_and_the_truth_is_not() -> None:
    clock = FakeClock()
    fleet = MemoryFleet(clock=clock, lag=10)
    instance = launch(fleet, 1)
    assert fleet.describe() == []
    assert [i.id for i in fleet.actual()] == [instance.id]
    clock.advance(10)
    assert [i.id for i in fleet.describe()] == [instance.id]
    fleet.terminate([instance.id])
    assert [i.id for i in fleet.describe()] == [instance.id], "it still looks ten seconds back"
    assert fleet.actual() == []


def test_capacity_runs_out_and_comes_back() -> None:
    fleet = MemoryFleet(clock=FakeClock(), capacity=1)
    first = launch(fleet, 1)
    with pytest.raises(errors.NoCapacity):
        launch(fleet, 2)
    assert launch(fleet, 1).id == first.id, "a repeat needs no capacity"
    fleet.terminate([first.id])
    launch(fleet, 2)


def test_blind_describes_are_counted_down() -> None:
    fleet = MemoryFleet(clock=FakeClock())
    launch(fleet, 1)
    fleet.blind = 2
    assert [len(fleet.describe()) for _ in range(3)] == [0, 0, 1]
