"""Every dead letter of ours gets a result, once; none is deleted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from irs import errors
from irs.audit.sweep import AGAIN, Sweep
from irs.domain.jobs import Status
from tests.unit.audit.auditkit import FOREIGN, World, done, job, message


@pytest.fixture
def world() -> World:
    return World()


def sweep(world: World, dead: Any = None) -> Sweep:
    return Sweep(dead or world.dead, world.results, world.announce, receives=5, clock=world.seconds)


def test_a_job_without_a_result_gets_a_named_failure_and_its_client_is_told(world: World) -> None:
    mine = job()
    world.dead.send(message(mine, "q-web-1"))
    found = sweep(world).look()
    assert (found.named, found.settled, found.foreign) == (1, 0, 0)
    result = world.results.read(mine.id)
    assert (result.status, result.error.code, result.attempts) == (Status.FAILED, "dead_letter", 5)
    assert set(result.times) == {"received", "finished"}
    assert world.told == [(mine.id, "q-web-1")]
    assert len(world.dead.bodies()) == 1


def test_a_job_with_a_result_keeps_it(world: World) -> None:
    mine = job()
    world.results.write(done(mine))
    world.dead.send(message(mine))
    assert sweep(world).look().settled == 1
    assert world.results.read(mine.id) == done(mine)
    assert world.told == []


def test_foreign_messages_are_counted_and_left(world: World) -> None:
    for body in FOREIGN:
        world.dead.send(body)
    assert sweep(world).look().foreign == len(FOREIGN)
    assert sorted(world.dead.bodies()) == sorted(FOREIGN)
    assert world.results.stored == {}


def test_an_empty_queue_costs_one_call(world: World) -> None:
    calls: Counter[str] = world.faults.calls
    looker = sweep(world, world.faults.wrap(world.dead))
    for _ in range(10):
        assert looker.look() is None
        world.clock.advance(AGAIN)
    assert calls == {"depth": 10}


def test_letters_that_stay_cost_one_call_until_it_is_time_to_look_again(world: World) -> None:
    world.dead.send(message(job()))
    looker = sweep(world, world.faults.wrap(world.dead))
    assert looker.look() is not None
    received = world.faults.calls["receive"]
    world.clock.advance(AGAIN - 1)
    assert looker.look() is None
    assert world.faults.calls["receive"] == received
    world.clock.advance(2)
    assert looker.look() is not None


def test_a_new_letter_is_looked_at_at_once(world: World) -> None:
    world.dead.send(message(job()))
    looker = sweep(world)
    looker.look()
    world.dead.send(message(second := job()))
    assert looker.look().named == 1
    assert world.results.read(second.id) is not None


def test_a_result_that_was_withdrawn_is_written_again(world: World) -> None:
    """A redrive that was killed after the withdrawal: the letter is there, so is the failure."""
    world.dead.send(message(mine := job()))
    looker = sweep(world)
    looker.look()
    world.results.withdraw(mine.id)
    world.clock.advance(AGAIN + 1)
    assert looker.look().named == 1


def test_two_processes_write_one_result(world: World) -> None:
    jobs = [job() for _ in range(12)]
    for each in jobs:
        world.dead.send(message(each))
    first, second = sweep(world), sweep(world)
    first.look()
    second.look()
    assert first.named + second.named == 12
    assert sorted(told for told, _ in world.told) == sorted(each.id for each in jobs)


def test_a_write_that_another_process_won_announces_nothing(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.dead.send(message(mine := job()))
    world.results.write(done(mine))
    real = world.results.read
    answers = iter([None])
    monkeypatch.setattr(world.results, "read", lambda job_id: next(answers, real(job_id)))
    assert sweep(world).look().settled == 1
    assert world.told == []
    assert real(mine.id) == done(mine)


def test_a_fault_leaves_the_letters_visible_for_the_next_look(world: World) -> None:
    world.dead.send(message(mine := job()))
    world.faults.fail("read", 1, errors.Unreachable("down"))
    looker = Sweep(world.dead, world.faults.wrap(world.results), world.announce, receives=5,
                   clock=world.seconds)
    with pytest.raises(errors.Unreachable):
        looker.look()
    assert world.dead.depth().visible == 1
    assert looker.look().named == 1
    assert world.results.read(mine.id) is not None
