"""How far ahead images are taken, and in which order their outcomes are given."""

from __future__ import annotations

import random

import pytest

from irs.client import Outcome
from irs.client.window import Window


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_bounded_complete_and_in_order(ordered: bool, seed: int) -> None:
    chance = random.Random(seed)
    window = Window(parallel=3, ahead=6, ordered=ordered)
    flying: list[int] = []
    given: list[int] = []
    sent, ended = 0, []
    while len(given) < 50:
        if (outcome := window.pop()) is not None:
            given.append(outcome.image)
        elif window.room and sent < 50 and chance.random() < 0.7:
            flying.append(window.take())
            sent += 1
        elif flying:
            number = flying.pop(chance.randrange(len(flying)))
            ended.append(number)
            window.put(number, Outcome(image=number))
        assert len(flying) <= 3
        assert sent - len(given) <= 6
    assert window.empty
    assert given == (list(range(50)) if ordered else ended)


def test_the_first_holds_the_others_back_only_so_long() -> None:
    window = Window(parallel=2, ahead=4, ordered=True)
    first = window.take()
    for _ in range(3):
        window.put(number := window.take(), Outcome(image=number))
    assert not window.room  # three outcomes wait for the first one's
    assert window.pop() is None
    window.put(first, Outcome(image=first))
    assert [window.pop().image for _ in range(4)] == [0, 1, 2, 3]  # type: ignore[union-attr]
    window.close()
    assert not window.room
