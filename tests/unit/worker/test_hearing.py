"""Deafness, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from irs.heartbeat import Heartbeat
from irs.worker import lifecycle
from irs.worker.hearing import DEAF, EXIT, STEP, Hearing

LOOK = lifecycle.LOOK_EVERY


class Ear:
    """A clock, and when the queue last answered."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.heard: float | None = 1000.0
        self.hearing = Hearing(lambda: self.heard, lambda: self.now)

    def pass_by(self, seconds: float, *, answered: bool, every: float = LOOK) -> bool:
        """So many seconds of looks; whether the last one found it deaf."""
        deaf = False
        for _ in range(round(seconds / every)):
            self.now += every
            if answered:
                self.heard = self.now - 0.5
            deaf = self.hearing.deaf()
        return deaf


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_a_worker_whose_polls_are_answered_is_never_deaf(ear: Ear) -> None:
    assert not ear.pass_by(10 * DEAF, answered=True)
    assert ear.hearing.silence == 0


def test_silence_makes_deaf_and_not_before_its_time(ear: Ear) -> None:
    assert not ear.pass_by(DEAF - LOOK, answered=False)
    assert ear.pass_by(LOOK, answered=False)


def test_one_answer_ends_a_silence(ear: Ear) -> None:
    ear.pass_by(DEAF - LOOK, answered=False)
    ear.pass_by(LOOK, answered=True)
    assert not ear.pass_by(DEAF - LOOK, answered=False)


def test_a_worker_whose_receivers_are_gone_is_deaf(ear: Ear) -> None:
    ear.heard = None
    assert ear.pass_by(DEAF, answered=False)


def test_a_process_that_was_stopped_gets_its_time_to_hear(ear: Ear) -> None:
    ear.now += 10 * DEAF
    assert not ear.hearing.deaf()
    assert ear.hearing.silence == STEP
    assert not ear.pass_by(LOOK, answered=True)


def test_looks_that_are_late_each_time_still_count(ear: Ear) -> None:
    """A watch that is held up by other calls does not forgive the silence."""
    assert ear.pass_by(DEAF / STEP * 60, answered=False, every=60)


@pytest.mark.parametrize("draining", [False, True])
def test_a_deaf_worker_ends_itself_unless_it_drains(
        ear: Ear, draining: bool, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    class Drain:
        began = False
        heartbeat = Heartbeat(None)

    class Ended(Exception):
        pass

    exits: list[int] = []

    def leave(code: int) -> None:
        exits.append(code)
        raise Ended

    def look(watch: Any) -> None:
        ear.now += LOOK
        if draining and ear.now > 1000 + DEAF / 2:
            drain.began = True

    drain = Drain()
    monkeypatch.setattr(lifecycle, "LOOK_EVERY", 0)
    monkeypatch.setattr(lifecycle.os, "_exit", leave)
    monkeypatch.setattr(lifecycle.Watch, "_look", look)
    watch = lifecycle.Watch(drain, None)  # type: ignore[arg-type]
    watch._hearing = ear.hearing
    if draining:
        watch.run()
    else:
        with pytest.raises(Ended):
            watch.run()
    assert exits == ([] if draining else [EXIT])
    assert [e["event"] for e in events] == ([] if draining else ["worker.deaf"])
