"""A batch's results: lines out of pieces, and where to go on."""

from __future__ import annotations

import json

import pytest

from irs.client import Status, Unreachable
from irs.client.reading import Reading
from tests.unit.client.scripted import ID, member


def lines(*members: dict[str, object]) -> bytes:
    return "".join(json.dumps(found, ensure_ascii=False) + "\n" for found in members).encode()


def test_lines_come_whole_however_they_are_cut() -> None:
    text = lines(member(0) | {"image": "ä\u2028\x85.jpg"}, member(1, "failed")) + b"\n" + lines(
        member(5, "queued") | {"source": "s3://b/k"})
    for size in range(1, len(text) + 1, 3):
        reading = Reading(ID, 0)
        found = [one for start in range(0, len(text), size)
                 for one in reading.feed(text[start:start + size])]
        assert [(one.number, one.status) for one in found] == [
            (0, Status.DONE), (1, Status.FAILED), (5, Status.QUEUED)]
        assert (found[0].image, found[2].result, found[2].source) == ("ä\u2028\x85.jpg", None, "s3://b/k")
        assert reading.whole()


def test_it_goes_on_where_it_broke_off_and_gives_up_where_nothing_comes() -> None:
    reading = Reading(ID, 3)
    assert [one.number for one in reading.feed(lines(member(3), member(7)) + b'{"num')] == [3, 7]
    assert not reading.whole()
    reading.broke("reset")
    assert reading.start == 8
    with pytest.raises(Unreachable, match="reset") as raised:
        reading.broke("reset")
    assert raised.value.id == ID
    assert [one.number for one in reading.feed(lines(member(8)))] == [8]


@pytest.mark.parametrize("text", ["[]", "{", '{"number": 1}', "<html>", "[" * 100_000])
def test_a_line_that_is_no_member(text: str) -> None:
    with pytest.raises(Unreachable, match="not this service"):
        Reading(ID, 0).feed(f"{text}\n".encode())
