"""Who feeds a batch, write by write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from irs import errors
from irs.bulk import hold
from irs.bulk.hold import Hold, Lost
from irs.bulk.store import Batches
from irs.domain import bulk
from irs.testing import FaultPlan
from tests.unit.bulk.bulkkit import World


@pytest.fixture
def world() -> World:
    return World()


def take(world: World, batch_id: str, holder: str, *, silent: bool = False) -> Hold | None:
    return Hold.take(world.batches, batch_id, holder, silent=silent)


def test_who_comes_first_has_it_until_it_is_silent(world: World) -> None:
    batch_id = world.upload(3)
    assert take(world, batch_id, "one") is not None
    assert take(world, batch_id, "two") is None
    second = take(world, batch_id, "two", silent=True)
    assert second is not None
    assert second.batch.holder == "two"


def test_what_is_not_there_or_has_ended_is_nobody_s(world: World) -> None:
    assert take(world, bulk.member_id("x", 0), "one", silent=True) is None
    batch_id = world.upload(3)
    one = take(world, batch_id, "one")
    assert one is not None
    one.write(replace(one.batch, finished=world.clock.now()))
    assert take(world, batch_id, "two", silent=True) is None


def test_an_old_holder_s_write_is_refused(world: World) -> None:
    batch_id = world.upload(3)
    one = take(world, batch_id, "one")
    two = take(world, batch_id, "two", silent=True)
    assert one is not None
    assert two is not None
    with pytest.raises(Lost):
        one.write(replace(one.batch, sent=3))
    two.write(replace(two.batch, sent=1))
    assert world.batch(batch_id).sent == 1
    one.release(one.batch)  # says nothing, and changes nothing
    assert world.batch(batch_id).holder == "two"


def test_a_cancellation_is_heard_of_at_the_next_write_and_nothing_else_is_lost(world: World) -> None:
    batch_id = world.upload(9)
    one = take(world, batch_id, "one")
    assert one is not None
    one.write(replace(one.batch, sent=2, done=1, outstanding=(1,)))
    hold.cancel(world.batches, batch_id, world.clock.now())
    written = one.write(replace(one.batch, sent=5, done=4, outstanding=(4,)))
    assert written == world.batch(batch_id)
    assert (written.cancelled, written.sent, written.done) == (world.clock.now(), 5, 4)


def test_a_write_whose_answer_was_lost_is_one_s_own(world: World) -> None:
    batch_id = world.upload(9)
    plan = FaultPlan()
    one = Hold.take(Batches(plan.wrap(world.records), "irs"), batch_id, "one", silent=False)
    assert one is not None
    plan.fail("put", 2, errors.Unreachable("timeout"), after=True)
    with pytest.raises(errors.Unreachable):
        one.write(replace(one.batch, sent=1))
    assert one.write(replace(one.batch, sent=2)).sent == world.batch(batch_id).sent == 2


def test_no_two_writes_are_alike(world: World) -> None:
    batch_id = world.upload(1)
    one = take(world, batch_id, "one")
    assert one is not None
    seen = {world.batch(batch_id).serial, one.write(one.batch).serial, one.write(one.batch).serial}
    assert len(seen) == 3
