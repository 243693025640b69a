"""Deletes and releases: in batches, retried, and never a reason to stop."""

from __future__ import annotations

import threading
from collections.abc import Collection

import pytest

from irs import errors
from irs.broker import settle
from irs.broker.settle import Settler
from irs.testing import FaultPlan, MemoryQueue


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "PAUSE", 0.001)


def received(queue: MemoryQueue, count: int) -> list[str]:
    receipts = []
    for number in range(count):
        queue.send(str(number))
    while len(receipts) < count:
        receipts += [m.receipt for m in queue.receive(10, wait=0)]
    return receipts


def test_deletes_travel_in_batches_of_ten() -> None:
    plan, queue = FaultPlan(), MemoryQueue()
    receipts = received(queue, 25)
    settler = Settler()
    port = plan.wrap(queue)
    for receipt in receipts:
        settler.delete(port, receipt)
    assert settler.flush(5)
    settler.close(5)
    assert queue.bodies() == []
    assert plan.calls["delete_batch"] == 3


def test_what_must_come_first_comes_first_and_its_failure_keeps_nothing_back() -> None:
    queue = MemoryQueue()
    left: list[tuple[int, set[str]]] = []

    def before(tasks: Collection[str]) -> None:
        left.append((queue.depth().in_flight, set(tasks)))
        raise ValueError("a defect")

    settler = Settler()
    settler.precede(before)
    for receipt, task in zip(received(queue, 3), "abc", strict=True):
        settler.delete(queue, receipt, task)
    settler.close(5)
    assert left == [(3, {"a", "b", "c"})]
    assert queue.bodies() == []


def test_a_full_call_goes_at_once_and_the_rest_waits_for_company(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "LINGER", 3600)
    asked, full = [], threading.Event()

    class Queue:
        name = "counted"

        def delete_batch(self, receipts: list[str]) -> list[None]:
            asked.append(list(receipts))
            full.set()
            return [None] * len(receipts)

    settler, queue = Settler(), Queue()
    for number in range(13):
        settler.delete(queue, str(number))
    assert full.wait(10)
    assert asked == [[str(number) for number in range(10)]]
    assert not settler.flush(0.05)
    settler.close(0)
    settler._thread.join(10)
    assert asked[1:] == [["10", "11", "12"]]


def test_a_release_makes_visible_when_it_says() -> None:
    queue = MemoryQueue()
    now, later = received(queue, 2)
    settler = Settler()
    settler.release(queue, now, 0)
    settler.release(queue, later, 60)
    settler.close(5)
    assert queue.depth().visible == 1
    assert queue.depth().in_flight == 1


def test_a_fault_that_may_pass_is_tried_again() -> None:
    queue = MemoryQueue()
    plan = FaultPlan().fail("delete_batch", 1, errors.Unreachable("reset")).fail(
        "delete_batch", 2, errors.Throttled("slow down"))
    settler = Settler()
    settler.delete(plan.wrap(queue), received(queue, 1)[0])
    assert settler.flush(5)
    assert queue.bodies() == []
    assert plan.calls["delete_batch"] == 3
    settler.close(5)


def test_only_the_entries_that_failed_are_tried_again() -> None:
    asked: list[list[str]] = []

    class Queue:
        name = "half"

        def delete_batch(self, receipts: list[str]) -> list[errors.CloudError | None]:
            asked.append(list(receipts))
            first = len(asked) == 1
            return [errors.Unreachable("busy") if first and r == "b"
                    else errors.BadReceipt("expired") if r == "c" else None for r in receipts]

    settler, queue = Settler(), Queue()
    for receipt in "abc":
        settler.delete(queue, receipt)
    assert settler.flush(5)
    assert asked == [["a", "b", "c"], ["b"]]
    settler.close(5)


def test_an_expired_receipt_is_tolerated_and_not_tried_again() -> None:
    queue, plan = MemoryQueue(), FaultPlan()
    settler = Settler()
    settler.release(plan.wrap(queue), "no receipt", 0)
    assert settler.flush(5)
    assert plan.calls["set_visibility_batch"] == 1
    settler.close(5)


@pytest.mark.parametrize("error", [
    errors.Unreachable("down"), errors.AccessDenied("no"), RuntimeError("a defect")])
def test_what_cannot_be_settled_is_given_up_and_the_thread_goes_on(error: Exception) -> None:
    queue = MemoryQueue()
    first, second = received(queue, 2)
    broken = FaultPlan().fail_randomly("delete_batch", 1, error).wrap(queue)
    settler = Settler()
    settler.delete(broken, first)
    assert settler.flush(5)
    settler.delete(queue, second)
    assert settler.flush(5)
    assert queue.bodies() == ["0"]
    settler.close(5)


def test_a_flush_has_a_deadline() -> None:
    held = threading.Event()

    class Stalled:
        name = "stalled"

        def delete_batch(self, receipts: list[str]) -> list[None]:
            held.wait(10)
            return [None] * len(receipts)

    settler = Settler()
    settler.delete(Stalled(), "r")
    assert not settler.flush(0.05)
    held.set()
    assert settler.flush(5)
    settler.close(5)
