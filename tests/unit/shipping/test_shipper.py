"""The shipper against a journal and a stream in memory, by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from irs import errors
from irs.shipping import shipper as module
from irs.shipping.cursor import Cursor
from irs.shipping.entries import Entry
from irs.shipping.lag import AGAIN, BEHIND, Lag
from irs.shipping.shipper import Shipper

T0 = 1_764_100_000.0
AWAY = errors.Unreachable("no way there")
BUSY = errors.Throttled("slow down", code="ThrottlingException")
GONE = errors.NotFound("the group is not there")
DENIED = errors.AccessDenied("not yours")
ODD = errors.Invalid("that is no event")


class World:
    """A journal, a stream, a clock and signals, in one."""

    def __init__(self, tmp_path: Path) -> None:
        self.now = T0
        #: seconds that its clock was set back by, once something was read
        self.set_back = 0.0
        self._back = 0.0
        #: seconds that it would wait for lines
        self.waits: list[float] = []
        self.journal: list[Entry] = []
        self.taken: list[str] = []
        self.calls: list[int] = []
        self.made = 0
        #: what the next calls raise; a function decides by the events
        self.faults: list[Exception] = []
        self.picky: Callable[[Sequence[str]], None] = lambda texts: None
        self.refused = 0
        #: done one at a time whenever the source has nothing more
        self.then: list[Callable[[], None]] = []
        #: done whenever it pauses between tries
        self.meanwhile: Callable[[], object] = lambda: None
        self.pauses: list[float] = []
        self.count = 0
        self.cursor = Cursor(tmp_path / "cursor")
        self.shipper = self.another()

    def another(self) -> Shipper:
        return Shipper(self, self.cursor, self, self._source, clock=lambda: self.now - self._back,
                       timer=lambda: self.now)

    # the journal
    def write(self, *texts: str) -> None:
        for text in texts:
            self.journal.append(Entry(cursor=f"i={len(self.journal) + 1:x}", at=int(self.now * 1000),
                                      message=text))

    def _source(self, follow: bool) -> AbstractContextManager[Any]:
        return nullcontext(_Source(self, follow))

    # the stream
    def make(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.made += 1

    def put(self, events: Sequence[tuple[int, str]]) -> int:
        self.calls.append(len(events))
        if self.faults:
            raise self.faults.pop(0)
        self.picky([text for _, text in events])
        self.taken += [text for _, text in events]
        return self.refused

    # signals
    def fileno(self) -> int:
        return -1

    def stop(self) -> None:
        self.count += 1

    def wait(self, timeout: float, *, more_than: int) -> bool:
        if timeout and self.count <= more_than:
            self.pauses.append(timeout)
            self.now += timeout
            self.meanwhile()
        return self.count > more_than


class _Source:
    def __init__(self, world: World, follow: bool) -> None:
        self._world, self._follow = world, follow
        self._next = int(world.cursor.value.removeprefix("i=") or "0", 16)
        self.ended = False

    def read(self, seconds: float, also: int) -> list[Entry]:
        found = self._world.journal[self._next:]
        self._next += len(found)
        self._world.waits.append(seconds)
        self._world._back = self._world.set_back if found else self._world._back
        if not found:
            if not self._follow:
                self.ended = True
                return []
            self._world.now += seconds
            if seconds == module.QUIET:
                self._world.then.pop(0)()
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(events: list[Any]) -> list[str]:
    return [e["event"] for e in events if e["event"] != "logs.stopped"]


def test_lines_go_out_in_batches_and_the_last_ones_after_the_stop(world: World, events: list[Any]) -> None:
    world.write("a", "b")
    world.then = [lambda: world.write("c"), world.stop]
    world.shipper.run()
    assert (world.taken, world.calls, world.made) == (["a", "b", "c"], [2, 1], 2)
    assert world.cursor.value == "i=3"
    assert [(e["event"], e["events"]) for e in events] == [("logs.stopped", 3)]


def test_what_is_written_until_the_end_of_a_drain_goes_too(world: World) -> None:
    world.write("a")
    world.then = [lambda: (world.write("last words"), world.stop())]
    picky: list[int] = []

    def more(texts: Sequence[str]) -> None:
        if texts == ["last words"] and not picky:
            picky.append(1)
            world.write("and of systemd about them")

    world.picky = more
    world.shipper.run()
    assert world.taken == ["a", "last words", "and of systemd about them"]


@pytest.mark.parametrize("fault", [AWAY, BUSY, GONE, DENIED])
def test_what_fails_is_tried_again_and_nothing_goes_past_it(
        world: World, events: list[Any], fault: errors.CloudError) -> None:
    world.faults = [fault] * 8  # the stream first, then a put
    world.write("a", "b")
    world.then = [lambda: None, world.stop]
    world.shipper.run()
    assert world.taken == ["a", "b"]
    first, most = module.PAUSE
    assert all(first <= pause <= most for pause in world.pauses)
    assert max(world.pauses) > 8 * first


def test_the_place_is_kept_only_behind_what_was_taken(world: World, events: list[Any]) -> None:
    world.write("a")
    world.then = [lambda: (world.write("b"), world.faults.extend([AWAY] * 1000))]
    world.meanwhile = lambda: len(world.pauses) == 5 and world.stop()
    world.shipper.run()
    assert (world.taken, world.cursor.value, told(events)) == (["a"], "i=1", ["logs.left"])
    # Another process begins where this one was.
    world.faults.clear()
    world.count = 0
    again = world.another()
    again.once(10)
    assert (world.taken, again.shipped) == (["a", "b"], 1)


def test_a_drain_is_over_in_time_and_says_what_is_left(world: World, events: list[Any]) -> None:
    world.write("a")
    world.then = [lambda: (world.write("b"), world.stop(), world.faults.extend([BUSY] * 1000))]
    world.shipper.run()
    assert world.taken == ["a"]
    assert sum(world.pauses) <= module.DRAIN
    assert told(events) == ["logs.left"]


def test_a_drain_is_over_in_time_where_there_is_too_much(world: World, events: list[Any]) -> None:
    """Each call succeeds and takes its time, and for each there are new lines."""
    def slow(texts: Sequence[str]) -> None:
        world.now += module.DRAIN / 3
        world.write("one more")

    world.picky = slow
    world.write("a")
    world.stop()
    world.shipper.run()
    assert world.taken == ["a", "one more", "one more"]
    assert [(e["event"], "no time" in e["why"]) for e in events if e["event"] == "logs.left"] == [
        ("logs.left", True)]


def test_in_a_drain_a_second_signal_makes_haste_and_a_refusal_is_final(
        world: World, events: list[Any]) -> None:
    world.faults = [GONE] * 2
    world.stop()
    world.shipper.run()
    assert (world.pauses, told(events)) == ([], ["logs.behind", "logs.left"])


def test_it_says_when_it_falls_behind_and_when_it_no_longer_does(world: World, events: list[Any]) -> None:
    world.write("a")
    world.faults = [BUSY]
    world.meanwhile = lambda: world.faults.append(AWAY) if world.now < T0 + 2 * AGAIN else None
    world.then = [lambda: world.write("b"), world.stop]
    world.shipper.run()
    behind = [e for e in events if e["event"] == "logs.behind"]
    assert [e["why"] for e in behind] == ["no way there"] * 2, "one line in ten minutes"
    assert BEHIND < behind[0]["seconds"] < behind[1]["seconds"] - AGAIN + 1
    assert told(events)[-1] == "logs.caught_up"
    assert world.taken == ["a", "b"]


def test_old_lines_are_no_trouble_unless_it_stays_so(world: World, events: list[Any]) -> None:
    """A machine that was stopped for a day, and then one that writes more than is taken."""
    world.write("yesterday's")
    world.now += 86_400
    world.then = [lambda: None, world.stop]
    world.shipper.run()
    assert told(events) == []
    lag = Lag()
    for minute in range(20):
        lag.shipped(60.0 * minute, 100)
    assert [(e["seconds"], e["why"]) for e in events if e["event"] == "logs.behind"] == [
        (100, "more is written than is shipped")] * 2


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_holds_no_line_up(world: World, events: list[Any], hours: int) -> None:
    world.write("a")
    world.set_back = 3600.0 * hours
    world.then = [world.stop]
    world.shipper.run()
    assert world.taken == ["a"]
    assert max(world.waits) <= module.QUIET
    assert told(events) == []


def test_a_group_that_is_not_there_is_told_at_once_and_once(world: World, events: list[Any]) -> None:
    world.faults = [GONE] * 4
    world.write("a")
    world.then = [lambda: None, world.stop]
    world.shipper.run()
    assert told(events) == ["logs.behind", "logs.caught_up"]
    assert events[0]["why"] == "the group is not there"


def test_a_stream_that_somebody_deleted_is_made_again(world: World) -> None:
    world.write("a")
    world.then = [lambda: (world.write("b"), world.faults.append(GONE)), world.stop]
    world.shipper.run()
    assert world.taken == ["a", "b"]
    assert world.made == 3, "at the start, after the loss, and for the drain"


def test_an_event_that_is_refused_does_not_hold_up_the_others(world: World, events: list[Any]) -> None:
    def picky(texts: Sequence[str]) -> None:
        if "bad" in texts:
            raise ODD

    world.picky = picky
    world.write("a", "b", "bad", "c", "d")
    world.shipper.once(10)
    assert world.taken == ["a", "b", "c", "d"]
    assert [(e["event"], e["size"], e["why"]) for e in events] == [
        ("logs.event_refused", 3, "that is no event")]


def test_what_is_too_old_for_cloudwatch_is_counted(world: World, events: list[Any]) -> None:
    world.refused = 2
    world.write("a", "b", "c")
    world.shipper.once(10)
    assert [(e["event"], e["events"]) for e in events] == [("logs.too_old", 2)]


@pytest.mark.parametrize(("fault", "pauses"), [(GONE, False), (DENIED, False), (AWAY, True)])
def test_who_asks_for_what_there_is_learns_why_not(world: World, fault: errors.CloudError,
                                                   pauses: bool) -> None:
    world.faults = [fault] * 100
    with pytest.raises(type(fault), match=str(fault)):
        world.shipper.once(10)
    assert bool(world.pauses) == pauses
    assert sum(world.pauses) <= 10
