"""Waiting a fault out, with the pauses written down instead of slept."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from irs.worker import patience
from irs.worker.patience import LONGEST, Postponed, outlast


class Work:
    """Fails so often, then answers."""

    def __init__(self, faults: int, *, passing: bool = True) -> None:
        self.calls = 0
        self._faults, self._passing = faults, passing

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._faults:
            raise Postponed("down", passing=self._passing)
        return "done"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def wait(pauses: list[float]) -> Callable[[float], bool]:
    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False
    return wait


def test_no_fault_no_pause(pauses: list[float], wait: Callable[[float], bool]) -> None:
    assert outlast("1", Work(0), wait=wait) == "done"
    assert pauses == []


def test_pauses_grow_and_are_bounded(pauses: list[float], wait: Callable[[float], bool]) -> None:
    assert outlast("1", Work(12), wait=wait) == "done"
    most = [0.5, 1, 2, 4, 8] + [10] * 7
    assert all(at_most / 2 <= pause <= at_most for pause, at_most in zip(pauses, most, strict=True))


def test_what_is_not_passing_is_the_queues_at_once(
        pauses: list[float], wait: Callable[[float], bool]) -> None:
    work = Work(1, passing=False)
    with pytest.raises(Postponed):
        outlast("1", work, wait=wait)
    assert (work.calls, pauses) == (1, [])


def test_a_fault_that_lasts_too_long_costs_a_receive(
        pauses: list[float], wait: Callable[[float], bool]) -> None:
    with pytest.raises(Postponed):
        outlast("1", Work(10_000), wait=wait)
    assert LONGEST <= sum(pauses) <= LONGEST + patience.BACKOFF[1]


def test_a_drain_hands_back_at_once() -> None:
    work = Work(10_000)
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(Postponed):
            outlast("1", work)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    patience.hurry.set()
    assert ended.wait(5)
    thread.join()
    assert work.calls <= 2
