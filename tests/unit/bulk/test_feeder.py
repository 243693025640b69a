"""A feeder on buckets and a fleet in memory: what is sent when, and what a crash leaves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from irs import errors, holders
from irs.bulk import hold
from irs.bulk.feeder import AT_ONCE, LEAST_PACK
from irs.bulk.hold import TTL
from irs.bulk.roll import PATIENCE, Roll
from irs.bulk.store import Batches
from irs.domain import bulk, pacing
from irs.domain.bulk import Batch, Phase
from irs.domain.jobs import Status
from irs.testing import FaultPlan
from tests.processes import until
from tests.unit.bulk.bulkkit import World, picture


def numbers(batch: Batch) -> set[int]:
    """The members that failed."""
    return {number for number in range(batch.total) if number in batch.failed}


def test_every_image_is_sent_once_and_has_its_outcome() -> None:
    world = World()
    world.broken = {"7.png"}
    batch_id = world.upload(100, 3)
    world.pass_(6, world.feeder())
    batch = world.batch(batch_id)
    assert batch.phase is Phase.DONE
    assert batch.counts() == {"queued": 0, "done": 98, "failed": 2, "cancelled": 0}
    assert 3 in batch.failed
    assert 7 in batch.failed
    assert world.sends == [bulk.member_id(batch_id, n) for n in range(100) if n != 3]
    assert list(world.batches.running()) == []
    assert batch.holder == ""


def test_the_queue_never_holds_more_than_the_window() -> None:
    world = World(rate=40)
    world.upload(2_000)
    feeder, deepest = world.feeder(), 0
    for _ in range(200):
        world.pass_(0.1, feeder)
        deepest = max(deepest, feeder.counts.outstanding)
        assert feeder.counts.outstanding <= feeder.counts.window
    # 1.5 s of 40 a second, and no fewer than keep an instance at work.
    assert 48 <= deepest <= 64


def test_a_fleet_that_does_nothing_is_given_no_more_than_it_can_hold() -> None:
    world = World(rate=0)
    world.upload(500)
    world.pass_(120, world.feeder(), step=0.5)
    most = 3 * world.settings.max_batch
    assert most - LEAST_PACK < len(world.queue) <= most


@pytest.mark.parametrize("max_batch", [1, 2, 3])
def test_a_window_smaller_than_a_pack_is_filled_all_the_same(max_batch: int) -> None:
    world = World(rate=2, max_batch=max_batch)
    batch_id = world.upload(12)
    world.pass_(20, world.feeder())
    assert world.batch(batch_id).phase is Phase.DONE


def test_a_fleet_that_grows_is_kept_at_work() -> None:
    world = World(rate=40)
    batch_id = world.upload(20_000)
    feeder = world.feeder()
    world.pass_(20, feeder)
    world.fleet = 10
    world.pass_(15, feeder)
    before = world.batch(batch_id).done
    world.pass_(15, feeder)
    assert world.batch(batch_id).done - before > 0.9 * 15 * 400


def test_a_single_upload_waits_for_the_window_and_not_for_the_batch() -> None:
    """10,000 images, four minutes of this fleet's work; a single upload each half second."""
    world = World(rate=40)
    world.upload(10_000)
    feeder = world.feeder()
    for _ in range(100):
        world.single()
        world.pass_(0.5, feeder)
    assert len(world.waits) >= 95
    assert max(world.waits) <= pacing.SECONDS + 0.5
    assert sum(world.waits) / len(world.waits) <= pacing.SECONDS


def test_several_batches_take_turns() -> None:
    world = World(rate=40)
    large, small = world.upload(2_000), world.upload(60)
    world.pass_(5, world.feeder())
    assert world.batch(small).phase is Phase.DONE
    assert world.batch(large).done >= 60


def test_no_more_batches_at_once_than_can_be_written_down_and_the_others_in_their_turn() -> None:
    world = World(rate=40)
    ids = []
    for _ in range(AT_ONCE + 5):
        ids.append(world.upload(10))
        world.clock.advance(1)
    feeder = world.feeder()
    world.pass_(0.2, feeder)
    assert feeder.counts.batches == AT_ONCE
    assert [world.batch(found).holder for found in ids[AT_ONCE:]] == [""] * 5
    world.pass_(20, feeder)
    assert all(world.batch(found).finished for found in ids)
    assert sorted(world.ended) == sorted(ids)


def test_nothing_is_sent_that_the_record_does_not_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for number in range(30):
        world.theirs.put(f"a/{number:02}.png", picture())
    batch_id, feeder = world.below("a/"), world.feeder()
    replace = Batches.replace

    def fails(batches: Batches, batch: Batch, etag: str) -> str:
        if batch.total:
            raise errors.Unreachable("timeout")
        return replace(batches, batch, etag)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "replace", fails)
        world.pass_(6, feeder)
        assert (world.sends, world.batch(batch_id).total) == ([], 0)
    world.pass_(20, feeder)
    assert world.batch(batch_id).counts()["done"] == len(world.sends) == 30


# -- crashes -------------------------------------------------------------------------------------
def test_when_its_process_dies_another_goes_on_and_nothing_is_done_twice() -> None:
    world = World(rate=40)
    batch_id = world.upload(400)
    first, second = world.feeder("one"), world.feeder("two")
    world.pass_(4.55, first)
    killed_at = world.batch(batch_id)
    assert 0 < killed_at.sent < 400
    took = world.seconds()
    while world.batch(batch_id).holder != "two":
        world.pass_(0.5, second)
    assert TTL <= world.seconds() - took <= TTL + 12
    world.pass_(15, second)
    assert world.batch(batch_id).counts() == {"queued": 0, "done": 400, "failed": 0, "cancelled": 0}
    # All that was on the queue had its result meanwhile: nothing of it was sent again.
    assert set(Counter(world.sends).values()) == {1}


def test_what_is_still_on_the_queue_may_be_sent_twice_and_has_one_result() -> None:
    world = World(rate=40)
    batch_id = world.upload(300)
    world.pass_(2, world.feeder("one"))
    world.rate = 0  # the workers die too
    second = world.feeder("two")
    world.pass_(40, second, step=0.5)
    world.rate = 40
    world.pass_(20, second)
    assert world.batch(batch_id).counts() == {"queued": 0, "done": 300, "failed": 0, "cancelled": 0}
    assert len(world.results.stored) == 300
    assert 300 <= len(world.sends) <= 300 + 2 * 64


def test_a_process_that_stops_in_order_leaves_it_to_the_next_at_once() -> None:
    world = World(rate=40)
    batch_id = world.upload(200)
    first, second = world.feeder("one"), world.feeder("two")
    world.pass_(2, first)
    first.release()
    world.pass_(0.1, second)
    assert world.batch(batch_id).holder == "two"


def test_its_thread_feeds_and_hands_over_when_it_is_closed() -> None:
    world = World(rate=0)
    batch_id = world.upload(3)
    feeder = world.feeder("one")
    feeder.start()
    feeder.poke()
    until(lambda: len(world.sends) == 3)
    assert world.batch(batch_id).holder == "one"
    feeder.close()
    batch = world.batch(batch_id)
    assert (batch.holder, batch.sent, batch.outstanding) == ("", 3, (0, 1, 2))


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for() -> None:
    world = World(rate=40)
    batch_id = world.upload(200)
    gone = f"{holders.place()}/4194305/x"  # beyond Linux's largest pid
    world.pass_(1, world.feeder(gone))
    assert world.batch(batch_id).holder == gone
    world.pass_(0.1, world.feeder("two"))
    assert world.batch(batch_id).holder == "two"


def test_one_who_was_stalled_finds_out_and_stops() -> None:
    world = World(rate=4)
    batch_id = world.upload(500)
    stalled, second = world.feeder("one"), world.feeder("two")
    world.pass_(1, stalled)
    world.pass_(30, second)
    assert world.batch(batch_id).holder == "two"
    world.pass_(5, stalled, second)
    assert stalled.counts.batches == 0
    assert world.batch(batch_id).holder == "two"


def test_two_that_come_at_once_do_not_both_feed() -> None:
    world = World(rate=40)
    world.upload(300)
    feeders = [world.feeder(name) for name in ("one", "two", "three")]
    world.pass_(12, *feeders)
    assert len(world.sends) == len(set(world.sends)) == 300


# -- cancelling ----------------------------------------------------------------------------------
def test_a_cancelled_batch_sends_nothing_more_and_what_was_sent_finishes() -> None:
    world = World(rate=40)
    batch_id = world.upload(1_000)
    feeder = world.feeder()
    world.pass_(3.05, feeder)
    hold.cancel(world.batches, batch_id, world.clock.now())
    feeder.cancelled(batch_id)
    world.pass_(0.1, feeder)
    sent = len(world.sends)
    world.pass_(10, feeder)
    assert len(world.sends) == sent
    batch = world.batch(batch_id)
    assert batch.counts() == {"queued": 0, "done": sent, "failed": 0, "cancelled": 1_000 - sent}
    assert (batch.phase, batch.finished is not None) == (Phase.CANCELLED, True)
    assert len(world.inputs.stored) == sent, "uploads that nobody will ever send"
    assert list(world.batches.running()) == []


def test_a_holder_hears_of_a_cancellation_that_was_made_elsewhere() -> None:
    world = World(rate=40)
    batch_id = world.upload(2_000)
    feeder = world.feeder()
    world.pass_(3, feeder)
    hold.cancel(world.batches, batch_id, world.clock.now())
    world.pass_(3.2, feeder)
    sent = len(world.sends)
    world.pass_(10, feeder)
    assert len(world.sends) == sent < 2_000


def test_cancelling_twice_or_too_late_changes_nothing() -> None:
    world = World()
    batch_id = world.upload(5)
    world.pass_(2, world.feeder())
    finished = world.batch(batch_id)
    assert hold.cancel(world.batches, batch_id, world.clock.now()) == finished
    other = world.upload(5)
    first = hold.cancel(world.batches, other, world.clock.now())
    world.clock.advance(1)
    assert hold.cancel(world.batches, other, world.clock.now()) == first
    assert hold.cancel(world.batches, bulk.member_id(other, 1), world.clock.now()) is None


def test_the_uploads_of_a_cancelled_batch_whose_process_died_are_deleted_by_the_next() -> None:
    world = World(rate=40)
    batch_id = world.upload(900)
    world.pass_(1, world.feeder("one"))
    hold.cancel(world.batches, batch_id, world.clock.now())
    world.pass_(40, world.feeder("two"))
    batch = world.batch(batch_id)
    assert batch.finished is not None
    assert len(world.inputs.stored) == batch.sent


# -- S3 ------------------------------------------------------------------------------------------
def test_what_is_in_s3_is_copied_when_its_turn_comes() -> None:
    world = World()
    world.theirs.put("a/1.png", picture())
    world.theirs.put("a/text.png", b"no image")
    batch_id = world.named("s3://theirs/a/1.png", "s3://theirs/a/none.png", "s3://theirs/a/text.png",
                           "s3://secret/a.png")
    world.pass_(2, world.feeder())
    batch = world.batch(batch_id)
    assert batch.counts() == {"queued": 0, "done": 1, "failed": 3, "cancelled": 0}
    members = world.batches.read_chunk(batch_id, 0)
    assert [member.error and member.error.code for member in members] == [
        None, "no_such_object", "unsupported_format", "bucket_not_allowed"]
    assert batch.refused == {}
    assert list(world.inputs.stored) == [f"{bulk.member_id(batch_id, 0)}/1.png"]


def test_a_prefix_is_listed_while_it_is_sent() -> None:
    world = World(rate=400)
    for number in range(2_500):
        world.theirs.put(f"a/{number:05}.png", picture())
    world.theirs.put("a/folder/", b"")
    world.theirs.put("b/other.png", picture())
    batch_id = world.below("a/")
    feeder = world.feeder()
    world.pass_(0.1, feeder)
    assert world.batch(batch_id).phase is Phase.LISTING
    assert world.sends
    world.pass_(12, feeder)
    batch = world.batch(batch_id)
    assert (batch.total, batch.done, batch.truncated) == (2_500, 2_500, False)


def test_a_listing_goes_on_where_a_process_died_and_numbers_stay() -> None:
    world = World(rate=40)
    for number in range(3_200):
        world.theirs.put(f"a/{number:05}.png", picture())
    batch_id = world.below("a/")
    world.pass_(0.15, world.feeder("one"))
    assert world.batch(batch_id).total in (1_000, 2_000)
    world.theirs.put("a/00000a.png", picture())  # before what was listed: too late
    world.rate = 400
    second = world.feeder("two")
    world.pass_(35, second)
    assert world.batch(batch_id).done == 3_200
    names = [m.name for chunk in range(4) for m in world.batches.read_chunk(batch_id, chunk)]
    assert names == [f"{number:05}.png" for number in range(3_200)]


def test_more_than_a_batch_may_have_is_told() -> None:
    world = World(rate=400, max_batch_images=1_200)
    for number in range(1_500):
        world.theirs.put(f"a/{number:05}.png", picture())
    batch_id = world.below("a/")
    world.pass_(8, world.feeder())
    batch = world.batch(batch_id)
    assert (batch.total, batch.done, batch.truncated) == (1_200, 1_200, True)


def test_an_empty_prefix_is_a_batch_that_is_done() -> None:
    world = World()
    batch_id = world.below("nothing/")
    world.pass_(1, world.feeder())
    assert (world.batch(batch_id).phase, world.batch(batch_id).total) == (Phase.DONE, 0)


# -- faults --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("call", "nth", "after"), [
    ("send", 1, False), ("send", 5, True), ("send", 30, False), ("put", 2, True), ("put", 3, False),
    ("put", 1, True), ("get_tagged", 1, False), ("get_tagged", 2, False), ("entries", 1, False)])
def test_a_fault_costs_time_and_no_image(call: str, nth: int, after: bool) -> None:
    plan = FaultPlan()
    plan.fail(call, nth, errors.Unreachable("timeout"), after=after)
    world = World(plan=plan)
    batch_id = world.upload(60)
    world.pass_(30, world.feeder())
    assert world.batch(batch_id).counts() == {"queued": 0, "done": 60, "failed": 0, "cancelled": 0}
    assert plan.calls[call] > nth


def test_one_batch_s_trouble_is_not_the_others_own(events: list[Any]) -> None:
    world = World()
    broken, sound = world.upload(50), world.upload(50)
    world.records.delete(bulk.chunk_key(broken, 0))
    world.pass_(4, world.feeder())
    assert world.batch(sound).phase is Phase.DONE
    assert world.batch(broken).done == 0
    assert 2 <= len([e for e in events if e["event"] == "batch.retry"]) <= 10


@pytest.mark.parametrize("there", [None, b"no chunk", b'{"name":"1.png"}\n'])
def test_a_chunk_that_stays_unreadable_is_given_up_and_the_rest_goes_on(
        there: bytes | None, events: list[Any]) -> None:
    world = World(rate=400)
    batch_id = world.upload(1_020)
    feeder, key = world.feeder(), bulk.chunk_key(batch_id, 0)
    world.pass_(0.35, feeder)
    sent = world.batch(batch_id).sent
    world.records.delete(key)
    if there is not None:
        world.records.put(key, there)
    world.pass_(5, world.feeder("two"))  # the first is no more
    assert world.batch(batch_id).finished is None
    second = world.feeder("two")
    world.pass_(PATIENCE + 30, second, step=0.5)
    batch = world.batch(batch_id)
    assert batch.phase is Phase.DONE
    assert len(world.results.stored) == batch.done > 20
    assert batch.done + len(batch.failed) == 1_020
    assert {*range(1_000, 1_020)}.isdisjoint(numbers(batch)), "the other chunk's"
    members = world.batches.read_chunk(batch_id, 0)
    assert all(members[number].error == bulk.LOST for number in numbers(batch))
    assert [e["chunk"] for e in events if e["event"] == "batch.members_lost"] == [0]
    assert sent < 1_000


def test_a_chunk_that_comes_back_costs_time_and_no_image() -> None:
    world = World(rate=400)
    batch_id = world.upload(50)
    key = bulk.chunk_key(batch_id, 0)
    whole = world.records.get(key)
    world.records.delete(key)
    feeder = world.feeder()
    world.pass_(PATIENCE / 2, feeder, step=0.5)
    world.records.put(key, whole)
    world.pass_(15, feeder)
    assert world.batch(batch_id).counts() == {"queued": 0, "done": 50, "failed": 0, "cancelled": 0}


def test_the_patience_with_a_chunk_that_was_read_meanwhile_begins_anew() -> None:
    world = World()
    batch_id = world.upload(1_020)
    key, batch = bulk.chunk_key(batch_id, 0), world.batch(batch_id)
    whole = world.records.get(key)
    roll = Roll(world.batches, batch_id, most=2_000, clock=world.seconds, unsent=set)
    for _ in range(2):
        world.records.delete(key)
        with pytest.raises(errors.NotFound):
            roll.member(3, batch)
        world.records.put(key, whole)
        assert roll.member(3, batch).name == "3.png"
        assert roll.member(1_001, batch).name == "1001.png"  # the other chunk is in memory now
        world.clock.advance(PATIENCE + 1)


def test_one_who_was_stalled_while_listing_changes_no_chunk() -> None:
    """It has read what is there, and listed, when another process takes over and goes on."""
    world = World(rate=400)
    for number in range(1_500):
        world.theirs.put(f"a/{number:05}.png", picture())
    batch_id, stalled, second = world.below("a/"), world.feeder("one"), world.feeder("two")
    tag, stalls = Batches.chunk_tag, True

    def stall(batches: Batches, *of: Any) -> str | None:
        nonlocal stalls
        found = tag(batches, *of)
        if stalls:
            stalls = False
            world.theirs.put("a/00000a.png", picture())  # the second finds one more
            world.pass_(30, second)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "chunk_tag", stall)
        world.pass_(1, stalled)
    assert world.batch(batch_id).counts()["done"] == 1_501
    assert stalled.counts.batches == 0
    names = [m.name for chunk in range(2) for m in world.batches.read_chunk(batch_id, chunk)]
    assert len(names) == len(set(names)) == 1_501


def test_results_that_nobody_announced_are_looked_for() -> None:
    world = World()
    batch_id = world.upload(40)
    feeder = world.feeder()
    feeder.heard = lambda result: None  # type: ignore[method-assign]
    world.pass_(60, feeder)
    assert world.batch(batch_id).phase is Phase.DONE


def test_an_image_that_was_cancelled_by_itself_is_counted_so() -> None:
    world = World(rate=0)
    batch_id = world.upload(3)
    feeder = world.feeder()
    world.pass_(1, feeder)
    from irs.domain.jobs import Result
    feeder.heard(world.results.write(Result(
        id=bulk.member_id(batch_id, 1), image="1.png", status=Status.CANCELLED)))
    world.rate = 40
    world.pass_(3, feeder)
    assert world.batch(batch_id).counts() == {"queued": 0, "done": 2, "failed": 0, "cancelled": 1}


def test_a_batch_that_never_came_is_forgotten_after_an_hour() -> None:
    world = World()
    batch_id = bulk.member_id("x", 1)
    world.batches.tell(batch_id, pacing.Backlog(at=world.clock.now()))
    feeder = world.feeder()
    world.pass_(3_000, feeder, step=5)
    assert [found for found, _ in world.batches.running()] == [batch_id]
    world.pass_(700, feeder, step=5)
    assert list(world.batches.running()) == []


def test_what_other_processes_feed_is_known() -> None:
    world = World(rate=40)
    world.upload(2_000)
    first, second = world.feeder("one"), world.feeder("two")
    world.pass_(15, first, second)
    assert 30 <= second.rate_elsewhere <= 50
    assert first.rate_elsewhere == 0
    assert second.counts.batches == 0
