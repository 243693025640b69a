"""Bytes shared by threads; each test ends only if the rule holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from irs.domain.room import Room

TOTAL = 100


class Guest(threading.Thread):
    """Takes its bytes, and keeps them until it is told to go."""

    def __init__(self, room: Room, weight: int, order: list[int]) -> None:
        super().__init__(daemon=True)
        self._room, self.weight, self._order = room, weight, order
        self.inside, self._go = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self._room.take(self.weight, TOTAL):
            self._order.append(self.weight)
            self.inside.set()
            self._go.wait(10)

    def leave(self) -> None:
        self._go.set()
        self.join(10)
        assert not self.is_alive()


@pytest.fixture
def come() -> Iterator[Callable[[int], Guest]]:
    room, order = Room(), []
    with ExitStack() as stack:
        def come(weight: int) -> Guest:
            before = len(room._queue)
            guest = Guest(room, weight, order)
            stack.callback(guest.leave)
            # Inside, or in the queue behind the others.
            while not (guest.inside.is_set() or len(room._queue) > before):
                guest.inside.wait(0.001)
            return guest
        come.room, come.order = room, order  # type: ignore[attr-defined]
        yield come


def waits(guest: Guest) -> bool:
    return not guest.inside.wait(0.05)


def test_what_fits_together_is_inside_together(come: Callable[[int], Guest]) -> None:
    assert all(come(weight).inside.wait(5) for weight in (50, 30, 20))
    assert come.room.taken == TOTAL


def test_what_does_not_fit_waits_for_the_first_to_leave(come: Callable[[int], Guest]) -> None:
    first, second = come(60), come(50)
    assert waits(second)
    first.leave()
    assert second.inside.wait(5)


def test_nothing_small_overtakes_what_waits(come: Callable[[int], Guest]) -> None:
    first, large, small = come(60), come(90), come(10)
    assert waits(large)
    assert waits(small)
    first.leave()
    assert large.inside.wait(5)
    assert small.inside.wait(5)
    assert come.order == [60, 90, 10]


def test_more_than_all_of_it_is_let_in_alone(come: Callable[[int], Guest]) -> None:
    first, huge, next_ = come(1), come(500), come(1)
    assert waits(huge)
    first.leave()
    assert huge.inside.wait(5)
    assert waits(next_)
    huge.leave()
    assert next_.inside.wait(5)


def test_an_error_inside_gives_its_bytes_back() -> None:
    room = Room()
    with pytest.raises(ValueError, match="broken"), room.take(100, TOTAL):
        raise ValueError("broken")
    with room.take(100, TOTAL):
        assert room.taken == 100
    assert room.taken == 0
