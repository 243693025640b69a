"""Dead letters sent back; killed at every point, and run twice."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors
from irs.audit.letters import peek
from irs.audit.redrive import Fate, named, redrive
from irs.audit.sweep import Sweep
from tests.unit.audit.auditkit import FOREIGN, World, done, failed, job, message


@pytest.fixture
def world() -> World:
    return World()


def run(world: World, *only: str) -> dict[str, Fate]:
    return {item.id: item.fate for item in redrive(
        world.faults.wrap(world.dead), world.faults.wrap(world.work), world.faults.wrap(world.results),
        only or None)}


def buried(world: World) -> Any:
    mine = job()
    world.dead.send(message(mine))
    world.results.write(failed(mine))
    return mine


def test_a_letter_goes_back_as_it_was_and_its_failure_is_gone(world: World) -> None:
    mine = buried(world)
    (body,) = world.dead.bodies()
    assert run(world) == {mine.id: Fate.SENT}
    assert world.work.bodies() == [body]
    assert world.dead.bodies() == []
    assert world.results.read(mine.id) is None


def test_a_letter_without_a_result_goes_back_too(world: World) -> None:
    world.dead.send(message(mine := job()))
    assert run(world) == {mine.id: Fate.SENT}


def test_a_job_that_has_its_label_is_not_done_again(world: World) -> None:
    world.dead.send(message(mine := job()))
    world.results.write(done(mine))
    assert run(world) == {mine.id: Fate.DONE}
    assert world.work.bodies() == world.dead.bodies() == []
    assert world.results.read(mine.id) == done(mine)


def test_only_those_named(world: World) -> None:
    jobs = [buried(world) for _ in range(12)]
    world.dead.send(FOREIGN[0])
    assert run(world, jobs[7].id) == {jobs[7].id: Fate.SENT}
    assert len(world.dead.bodies()) == 12
    assert world.dead.depth().visible == 12
    assert world.results.read(jobs[3].id) == failed(jobs[3])


def test_foreign_messages_stay(world: World) -> None:
    world.dead.send(FOREIGN[0])
    assert list(run(world).values()) == [Fate.FOREIGN]
    assert world.dead.bodies() == [FOREIGN[0]]


class Killed(BaseException):
    """SIGKILL, as the code sees it: not at all."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["withdraw", "send", "delete_batch"])
def test_killed_at_any_point_and_run_again_the_job_is_sent_and_has_no_failure(
        world: World, step: str, after: bool) -> None:
    mine = buried(world)
    world.faults.fail(step, 1, Killed(), after=after)
    with pytest.raises(Killed):
        run(world)
    assert world.dead.bodies() or world.work.bodies(), "lost"
    world.clock.advance(60)  # nobody releases what a killed process holds
    run(world)
    assert set(world.work.bodies()) == {message(mine)}
    assert world.dead.bodies() == []
    assert world.results.read(mine.id) is None
    assert run(world) == {}


def test_killed_after_the_withdrawal_the_sweep_names_it_again(world: World) -> None:
    mine = buried(world)
    world.faults.fail("send", 1, Killed())
    with pytest.raises(Killed):
        run(world)
    world.clock.advance(60)
    Sweep(world.dead, world.results, world.announce, receives=5, clock=world.seconds).look()
    assert world.results.read(mine.id).error.code == "dead_letter"


def test_the_sweep_does_not_see_a_letter_that_is_being_sent_back(world: World) -> None:
    mine = buried(world)
    sweeper = Sweep(world.dead, world.results, world.announce, receives=5, clock=world.seconds)

    class Work:
        def send(self, body: str) -> None:
            sweeper.sweep(1)  # between the withdrawal and the delete
            world.work.send(body)

    list(redrive(world.dead, Work(), world.results, None))
    assert world.results.read(mine.id) is None


@pytest.mark.parametrize("step", ["withdraw", "send", "delete_batch"])
def test_a_fault_of_the_cloud_is_the_fate_of_one_letter(world: World, step: str) -> None:
    for _ in range(3):
        buried(world)
    world.faults.fail(step, 2, errors.Unreachable("down"))
    assert sorted(run(world).values()) == [Fate.FAILED, Fate.SENT, Fate.SENT]
    assert len(world.dead.bodies()) == 1


# -- by name -------------------------------------------------------------------------------------
def run_named(world: World, *ids: str, patience: float = 5.0) -> dict[str, Fate]:
    return {item.id: item.fate for item in named(
        world.dead, world.work, world.results, ids, patience=patience, clock=world.seconds)}


def test_each_that_is_named_has_a_fate(world: World) -> None:
    mine, other = buried(world), job()
    assert run_named(world, mine.id, other.id) == {mine.id: Fate.SENT, other.id: Fate.ABSENT}


def test_a_letter_that_another_looks_at_is_waited_for(world: World) -> None:
    mine = buried(world)
    look = peek(world.dead, 1)
    next(look)  # a sweep, or somebody's list: the letter is hidden
    asked = []

    class Dead:
        name = "dead"
        delete_batch, set_visibility_batch = world.dead.delete_batch, world.dead.set_visibility_batch
        receive = world.dead.receive

        def depth(self):
            asked.append(1)
            if len(asked) == 3:
                look.close()
            return world.dead.depth()

    found = named(Dead(), world.work, world.results, [mine.id], clock=world.seconds)
    assert [item.fate for item in found] == [Fate.SENT]


def test_the_wait_for_a_hidden_letter_ends(world: World) -> None:
    mine = buried(world)
    world.dead.receive(visibility=600)
    assert run_named(world, mine.id, patience=0.0) == {mine.id: Fate.ABSENT}
    assert world.results.read(mine.id) == failed(mine), "what is not sent keeps its failure"


def test_two_redrives_at_once_send_each_letter_once(world: World) -> None:
    for _ in range(25):
        buried(world)
    first, second = (redrive(world.dead, world.work, world.results, None) for _ in range(2))
    fates = [item.fate for pair in zip(first, second) for item in pair]
    fates += [item.fate for rest in (first, second) for item in rest]
    assert world.dead.bodies() == []
    assert len(world.work.bodies()) == len(set(world.work.bodies())) == 25
    assert set(fates) == {Fate.SENT}
