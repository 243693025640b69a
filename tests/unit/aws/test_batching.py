"""Many threads' calls become few, and nobody waits for ever."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from irs import errors
from irs.aws import hurry
from irs.aws.batching import Combiner

#: Seconds; far above what any of these takes, so that only a lost wake-up reaches it.
LONG = 30


class Gate:
    """A flush that stops at a gate, so that a test decides when a call returns."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, items: Sequence[Any]) -> list[BaseException | None]:
        self.batches.append(list(items))
        self.entered.release()
        assert self.go.acquire(timeout=LONG)
        return [None] * len(items)


def start(target: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def pending(combiner: Combiner[Any], count: int) -> None:
    """Wait until ``count`` items are queued behind the calls under way."""
    deadline = time.monotonic() + LONG
    while len(combiner._pending) != count:
        assert time.monotonic() < deadline, f"{len(combiner._pending)} pending, not {count}"
        time.sleep(0.001)


def finish(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive(), "a caller was never woken"


def test_a_lone_caller_goes_at_once_and_alone() -> None:
    batches: list[list[int]] = []
    combiner = Combiner[int](lambda items: batches.append(list(items)) or [None] * len(items),
                             max_items=10, max_weight=100)
    for number in range(3):
        combiner.submit(number)
    assert batches == [[0], [1], [2]]


def test_those_who_come_during_a_call_go_together_in_order() -> None:
    gate = Gate()
    combiner = Combiner[int](gate, max_items=10, max_weight=100, parallel=1)
    threads = [start(combiner.submit, 0)]
    assert gate.entered.acquire(timeout=LONG)
    for number in range(1, 6):
        threads.append(start(combiner.submit, number))
        pending(combiner, number)
    gate.go.release(2)
    finish(threads)
    assert gate.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_batch_holds_at_most_so_many_items() -> None:
    gate = Gate()
    combiner = Combiner[int](gate, max_items=3, max_weight=100, parallel=1)
    threads = [start(combiner.submit, 0)]
    assert gate.entered.acquire(timeout=LONG)
    threads += [start(combiner.submit, number) for number in range(7)]
    pending(combiner, 7)
    gate.go.release(10)
    finish(threads)
    assert [len(batch) for batch in gate.batches] == [1, 3, 3, 1]


def test_a_batch_weighs_at_most_so_much_and_a_heavier_item_goes_alone() -> None:
    gate = Gate()
    combiner = Combiner[str](gate, max_items=10, max_weight=10, parallel=1)
    threads = [start(combiner.submit, "first")]
    assert gate.entered.acquire(timeout=LONG)
    for count, (name, weight) in enumerate([("a", 6), ("b", 4), ("c", 1), ("huge", 50), ("d", 10)], 1):
        threads.append(start(combiner.submit, name, weight))
        pending(combiner, count)
    gate.go.release(10)
    finish(threads)
    assert gate.batches == [["first"], ["a", "b"], ["c"], ["huge"], ["d"]]


def test_each_item_gets_its_own_outcome() -> None:
    def odd_ones_fail(items: Sequence[int]) -> list[BaseException | None]:
        return [ValueError(str(i)) if i % 2 else None for i in items]

    combiner = Combiner[int](odd_ones_fail, max_items=10, max_weight=100)
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(combiner.submit, number) for number in range(200)]
        assert not wait(futures, timeout=LONG).not_done
    for number, future in enumerate(futures):
        error = future.exception()
        assert (str(error) == str(number)) if number % 2 else error is None


def test_an_exception_of_the_call_goes_to_all_of_its_batch_and_to_nobody_else() -> None:
    calls = itertools.count()

    def first_fails(items: Sequence[int]) -> list[BaseException | None]:
        if next(calls) == 0:
            raise ConnectionError("reset")
        return [None] * len(items)

    combiner = Combiner[int](first_fails, max_items=10, max_weight=100)
    with pytest.raises(ConnectionError):
        combiner.submit(1)
    combiner.submit(2)


def test_a_flush_that_returns_too_few_outcomes_is_an_error_and_not_a_hang() -> None:
    combiner = Combiner[int](lambda items: [], max_items=10, max_weight=100)
    with pytest.raises(ValueError, match="zip"):
        combiner.submit(1)


def test_as_many_calls_run_at_once_as_allowed() -> None:
    gate = Gate()
    combiner = Combiner[int](gate, max_items=1, max_weight=100, parallel=3)
    threads = [start(combiner.submit, number) for number in range(8)]
    for _ in range(3):
        assert gate.entered.acquire(timeout=LONG)
    pending(combiner, 5)
    assert len(gate.batches) == 3
    gate.go.release(8)
    finish(threads)


def test_a_lead_is_not_passed_to_one_who_leads_already() -> None:
    """Two calls may run at once, and still may after one leader left just as another came."""
    gate = Gate()
    come, take = threading.Event(), threading.Event()

    class Slow(Combiner[str]):
        def _take(self, leader: Any) -> Any:
            if threading.current_thread().name == "late":
                come.set()
                assert take.wait(LONG)
            return super()._take(leader)

    combiner = Slow(gate, max_items=10, max_weight=100, parallel=2)
    first = start(combiner.submit, "first")
    assert gate.entered.acquire(timeout=LONG)
    late = threading.Thread(target=combiner.submit, args=("late",), name="late", daemon=True)
    late.start()
    assert come.wait(LONG)
    gate.go.release(2)
    finish([first])
    take.set()
    finish([late])
    assert combiner._free == 2


def test_leaders_do_not_serve_others_for_ever() -> None:
    """A caller returns when its own item is done, however many came after it."""
    gate = Gate()
    combiner = Combiner[int](gate, max_items=1, max_weight=100, parallel=1)
    first = start(combiner.submit, 0)
    assert gate.entered.acquire(timeout=LONG)
    others = [start(combiner.submit, number) for number in range(1, 6)]
    pending(combiner, 5)
    gate.go.release()
    first.join(LONG)
    assert not first.is_alive()
    gate.go.release(5)
    finish(others)


class Interrupted(BaseException):
    """What a signal handler raises in a thread that waits."""


def test_a_caller_interrupted_while_it_waits_takes_its_item_and_leaves_the_rest() -> None:
    gate = Gate()
    combiner = Combiner[str](gate, max_items=10, max_weight=100, parallel=1)
    first = start(combiner.submit, "first")
    assert gate.entered.acquire(timeout=LONG)

    class Broken(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise Interrupted

    original = threading.Event
    try:
        threading.Event = Broken  # type: ignore[misc] - the slot's event is made in submit
        with pytest.raises(Interrupted):
            combiner.submit("interrupted")
    finally:
        threading.Event = original  # type: ignore[misc]
    gate.go.release(2)
    finish([first])
    combiner.submit("after")
    assert gate.batches == [["first"], ["after"]]
    assert combiner._free == 1


@pytest.mark.parametrize("seed", range(4))
def test_many_threads_for_a_while(seed: int) -> None:
    """Every item is flushed exactly once, within the limits; no caller is left behind."""
    flushed: list[int] = []
    running = 0
    most = 0
    lock = threading.Lock()
    chance = random.Random(seed)
    parallel = 1 + seed % 3

    def flush(items: Sequence[tuple[int, int]]) -> list[BaseException | None]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            flushed.extend(number for number, _ in items)
            fails = chance.random() < 0.1
        assert len(items) <= 5
        assert len(items) == 1 or sum(weight for _, weight in items) <= 20
        with lock:
            running -= 1
        if fails:
            raise ConnectionError("reset")
        return [None] * len(items)

    combiner = Combiner[tuple[int, int]](flush, max_items=5, max_weight=20, parallel=parallel)

    def caller(thread: int) -> int:
        failed = 0
        for number in range(60):
            weight = 1 + (thread + number) % 25
            try:
                combiner.submit((thread * 60 + number, weight), weight)
            except ConnectionError:
                failed += 1
        return failed

    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(caller, thread) for thread in range(32)]
        assert not wait(futures, timeout=LONG).not_done, "a caller was never woken"
        assert sum(f.result() for f in futures) > 0
    assert sorted(flushed) == list(range(32 * 60))
    assert most <= parallel
    assert combiner._free == parallel


# -- company ----------------------------------------------------------------------------------

def test_in_a_crowd_a_leader_waits_until_its_batch_is_full() -> None:
    batches: list[list[int]] = []
    combiner = Combiner[int](lambda items: batches.append(list(items)) or [None] * len(items),
                             max_items=4, max_weight=100, linger=LONG, crowded=lambda: True)
    threads = []
    for number in range(4):
        threads.append(start(combiner.submit, number))
        if number < 3:
            pending(combiner, number + 1)
    finish(threads)
    assert batches == [[0, 1, 2, 3]]
    assert combiner._free == 2
    assert combiner._gatherer is None


def test_in_a_crowd_a_leader_waits_no_longer_than_its_linger() -> None:
    batches: list[list[int]] = []
    combiner = Combiner[int](lambda items: batches.append(list(items)) or [None] * len(items),
                             max_items=4, max_weight=100, linger=0.01, crowded=lambda: True)
    for number in range(3):
        combiner.submit(number)
    assert batches == [[0], [1], [2]]


def test_those_who_come_while_one_gathers_are_all_sent() -> None:
    """More than a batch may wait for the gatherer: the rest gets a lead of its own."""
    sent: list[int] = []
    lock = threading.Lock()

    def flush(items: Sequence[int]) -> list[None]:
        with lock:
            sent.extend(items)
        return [None] * len(items)

    combiner = Combiner[int](flush, max_items=3, max_weight=100, linger=0.005, crowded=lambda: True)
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(combiner.submit, range(2_000)))
    assert sorted(sent) == list(range(2_000))
    assert (combiner._free, combiner._gatherer, len(combiner._pending)) == (2, None, 0)


def test_nobody_waits_behind_calls_that_do_not_end() -> None:
    gate = Gate()
    combiner = Combiner[str](gate, max_items=2, max_weight=100, parallel=1, patience=0.0)
    first = start(combiner.submit, "first")
    assert gate.entered.acquire(timeout=LONG)
    with pytest.raises(errors.Unreachable, match="waited 0 s behind calls that do not end"):
        combiner.submit("behind")
    gate.go.release()
    finish([first])
    assert gate.batches == [["first"]]
    gate.go.release()
    combiner.submit("afterwards")
    assert gate.batches == [["first"], ["afterwards"]]


def test_who_is_in_a_hurry_leaves_a_call_that_does_not_end() -> None:
    gate = Gate()
    combiner = Combiner[str](gate, max_items=2, max_weight=100, parallel=1, longest=LONG)
    with hurry.within(0.05), pytest.raises(errors.Unreachable, match="has not ended in the time"):
        combiner.submit("its own to make")
    with hurry.within(0.05), pytest.raises(errors.Unreachable, match="behind calls that do not end"):
        combiner.submit("behind it")
    in_time = start(combiner.submit, "in time")
    pending(combiner, 1)
    gate.go.release()
    assert gate.entered.acquire(timeout=LONG)
    assert gate.entered.acquire(timeout=LONG)
    with hurry.within(0), pytest.raises(errors.Unreachable):
        combiner.submit("too late")
    gate.go.release(2)
    finish([in_time])
    combiner.submit("afterwards")
    assert gate.batches == [["its own to make"], ["in time"], ["afterwards"]], "and no lead is lost"


def test_who_only_rides_in_a_call_leaves_it_too() -> None:
    gate, told = Gate(), []

    def rider() -> None:
        with hurry.within(1):
            try:
                combiner.submit("rider")
            except errors.Unreachable as exc:
                told.append(str(exc))

    combiner = Combiner[str](gate, max_items=2, max_weight=100, parallel=1)
    threads = [start(combiner.submit, "first")]
    assert gate.entered.acquire(timeout=LONG)
    threads.append(start(combiner.submit, "leader"))
    pending(combiner, 1)
    threads.append(start(rider))
    pending(combiner, 2)
    gate.go.release()
    assert gate.entered.acquire(timeout=LONG)
    finish(threads[2:])
    assert told == ["the call has not ended in the time that there was for it"]
    gate.go.release()
    finish(threads)
    assert gate.batches == [["first"], ["leader", "rider"]]


def test_calls_in_time_answer_those_in_a_hurry() -> None:
    combiner = Combiner[int](lambda items: [ValueError(str(i)) if i % 2 else None for i in items],
                             max_items=10, max_weight=100, longest=2 * LONG)

    def one(number: int) -> bool:
        with hurry.within(LONG):
            try:
                combiner.submit(number)
            except ValueError as exc:
                return str(exc) == str(number)
        return number % 2 == 0

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
    combiner.submit(0)
    combiner.submit(2)


def test_what_is_in_a_call_or_has_the_lead_is_not_given_up() -> None:
    gate = Gate()
    combiner = Combiner[str](gate, max_items=1, max_weight=100, parallel=1, patience=LONG)
    threads = [start(combiner.submit, "first")]
    assert gate.entered.acquire(timeout=LONG)
    for count, item in enumerate(("second", "third"), 1):
        threads.append(start(combiner.submit, item))
        pending(combiner, count)
    second, third = combiner._pending
    gate.go.release()
    assert gate.entered.acquire(timeout=LONG)
    combiner._give_up(second)  # as its thread does when its patience is over
    with pytest.raises(errors.Unreachable):
        combiner._give_up(third)
    gate.go.release()
    third.done = True  # nobody else wakes it now
    third.wake.set()
    finish(threads)
    assert gate.batches == [["first"], ["second"]]
    gate.go.release()
    combiner.submit("afterwards")
