"""Which images may go, and whose turn it is to build."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from irs.ami import turn
from irs.ami.choosing import expendable, listed
from irs.ami.turn import STALE, Taken, Turn
from irs.aws.machine_images import MachineImage
from irs.testing import MemoryObjects


def image(name: str, state: str = "available") -> MachineImage:
    return MachineImage(id=name, state=state, name=name, version="0.1.0", model="m", base="b",
                        built_at=datetime(2026, 1, 1, tzinfo=UTC), snapshots=())


@pytest.mark.parametrize(("states", "users", "keep", "gone"), [
    # the newest first
    ("aaaa", {}, 2, "34"),
    ("aaaa", {}, 0, "1234"),
    ("aaaa", {}, 9, ""),
    # one that is used stays, and takes nobody's place
    ("aaaa", {"4": ["i-1"]}, 2, "3"),
    ("aaaa", {"1": ["i-1"]}, 0, "234"),
    # what is being made is left alone, and counts for nothing
    ("paaa", {}, 2, "4"),
    # what was never whole goes, unless somebody uses it all the same
    ("afaa", {}, 3, "2"),
    ("afaa", {"2": ["i-1"]}, 3, ""),
    ("", {}, 0, ""),
])
def test_what_may_go(states: str, users: dict[str, list[str]], keep: int, gone: str) -> None:
    words = {"a": "available", "p": "pending", "f": "failed"}
    images = [image(str(n), words[s]) for n, s in enumerate(states, 1)]
    found = expendable(listed(images, instances=users, templates={}, setting=""), keep=keep)
    assert "".join(i.id for i in found) == gone


def test_the_image_of_the_next_launch_is_used() -> None:
    found = listed([image("new"), image("old")], instances={"old": ["i-2", "i-1"]}, setting="old",
                   templates={"old": ["lt-2:1", "lt-1:4"]})
    assert [item.users for item in found] == [(), ("IRS_AMI", "lt-1:4", "lt-2:1", "i-1", "i-2")]
    assert expendable(found, keep=1) == []


def test_an_image_that_a_launch_template_names_stays() -> None:
    found = listed([image("new"), image("named"), image("old")], instances={}, setting="",
                   templates={"named": ["lt-1:4"], "ami-of-others": ["lt-2:1"]})
    assert [i.id for i in expendable(found, keep=0)] == ["new", "old"]


class Wall:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_one_build_at_a_time_until_it_says_nothing() -> None:
    shelf, wall = MemoryObjects(), Wall()
    first, second = (Turn(shelf, "irs", name, wall=wall) for name in ("first", "second"))
    first.take()
    with pytest.raises(Taken, match="build first is under way"):
        second.take()
    wall.now += STALE - 1
    first.keep()
    wall.now += STALE - 1
    with pytest.raises(Taken):
        second.take()
    wall.now += 2
    second.take()
    wall.now += 60
    with pytest.raises(Taken, match="build second has begun meanwhile"):
        first.keep()
    first.give_back()
    assert turn.read(shelf, turn.key("irs"))[0]["build"] == "second", "it was not the first one's to give"
    second.give_back()
    assert turn.read(shelf, turn.key("irs")) == ({}, "")


def test_two_that_begin_at_once_are_told_apart() -> None:
    shelf, wall = MemoryObjects(), Wall()
    first, second = (Turn(shelf, "irs", name, wall=wall) for name in ("first", "second"))
    second._write("")
    with pytest.raises(Taken, match="build second has begun"):
        first._write("")


def test_a_turn_that_nobody_can_read_is_free() -> None:
    shelf = MemoryObjects()
    shelf.put(turn.key("irs"), b"\xff[]")
    Turn(shelf, "irs", "first", wall=Wall()).take()
    assert turn.read(shelf, turn.key("irs"))[0]["build"] == "first"
