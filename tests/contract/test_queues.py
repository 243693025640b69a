"""What the service leans on in an SQS queue."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors


def bodies(messages: list[Any]) -> list[str]:
    return sorted(m.body for m in messages)


def drain(world: Any, queue: Any, count: int) -> list[Any]:
    """Receive until there are ``count`` messages."""
    found: list[Any] = []

    def look() -> bool:
        found.extend(queue.receive(wait=1))
        return len(found) >= count

    world.eventually(look)
    return found


def test_what_is_sent_is_received_with_its_count_and_time(world: Any) -> None:
    queue = world.queue()
    queue.send("käse ☃")
    (message,) = drain(world, queue, 1)
    assert message.body == "käse ☃"
    assert message.receives == 1
    assert message.id
    assert message.receipt
    assert message.sent_ms > 1_700_000_000_000


def test_a_batch_is_accepted_entry_by_entry(world: Any) -> None:
    queue = world.queue()
    assert queue.send_batch([(f"m{i}", 0) for i in range(10)]) == [None] * 10
    assert bodies(drain(world, queue, 10)) == [f"m{i}" for i in range(10)]


def test_never_more_than_asked_for(world: Any) -> None:
    queue = world.queue()
    queue.send_batch([("x", 0)] * 5)
    assert len(queue.receive(2, wait=1)) <= 2
    assert len(queue.receive(100, wait=1)) <= 10


def test_an_empty_queue_answers_with_nothing(world: Any) -> None:
    assert world.queue().receive(wait=1) == []


def test_a_received_message_is_hidden_until_its_time_is_over(world: Any) -> None:
    queue = world.queue(visibility=2)
    queue.send("x")
    (first,) = drain(world, queue, 1)
    assert queue.receive(wait=0) == []
    (second,) = drain(world, queue, 1)
    assert (first.id, second.id) == (second.id, first.id)
    assert first.receipt != second.receipt
    assert (first.receives, second.receives) == (1, 2)


def test_what_is_deleted_does_not_come_back(world: Any) -> None:
    queue = world.queue(visibility=1)
    queue.send_batch([("a", 0), ("b", 0)])
    messages = drain(world, queue, 2)
    gone = [m.receipt for m in messages if m.body == "a"]
    assert queue.delete_batch(gone) == [None]
    assert bodies(drain(world, queue, 1)) == ["b"]


def test_deleting_twice_does_no_harm(world: Any) -> None:
    queue = world.queue()
    queue.send("x")
    (message,) = drain(world, queue, 1)
    assert queue.delete_batch([message.receipt]) == [None]
    (outcome,) = queue.delete_batch([message.receipt])
    if world.kind == "embedded":
        # MiniStack forgets the receipt with the message; SQS remembers it for a while.
        assert isinstance(outcome, errors.BadReceipt)
    else:
        assert outcome is None


def test_visibility_zero_gives_it_back_at_once(world: Any) -> None:
    queue = world.queue(visibility=600)
    queue.send("x")
    (message,) = drain(world, queue, 1)
    assert queue.set_visibility_batch([(message.receipt, 0)]) == [None]
    (again,) = drain(world, queue, 1)
    assert again.receives == 2


def test_visibility_is_set_from_now_and_not_added(world: Any) -> None:
    queue = world.queue(visibility=600)
    queue.send("x")
    (message,) = drain(world, queue, 1)
    assert queue.set_visibility_batch([(message.receipt, 1)]) == [None]
    (again,) = drain(world, queue, 1)
    assert again.id == message.id


def test_a_renewed_message_stays_hidden(world: Any) -> None:
    queue = world.queue(visibility=2)
    queue.send("held")
    (message,) = drain(world, queue, 1)
    assert queue.set_visibility_batch([(message.receipt, 600)]) == [None]
    # This one's time is over no sooner than the first one's would have been.
    queue.send("other")
    (other,) = drain(world, queue, 1)
    (again,) = drain(world, queue, 1)
    assert other.id == again.id != message.id


def test_visibility_of_a_deleted_message_is_a_bad_receipt_of_its_own(world: Any) -> None:
    queue = world.queue()
    queue.send_batch([("a", 0), ("b", 0)])
    a, b = drain(world, queue, 2)
    queue.delete_batch([a.receipt])
    outcomes = queue.set_visibility_batch([(a.receipt, 60), (b.receipt, 60)])
    assert [type(o) for o in outcomes] == [errors.BadReceipt, type(None)]


def test_a_receipt_that_never_was_is_refused(world: Any) -> None:
    queue = world.queue()
    (outcome,) = queue.delete_batch(["no-such-receipt"])
    assert isinstance(outcome, errors.BadReceipt)


def test_after_too_many_receives_it_goes_to_the_dead_letter_queue(world: Any) -> None:
    dead = world.queue()
    queue = world.queue(dead=dead, receives=2)
    queue.send("poison")
    for count in (1, 2):
        (message,) = drain(world, queue, 1)
        assert message.receives == count
        queue.set_visibility_batch([(message.receipt, 0)])
    assert queue.receive(wait=1) == []
    assert bodies(drain(world, dead, 1)) == ["poison"]
    assert queue.depth().visible == 0


def test_depth_tells_visible_in_flight_and_delayed(world: Any) -> None:
    queue = world.queue()
    queue.send_batch([("a", 0), ("b", 0), ("c", 0), ("later", 600)])
    (message,) = queue.receive(1, wait=1)

    def counts() -> bool:
        depth = queue.depth()
        return (depth.visible, depth.in_flight, depth.delayed) == (2, 1, 1)

    world.eventually(counts)
    queue.delete_batch([message.receipt])
    world.eventually(lambda: queue.depth().in_flight == 0)


def test_a_delayed_message_comes_later(world: Any) -> None:
    queue = world.queue()
    queue.send("later", delay=2)
    assert queue.receive(wait=0) == []
    assert bodies(drain(world, queue, 1)) == ["later"]


def test_purge_empties(world: Any) -> None:
    queue = world.queue()
    queue.send_batch([("x", 0)] * 3)
    assert queue.purge() == 3
    assert world.eventually(lambda: queue.depth().visible == 0)


@pytest.mark.parametrize("size", [0, 11])
def test_a_batch_of_none_or_of_too_many_is_our_mistake(world: Any, size: int) -> None:
    queue = world.queue()
    with pytest.raises(errors.Permanent):
        queue.send_batch([("x", 0)] * size)
    with pytest.raises(errors.Permanent):
        queue.delete_batch(["r"] * size)
    if world.kind == "moto":
        # moto does not count the entries of this one call and looks at each receipt.
        assert [type(o) for o in queue.set_visibility_batch([("r", 0)] * size)] == (
            [errors.BadReceipt] * size)
    else:
        with pytest.raises(errors.Permanent):
            queue.set_visibility_batch([("r", 0)] * size)


def test_a_batch_above_a_mebibyte_is_our_mistake(world: Any) -> None:
    queue = world.queue()
    with pytest.raises(errors.Permanent):
        queue.send_batch([("x" * 600_000, 0), ("x" * 600_000, 0)])


def test_a_receive_may_hide_for_a_time_of_its_own(world: Any) -> None:
    """To look at dead letters and leave them as they were."""
    queue = world.queue(visibility=600)
    queue.send("x")
    assert [m.body for m in queue.receive(visibility=1)] == ["x"]
    assert world.eventually(lambda: queue.receive(wait=0, visibility=0))
    assert queue.receive(wait=0, visibility=0), "not hidden at all"
    assert queue.receive(wait=0)
    assert queue.receive(wait=0) == []
