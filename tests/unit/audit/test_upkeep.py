"""The turns of a web process's looking after: what they cost, and what a fault does to them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from irs import errors, rounds
from irs.audit.pending import Pending
from irs.audit.sweep import Sweep
from irs.audit.upkeep import DEAD_EVERY, Upkeep
from irs.aws.queues import Depth
from tests.unit.audit.auditkit import World, job, message


@pytest.fixture
def world() -> World:
    return World()


def upkeep(world: World, work: Any = None, dead: Any = None) -> Upkeep:
    return Upkeep(Pending(after=30.0, clock=world.seconds), lambda: (
        work or world.work, world.keeper,
        Sweep(dead or world.dead, world.results, world.announce, receives=5, clock=world.seconds)),
        clock=world.seconds)


def test_an_idle_minute_costs_two_calls(world: World) -> None:
    keeping = upkeep(world, world.faults.wrap(world.work), world.faults.wrap(world.dead))
    for _ in range(12 * 10):
        keeping.turn()
        world.clock.advance(5)
    assert world.faults.calls == {"depth": 20}


def test_a_purged_job_is_sent_again_within_its_clients_wait(world: World) -> None:
    keeping = upkeep(world)
    keeping.pending.accepted(world.upload(mine := job()))
    for _ in range(9):
        keeping.turn()
        world.clock.advance(5)
    assert mine.id in "".join(world.work.bodies())
    assert keeping.counts.requeued == keeping.counts.pending == 1


def test_the_dead_letters_and_the_oldest_job_are_known_without_another_call(world: World) -> None:
    keeping = upkeep(world, world.faults.wrap(world.work), world.faults.wrap(world.dead))
    assert (keeping.counts.letters, keeping.counts.oldest) == (None, None)
    world.dead.send("what no worker understands")
    keeping.turn()
    assert keeping.counts.letters == 1
    depths = world.faults.calls["depth"]
    began = world.seconds()
    keeping.pending.accepted(first := job())
    world.clock.advance(5)
    keeping.pending.accepted(second := job())
    assert keeping.counts.oldest == began
    keeping.pending.done(first.id)
    assert keeping.counts.oldest == began + 5
    keeping.pending.done(second.id)
    assert keeping.counts.oldest is None
    assert world.faults.calls["depth"] == depths


def test_a_queue_that_is_not_there_holds_nothing(world: World) -> None:
    class Gone:
        def depth(self) -> Any:
            raise errors.NotFound("no such queue")

    keeping = upkeep(world, Gone())
    keeping.pending.accepted(world.upload(job()))
    for _ in range(9):
        keeping.turn()
        world.clock.advance(5)
    assert keeping.counts.requeued == 1


def test_a_fault_of_one_half_leaves_the_other_alone(world: World) -> None:
    keeping = upkeep(world, world.faults.wrap(world.work))
    world.faults.fail_randomly("depth", 1, errors.Unreachable("down"))
    keeping.pending.accepted(world.upload(job()))
    world.clock.advance(30)
    world.dead.send(message(buried := job()))
    with pytest.raises(errors.Unreachable):
        keeping.turn()
    assert world.results.read(buried.id) is not None
    assert keeping.counts.dead_letters == 1


def test_what_fails_is_said_and_the_next_turn_comes(world: World, events: list[Any]) -> None:
    world.faults.fail("depth", 1, errors.Unreachable("down"))
    world.faults.fail("depth", 2, RuntimeError("a defect"))
    keeping = upkeep(world, dead=world.faults.wrap(world.dead))
    left = iter([False, False, False, True])

    def wait(seconds: float) -> bool:
        world.clock.advance(DEAD_EVERY)
        return next(left)

    keeping._rounds.run(wait)
    said = [(event["event"], event["log_level"]) for event in events]
    assert said == [("audit.upkeep_failed", "warning"), ("audit.upkeep_error", "error")]
    assert events[0]["failures"] == 1
    assert keeping.counts.letters == 0


def test_it_turns_in_a_thread_and_ends_when_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST", (0.0, 0.0))
    swept = threading.Event()

    class Dead:
        def depth(self) -> Depth:
            swept.set()
            return Depth(visible=0, in_flight=0, delayed=0)

    keeping = upkeep(world, dead=Dead())
    keeping.start()
    assert swept.wait(10)
    keeping.close()
    assert keeping._rounds.join(10)
