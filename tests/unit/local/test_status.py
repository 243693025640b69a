"""The status line says what was found, and no more often than it should."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from irs.aws.queues import Depth
from irs.local import status
from irs.local.status import Display, Snapshot

IDLE = Snapshot(depth=Depth(visible=0, in_flight=0, delayed=0), instances={"running": 1}, answered=3)


@pytest.mark.parametrize(("snapshot", "line"), [
    (IDLE, "queue 0 waiting, 0 in flight · instances: 1 running · 3 images answered"),
    (Snapshot(depth=Depth(visible=7, in_flight=2, delayed=0), answered=0,
              instances={"stopped": 1, "running": 2, "pending": 3}),
     "queue 7 waiting, 2 in flight · instances: 3 pending, 2 running, 1 stopped · 0 images answered"),
    (Snapshot(), "queue not reachable · instances: none · web tier not reachable"),
])
def test_line(snapshot: Snapshot, line: str) -> None:
    assert str(snapshot) == line


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr("irs.local.status.time.monotonic", lambda: now[0])
    yield now


def test_without_a_terminal_a_line_is_printed_when_it_is_news(clock: list[float]) -> None:
    out = io.StringIO()
    busy = Snapshot(depth=Depth(visible=1, in_flight=0, delayed=0), instances={}, answered=3)
    with Display(Console(file=out, width=40)) as display:
        for moment, snapshot in ((0, IDLE), (1, IDLE), (2, busy), (6, busy), (20, busy), (36, busy)):
            clock[0] = moment
            display.show(snapshot)
    assert out.getvalue().splitlines() == [str(IDLE), str(busy), str(busy)], \
        "at 0; the change, once 5 s have passed; then every 30 s"


def test_on_a_terminal_it_is_shown_in_place() -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=120)) as display:
        display.show(IDLE)
        display.show(Snapshot())
    first, _, second = out.getvalue().partition("\r\x1b[2K")
    assert "images answered" in first
    assert "queue not reachable" in second, "over the first, not below it"


def test_a_web_tier_that_does_not_answer() -> None:
    assert status.answered("http://127.0.0.1:9") is None
