"""When a job counts as fallen out of the queue."""

from __future__ import annotations

import pytest

from irs.domain.requeue import APART, LONGEST, OVERTAKEN, Open, Seen, lost, ripe, seen

AFTER = 30.0
EMPTY = Seen(empty_since=100.0)


@pytest.mark.parametrize(("before", "messages", "after", "why"), [
    (Seen(), 0, Seen(empty_since=7.0), "the first empty look begins to count"),
    (EMPTY, 0, EMPTY, "the next ones go on"),
    (EMPTY, 1, Seen(), "one message ends it"),
    (EMPTY, None, Seen(), "a queue that cannot be asked ends it"),
])
def test_looks_add_up(before: Seen, messages: int | None, after: Seen, why: str) -> None:
    assert seen(before, 7.0, messages) == after, why


@pytest.mark.parametrize(("sent", "again", "queue", "now", "newest_done", "expected", "why"), [
    (0, 0, EMPTY, 100 + APART, None, True, "old, and nothing in the queue twice"),
    (0, 0, EMPTY, 99 + APART, None, False, "seen empty for a moment only: counts are late"),
    (0, 0, Seen(), 1000, None, False, "the queue holds something"),
    (101, 0, EMPTY, 131, None, False, "sent after the queue was first seen empty"),
    (80, 0, EMPTY, 109, None, False, "too young: one second"),
    (80, 0, EMPTY, 110, None, True, "just old enough"),
    (50, 1, EMPTY, 105, None, False, "sent again: gets twice as long"),
    (50, 1, EMPTY, 110, None, True, "and no longer"),
    (0, 0, Seen(), 1000, OVERTAKEN * AFTER, True, "one sent much later is done"),
    (0, 0, Seen(), 1000, OVERTAKEN * AFTER - 1, False, "one sent not so much later is done"),
    (0, 0, Seen(), 20, OVERTAKEN * AFTER, False, "overtaken and too young"),
    (-LONGEST * AFTER, 50, EMPTY, 105, None, True, "the growth has an end"),
])
def test_lost(sent: float, again: int, queue: Seen, now: float, newest_done: float | None,
              expected: bool, why: str) -> None:
    job = Open(id="a", sent=sent, again=again)
    found = lost([job], now=now, queue=queue, after=AFTER, newest_done=newest_done)
    assert found == (["a"] if expected else []), why


def test_only_what_is_lost_is_named() -> None:
    jobs = [Open(id="old", sent=0), Open(id="young", sent=99), Open(id="older", sent=-5)]
    assert lost(jobs, now=110, queue=EMPTY, after=AFTER, newest_done=None) == ["old", "older"]


def test_never_is_never() -> None:
    job = Open(id="a", sent=0)
    assert not ripe(job, 1e12, float("inf"))
    assert lost([job], now=1e12, queue=EMPTY, after=float("inf"), newest_done=1e12) == []
