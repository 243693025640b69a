"""Rounds in a thread: when the next one comes, after whatever became of the last."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from irs import errors, rounds
from irs.rounds import Rounds

DOWN = errors.Unreachable("down")


def made(turn: Callable[[], object], said: list[object] | None = None) -> Rounds:
    heard = [] if said is None else said
    return Rounds(turn, name="test", every=10.0, slowest=25.0,
                  failed=lambda exc, failures: heard.append((str(exc), failures)),
                  erred=lambda: heard.append(type(sys.exception())))


@pytest.mark.parametrize(("troubles", "pauses", "said"), [
    ([None, None], [10, 10], []),
    ([DOWN, DOWN, DOWN, None, DOWN], [10, 20, 25, 10, 10],
     [("down", 1), ("down", 2), ("down", 3), ("down", 1)]),
    ([RuntimeError("ours"), None], [25, 10], [RuntimeError]),
    # A defect is no end of an outage.
    ([DOWN, RuntimeError("ours"), DOWN], [10, 25, 20], [("down", 1), RuntimeError, ("down", 2)]),
])
def test_the_next_round_comes_whatever_became_of_the_last(
        troubles: list[Exception | None], pauses: list[float], said: list[object]) -> None:
    left = iter(troubles)

    def turn() -> None:
        trouble = next(left)
        if trouble is not None:
            raise trouble

    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) > len(troubles)

    heard: list[object] = []
    made(turn, heard).run(wait)
    first, *others = waited
    assert rounds.FIRST[0] <= first <= rounds.FIRST[1]
    assert (others, heard) == (pauses, said)


def test_they_are_made_in_a_thread_and_end_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST", (0.0, 0.0))
    turned = threading.Event()
    going = made(turned.set)
    going.start()
    assert turned.wait(10)
    going.close()
    assert going.join(10)


def test_those_that_are_closed_before_the_first_make_none() -> None:
    turned = threading.Event()
    going = made(turned.set)
    going.close()
    going.start()
    assert going.join(10)
    assert not turned.is_set()
