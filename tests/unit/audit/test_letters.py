"""Looking at dead letters without taking one away."""

from __future__ import annotations

import base64

import pytest

from irs import errors
from irs.audit import letters
from irs.testing import MemoryQueue
from tests.unit.audit.auditkit import FOREIGN, World, ids, job, message


@pytest.fixture
def world() -> World:
    return World()


def test_every_letter_is_seen_once_and_is_there_and_visible_afterwards(world: World) -> None:
    jobs = [job() for _ in range(25)]
    for each in jobs:
        world.dead.send(message(each))
    assert sorted(ids(list(letters.peek(world.dead, 25)))) == sorted(each.id for each in jobs)
    assert world.dead.depth().visible == 25


def test_a_letter_is_hidden_from_others_meanwhile(world: World) -> None:
    world.dead.send(message(job()))
    looking = letters.peek(world.dead, 1)
    next(looking)
    assert list(letters.peek(world.dead, 1)) == []
    looking.close()
    assert world.dead.depth().visible == 1


def test_a_slow_reader_meets_no_letter_twice_and_comes_to_an_end(world: World) -> None:
    jobs = [job() for _ in range(30)]
    for each in jobs:
        world.dead.send(message(each))
    found = []
    for letter in letters.peek(world.dead, 30):
        found.append(letter)
        world.clock.advance(letters.HOLD)  # all that was received before is visible again
    assert len(ids(found)) == len(set(ids(found)))
    assert set(ids(found)) <= {each.id for each in jobs}


@pytest.mark.parametrize("body", FOREIGN)
def test_what_is_no_task_of_ours_is_foreign(world: World, body: str) -> None:
    world.dead.send(body)
    (letter,) = letters.peek(world.dead, 1)
    assert letter.job is None


def test_kombus_own_wrapping_is_read(world: World) -> None:
    mine = job()
    world.dead.send(base64.b64encode(message(mine, "q").encode()).decode())
    (letter,) = letters.peek(world.dead, 1)
    assert (letter.job and letter.job.id, letter.reply_to) == (mine.id, "q")


def test_letters_that_cannot_be_released_are_no_error(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.dead.send(message(job()))

    def down(*_: object) -> None:
        raise errors.Unreachable("down")

    monkeypatch.setattr(MemoryQueue, "set_visibility_batch", down)
    assert len(list(letters.peek(world.dead, 1))) == 1


# -- the newest ----------------------------------------------------------------------------------
def test_the_newest_come_first_and_all_are_visible_afterwards(world: World) -> None:
    jobs = []
    for _ in range(30):
        jobs.append(job())
        world.dead.send(message(jobs[-1]))
        world.clock.advance(1)
    found = letters.newest(world.dead, 12)
    assert ids(list(found.letters)) == [each.id for each in reversed(jobs)][:12]
    assert (found.there, found.partial) == (30, False)
    assert world.dead.depth().visible == 30


def test_of_very_many_some_are_looked_at(world: World) -> None:
    for _ in range(30):
        world.dead.send(message(job()))
    found = letters.newest(world.dead, 5, looked=20)
    assert (len(found.letters), found.there, found.partial) == (5, 30, True)
    assert world.dead.depth().visible == 30


def test_no_queue_has_no_letters() -> None:
    class Gone:
        def depth(self):
            raise errors.NotFound("no such queue")

    assert letters.newest(Gone(), 5) == letters.Look()
