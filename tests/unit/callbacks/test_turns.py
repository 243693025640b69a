from __future__ import annotations

import threading

import pytest

from irs.callbacks import turns as turns_module
from irs.callbacks.records import Held
from irs.callbacks.turns import Limits, Turns
from irs.domain import keys
from irs.domain.callbacks import Record
from irs.testing import FakeClock
from irs.testing.clock import START


@pytest.fixture
def clock():
    return FakeClock()


def held(host: str = "a.example") -> Held:
    return Held(record=Record(id=keys.new_id(), url=f"https://{host}/", created=START, next_at=START),
                etag="x", own=True)


def turns(clock, **limits) -> Turns:
    return Turns(Limits(**limits), clock=lambda: clock.now().timestamp())


def test_what_is_due_comes_in_order_and_what_is_not_later(clock):
    line = turns(clock)
    first, late, second = held(), held(), held()
    assert line.add(first)
    assert line.add(late, 10)
    assert line.add(second)
    assert [line.due(), line.due(), line.due()] == [first, second, None]
    line.done(first)
    assert line.due() is None
    clock.advance(10)
    assert line.due() is late
    assert line.busy == len(line) == 2


def test_a_receiver_has_so_many_at_once_and_the_others_go_on(clock):
    line = turns(clock)
    slow = [held("slow.example") for _ in range(5)]
    other = held("other.example")
    for one in (*slow, other):
        line.add(one)
    assert [line.due() for _ in range(4)] == [slow[0], other, slow[1], None]
    line.done(slow[0])
    assert line.due() is slow[2]


def well(line, *hosts):
    """They have taken a callback."""
    for host in hosts:
        line.add(held(host))
        line.done(line.due(), well=True)


def test_a_receiver_that_is_well_has_more_at_once(clock):
    line = turns(clock, well=3)
    well(line, "a.example")
    for _ in range(5):
        line.add(held("a.example"))
    first, second, third = (line.due() for _ in range(3))
    assert line.due() is None
    line.done(first, well=False)
    assert line.due() is None  # two are under way, and that is enough now
    line.done(second, well=None)
    assert line.due() is not None
    line.done(third)
    assert line.busy == 1


def test_a_thousand_receivers_that_never_answer_leave_half_of_the_threads(clock):
    line = turns(clock, threads=4)
    well(line, "a.example")
    for n in range(50):
        line.add(held(f"{n}.dead.example"))
    for _ in range(3):
        line.add(held("a.example"))
    taken = [line.due() for _ in range(6)]
    assert [one.record.url[8:].partition(".")[0] for one in taken[:5]] == ["0", "1", "a", "a", "a"]
    assert taken[5] is None


def test_and_half_of_the_room(clock):
    line = turns(clock, room=10)
    well(line, "a.example")
    assert [line.add(held(f"{n}.dead.example")) for n in range(6)] == [True] * 5 + [False]
    assert [line.add(held("a.example")) for n in range(6)] == [True] * 5 + [False]


def test_those_that_are_well_are_remembered_within_bounds(clock, monkeypatch):
    monkeypatch.setattr(turns_module, "REMEMBERED", 2)
    line = turns(clock, room=4)
    well(line, "a.example", "b.example", "c.example")
    assert [line.add(held(f"{n}.dead.example")) for n in range(3)] == [True, True, False]
    assert not line.add(held("a.example"))
    assert line.add(held("b.example"))


def test_receivers_take_turns(clock):
    line = turns(clock)
    well(line, "a.example", "b.example", "c.example")
    for host in ("a.example", "a.example", "b.example", "c.example", "a.example"):
        line.add(held(host))
    order = [line.due().record.url[8] for _ in range(5)]
    assert order == ["a", "b", "c", "a", "a"]


def test_all_of_them_and_those_of_one_receiver_are_bounded(clock):
    line = turns(clock, room=5, each=3)
    well(line, "a.example", "b.example", "c.example")
    assert [line.add(held("a.example")) for _ in range(4)] == [True, True, True, False]
    assert [line.add(held("b.example")) for _ in range(3)] == [True, True, False]
    one = line.due()
    assert not line.add(held("c.example"))  # what is attempted counts
    line.done(one)
    assert line.add(held("c.example"))


def test_one_callback_is_in_here_once_until_it_is_done(clock):
    line = turns(clock)
    one = held()
    assert line.add(one)
    assert not line.add(one)
    assert line.due() is one
    assert one.record.id in line
    assert not line.add(one)
    line.done(one)
    assert one.record.id not in line
    assert line.add(one)


def test_threads_wait_for_what_comes_and_for_the_end():
    line = Turns()
    taken = []
    there = threading.Semaphore(0)

    def run():
        while (one := line.take()) is not None:
            taken.append(one)
            line.done(one)
            there.release()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    soon, now = held("a.example"), held("b.example")
    line.add(soon, 0.05)
    line.add(now)
    assert all(there.acquire(timeout=5) for _ in range(2))
    assert taken == [now, soon]
    line.add(held(), 3600)
    line.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert line.take() is None
