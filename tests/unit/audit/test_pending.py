"""Jobs that fell out of the queue are sent again; nothing else is."""

from __future__ import annotations

import json

import pytest

from irs import errors
from irs.audit.pending import Pending
from irs.audit.uploads import BATCH
from irs.domain.jobs import Job
from tests.unit.audit.auditkit import World, done, job

AFTER = 30.0


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pending(world: World) -> Pending:
    return Pending(after=AFTER, limit=5, clock=world.seconds)


def accepted(world: World, pending: Pending) -> Job:
    mine = world.upload(job())
    pending.accepted(mine)
    return mine


def turns(world: World, pending: Pending, seconds: float, messages: int | None = 0) -> None:
    """So many seconds of looks that find so many messages."""
    for _ in range(int(seconds / 5)):
        world.clock.advance(5)
        pending.turn(messages, world.keeper)


def sent(world: World) -> int:
    return len(world.work.bodies())


def test_a_lost_job_is_sent_again_as_it_was(world: World, pending: Pending) -> None:
    mine = accepted(world, pending)
    turns(world, pending, AFTER + 10)
    (body,) = world.work.bodies()
    assert mine.id in body
    assert mine.image in body
    assert (pending.requeued, len(pending)) == (1, 1)


@pytest.mark.parametrize("messages", [1, None])
def test_no_job_is_sent_while_the_queue_holds_something_or_cannot_be_asked(
        world: World, pending: Pending, messages: int | None) -> None:
    accepted(world, pending)
    turns(world, pending, 10 * AFTER, messages)
    assert sent(world) == 0


def test_a_job_that_is_done_is_forgotten(world: World, pending: Pending) -> None:
    mine = accepted(world, pending)
    pending.done(mine.id)
    turns(world, pending, 2 * AFTER)
    assert (sent(world), len(pending)) == (0, 0)


def test_a_result_that_nobody_announced_is_found(world: World, pending: Pending) -> None:
    world.results.write(done(accepted(world, pending)))
    turns(world, pending, 2 * AFTER)
    assert (sent(world), len(pending)) == (0, 0)


def test_lost_again_it_is_sent_again_and_gets_longer_each_time(world: World, pending: Pending) -> None:
    accepted(world, pending)
    when = []
    for second in range(0, 600, 5):
        world.clock.advance(5)
        pending.turn(0, world.keeper)
        if sent(world):
            when.append(second + 5)
            world.work.purge()
    gaps = [b - a for a, b in zip([0, *when], when, strict=False)]
    assert gaps[:4] == [30, 60, 120, 240]


def test_an_adopted_id_is_sent_from_its_upload(world: World, pending: Pending) -> None:
    mine = world.upload(job("Käse (1).png"))
    pending.adopt(mine.id)
    turns(world, pending, AFTER + 10)
    (body,) = world.work.bodies()
    assert mine.key in body
    assert json.loads(json.loads(body)["body"])[1]["name"] == "Käse (1).png"


def test_a_batch_s_image_that_somebody_asks_for_is_left_to_its_feeder(
        world: World, pending: Pending) -> None:
    mine = job()
    world.inputs.put(mine.key, b"image", metadata={BATCH: job().id})
    pending.adopt(mine.id)
    turns(world, pending, 20 * AFTER)
    assert (sent(world), len(pending)) == (0, 0)
    pending.accepted(mine)  # this process is the feeder's
    turns(world, pending, 5, messages=1)
    turns(world, pending, AFTER + 10)
    assert sent(world) == 1


def test_an_adopted_id_without_an_upload_is_forgotten(world: World, pending: Pending) -> None:
    pending.adopt(job().id)
    turns(world, pending, AFTER + 10)
    assert len(pending) == sent(world) == 0


def test_a_lost_job_whose_upload_is_gone_as_well_has_that_for_its_result(
        world: World, pending: Pending) -> None:
    mine = accepted(world, pending)
    world.inputs.delete(mine.key)
    turns(world, pending, AFTER + 10)
    assert world.results.read(mine.id).error.code == "input_missing"
    assert world.told == [(mine.id, None)]
    assert sent(world) == len(pending) == 0


def test_a_job_that_cannot_be_sent_is_lost_until_it_can(world: World, pending: Pending) -> None:
    jobs = [accepted(world, pending) for _ in range(3)]
    world.faults.fail("send", 1, errors.NotFound("no queue"))
    turns(world, pending, AFTER - 5)
    assert not pending.is_lost(jobs[0].id)
    with pytest.raises(errors.NotFound):
        turns(world, pending, 15)
    assert [pending.is_lost(each.id) for each in jobs] == [True] * 3
    assert pending.lost == 3
    turns(world, pending, 5)
    assert [pending.is_lost(each.id) for each in jobs] == [False] * 3
    assert sent(world) == 3


def test_an_unreadable_store_marks_nothing_lost(world: World, pending: Pending) -> None:
    mine = accepted(world, pending)
    keeper = world.keeper
    object.__setattr__(keeper, "results", world.faults.wrap(world.results))
    world.faults.fail_randomly("read", 1, errors.Unreachable("S3 is down"))
    world.clock.advance(AFTER)
    pending.turn(0, keeper)
    world.clock.advance(AFTER)
    with pytest.raises(errors.Unreachable):
        pending.turn(0, keeper)
    assert not pending.is_lost(mine.id)


def test_under_a_steady_load_a_job_is_sent_again_when_much_later_ones_are_done(
        world: World, pending: Pending) -> None:
    lost = accepted(world, pending)
    turns(world, pending, 10 * AFTER, messages=7)
    later = accepted(world, pending)
    turns(world, pending, 10, messages=7)
    assert sent(world) == 0
    pending.done(later.id)
    turns(world, pending, 5, messages=7)
    (body,) = world.work.bodies()
    assert lost.id in body


def test_an_adopted_job_that_ends_says_nothing_about_the_order(world: World, pending: Pending) -> None:
    """It was sent before it was heard of, perhaps before all others."""
    accepted(world, pending)
    turns(world, pending, 10 * AFTER, messages=7)
    pending.adopt(adopted := job().id)
    pending.done(adopted)
    turns(world, pending, 30, messages=7)
    assert sent(world) == 0


def test_the_table_is_bounded_and_forgets_the_oldest(world: World, pending: Pending) -> None:
    jobs = [accepted(world, pending) for _ in range(8)]
    assert (len(pending), pending.forgotten) == (5, 3)
    turns(world, pending, AFTER + 10)
    bodies = "".join(world.work.bodies())
    assert [each.id in bodies for each in jobs] == [False] * 3 + [True] * 5


def test_switched_off_it_sends_nothing(world: World) -> None:
    off = Pending(after=float("inf"), clock=world.seconds)
    accepted(world, off)
    assert not off.ripe
    turns(world, off, 1000)
    assert sent(world) == 0
