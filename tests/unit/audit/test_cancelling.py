"""A cancelled job has a result as any other has: one, and whoever stores first decides."""

from __future__ import annotations

import pytest

from irs import errors
from irs.audit import account, cancelling, redrive
from irs.audit.account import Books
from irs.audit.pending import Pending
from irs.audit.sweep import Sweep
from irs.bulk.store import Batches
from irs.domain import keys
from irs.domain.jobs import Job, Result, Status
from irs.testing import FaultPlan
from tests.unit.audit.auditkit import World, done, failed, job, message


@pytest.fixture
def world() -> World:
    return World()


def upload(world: World) -> Job:
    mine = job()
    world.inputs.put(mine.key, b"image", metadata={"name": mine.image, "reply-to": "out-web-1"})
    return mine


def cancel(world: World, job_id: str) -> Result | None:
    return cancelling.cancel(job_id, world.inputs, world.results, world.announce)


def test_it_ends_with_a_result_of_its_own(world: World) -> None:
    mine = upload(world)
    result = cancel(world, mine.id)
    assert result is not None
    assert result == world.results.read(mine.id)
    assert (result.status, result.image, result.attempts, result.error) == (
        Status.CANCELLED, mine.image, 0, None)
    assert set(result.times) == {"received", "finished"}
    assert not world.inputs.stored
    assert world.told == [(mine.id, "out-web-1")]


def test_again_it_is_the_same_and_told_once(world: World) -> None:
    mine = upload(world)
    assert cancel(world, mine.id) == cancel(world, mine.id)
    assert len(world.told) == 1


@pytest.mark.parametrize("of", [done, failed])
def test_what_has_a_result_stays_as_it_is(world: World, of) -> None:
    mine = upload(world)
    world.results.write(of(mine))
    assert cancel(world, mine.id) == of(mine)
    assert mine.key in world.inputs.stored
    assert not world.told


def test_a_worker_that_stores_first_has_decided(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = upload(world)
    look = world.results.read
    reads: list[str] = []

    def read(job_id: str) -> Result | None:
        found = look(job_id)
        if not reads:  # the worker's result comes right after our look
            world.results.write(done(mine))
        reads.append(job_id)
        return found

    monkeypatch.setattr(world.results, "read", read)
    assert cancel(world, mine.id) == done(mine)
    assert mine.key in world.inputs.stored
    assert not world.told


def test_nobodys_job_is_none(world: World) -> None:
    assert cancel(world, keys.new_id()) is None
    assert not world.results.stored


def test_of_two_at_once_none_is_told_that_there_is_no_job(world: World,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    mine = upload(world)
    look, between = world.results.read, [mine.id]

    def read(job_id: str) -> Result | None:
        found = look(job_id)
        if between:
            cancel(world, between.pop())
        return found

    monkeypatch.setattr(world.results, "read", read)
    result = cancel(world, mine.id)
    assert result is not None
    assert result.status is Status.CANCELLED


@pytest.mark.parametrize("method", ["entries", "metadata", "keys", "delete"])
def test_what_breaks_off_is_finished_by_the_next(world: World, method: str) -> None:
    mine = upload(world)
    inputs = FaultPlan().fail(method, 1, errors.Unreachable("away")).wrap(world.inputs)
    with pytest.raises(errors.Unreachable):
        cancelling.cancel(mine.id, inputs, world.results, world.announce)
    result = cancelling.cancel(mine.id, inputs, world.results, world.announce)
    assert result is not None
    assert result.status is Status.CANCELLED
    assert not world.inputs.stored
    assert len(world.told) == 1


# -- what looks after jobs leaves it alone ---------------------------------------------------
def test_it_is_not_sent_again(world: World) -> None:
    pending = Pending(after=30, clock=world.seconds)
    mine = upload(world)
    pending.accepted(mine)
    cancel(world, mine.id)
    for _ in range(20):
        world.clock.advance(5)
        pending.turn(0, world.keeper)
    assert (world.work.bodies(), len(pending)) == ([], 0)
    assert world.results.read(mine.id).status is Status.CANCELLED


def test_it_makes_no_older_job_look_overtaken(world: World) -> None:
    pending = Pending(after=30, clock=world.seconds)
    old = world.upload(job())
    pending.accepted(old)
    world.clock.advance(301)
    new = upload(world)
    pending.accepted(new)
    cancel(world, new.id)
    pending.done(new.id, Status.CANCELLED)
    for _ in range(20):
        world.clock.advance(5)
        pending.turn(500, world.keeper)
    assert world.work.bodies() == []


def test_its_dead_letter_is_settled_and_driven_nowhere(world: World) -> None:
    mine = upload(world)
    world.dead.send(message(mine))
    cancel(world, mine.id)
    found = Sweep(world.dead, world.results, world.announce, receives=5, clock=world.seconds).sweep(1)
    assert (found.settled, found.named) == (1, 0)
    (driven,) = redrive.redrive(world.dead, world.work, world.results, None)
    assert driven.fate is redrive.Fate.DONE
    assert world.work.bodies() == world.dead.bodies() == []
    assert world.results.read(mine.id).status is Status.CANCELLED


def test_the_account_has_it_on_both_sides(world: World) -> None:
    from irs.results.store import ResultStore

    world.results = ResultStore(None, objects=world.outputs)  # type: ignore[assignment,arg-type]
    jobs = [upload(world) for _ in range(3)]
    world.clock.advance(60)
    cancel(world, jobs[0].id)
    world.results.write(done(jobs[1]))
    lone = job()
    world.results.write(done(lone))
    world.work.send(message(jobs[2]))
    books = Books(inputs=world.inputs, outputs=world.outputs, results=world.results, work=world.work,
                  dead=world.dead, send=lambda: None, announce=world.announce, receives=5,  # type: ignore[arg-type,return-value]
                  batches=Batches(world.outputs, "irs"), most=100)
    found = account.audit(books, now=world.clock.now(), wait=lambda _: None)
    assert (found.uploads, found.cancelled, found.done, found.queued) == (3, 1, 1, 1)
    assert found.orphans == [lone.id]
