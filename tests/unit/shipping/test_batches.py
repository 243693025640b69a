"""What a line of the journal becomes, and what one call takes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irs.errors import IRSError
from irs.shipping import batch as limits
from irs.shipping.batch import Batch
from irs.shipping.cursor import Cursor
from irs.shipping.entries import Entry, parse, pieces

NOW = 1_764_100_000_000


def place(number: int) -> str:
    return f"s={'a1' * 16};i={number:x};b={'b2' * 16};m=7b;t=64463a40a97e6;x=a1af33b6a0681f19"


def written(**fields: Any) -> bytes:
    return json.dumps({"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": str(NOW * 1000 + 999),
                       "_TRANSPORT": "stdout", **fields}).encode()


def entry(message: str, at: int = NOW, cursor: str = "i=1") -> Entry:
    return Entry(cursor=cursor, at=at, message=message)


@pytest.mark.parametrize(("message", "text"), [
    ("plain", "plain"), (None, ""), ([97, 255, 27], "a\ufffd\x1b"), (["a", "b"], "a\nb"),
    (["a", [98, 99]], "a\nbc"), ("half \ud800 a pair", "half ? a pair"), ("", "")])
def test_a_message_in_each_of_its_forms(message: object, text: str) -> None:
    assert parse(written(MESSAGE=message)) == Entry(cursor="s=1;i=2", at=NOW, message=text)


def test_what_systemd_says_is_a_line_like_ours() -> None:
    said = parse(written(MESSAGE="irs-web.service: Failed", _TRANSPORT="journal", PRIORITY="4",
                         SYSLOG_IDENTIFIER="systemd"))
    assert json.loads(said.message) == {
        "event": "irs-web.service: Failed", "level": "warning", "logger": "systemd",
        "timestamp": "2025-11-25T19:46:40.000Z"}
    odd = json.loads(parse(written(MESSAGE="x", _TRANSPORT="journal", PRIORITY="99")).message)
    assert (odd["level"], odd["logger"]) == ("info", "journal")


@pytest.mark.parametrize("odd", [
    b"", b"{", b"[]", b"1", b"null", b"{}", b'{"__CURSOR": "s=1"}', written(__REALTIME_TIMESTAMP="soon"),
    written(MESSAGE={"a": 1}), written(MESSAGE=[300]), b"\xff", b"[" * 10_000])
def test_what_is_no_entry_is_refused(odd: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(odd)


def test_a_long_message_is_cut_between_characters_and_whole_with_its_last_piece() -> None:
    parts = list(pieces(entry("aé€" * 5), 7))
    assert "".join(part.message for part in parts) == "aé€" * 5
    assert all(0 < len(part.message.encode()) <= 7 for part in parts)
    assert [part.cursor for part in parts] == [""] * (len(parts) - 1) + ["i=1"]
    assert list(pieces(entry("short"), 7)) == [entry("short")]


def test_a_call_is_full_by_events_by_bytes_and_by_time() -> None:
    batch = Batch()
    assert all(batch.add(entry("x", cursor=f"i={n}"), NOW) for n in range(limits.EVENTS))
    assert not batch.add(entry("x", cursor="i=ffff"), NOW)
    assert batch.cursor == f"i={limits.EVENTS - 1}", "what was refused is not in it"

    batch, size = Batch(), limits.MESSAGE
    assert all(batch.add(entry("é" * (size // 2)), NOW) for _ in range(4))
    assert not batch.add(entry("x"), NOW)
    assert sum(len(text.encode()) + limits.OVERHEAD for _, text in batch.events()) == limits.BYTES

    batch = Batch()
    assert batch.add(entry("x"), NOW)
    assert not batch.add(entry("x", NOW - limits.SPAN), NOW), "a clock that was set back a day"
    assert batch.add(entry("x", NOW - limits.SPAN + 1), NOW)
    assert not batch.add(entry("x", NOW + 1), NOW)


def test_events_are_by_time_and_those_of_one_time_in_their_order() -> None:
    batch = Batch()
    for at, text in ((5, "b"), (5, "c"), (3, "a"), (5, "d")):
        assert batch.add(entry(text, NOW + at, cursor=f"i={text}"), NOW)
    assert [text for _, text in batch.events()] == ["a", "b", "c", "d"]
    assert (batch.cursor, batch.oldest, batch.newest) == ("i=d", NOW + 3, NOW + 5)


def test_a_time_that_cloudwatch_would_refuse_is_now() -> None:
    batch = Batch()
    batch.add(entry("ahead", NOW + limits.AHEAD + 1), NOW)
    batch.add(entry("not much", NOW + limits.AHEAD), NOW)
    assert batch.events() == [(NOW, "ahead"), (NOW + limits.AHEAD, "not much")]


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_an_empty_line_is_no_event_and_passed_all_the_same(blank: str) -> None:
    batch = Batch()
    assert batch.add(entry(blank, cursor="i=9"), NOW)
    assert (len(batch), batch.cursor) == (0, "i=9")


def test_a_place_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cursor"
    assert Cursor(path).value == ""
    Cursor(path).save(place(1))
    assert Cursor(path).value == place(1)


def test_a_place_is_one_process_s(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    with Cursor(path).held(), pytest.raises(IRSError, match="another process ships from "), \
            Cursor(path).held():
        pass
    with Cursor(path).held():
        pass


@pytest.mark.parametrize("odd", [
    b"", b"nonsense", b"s=a;i=1", b"i=1;t=2", f"{place(1)};--directory=/".encode(), b"\x00\xff", b"\0" * 99,
    *(place(1)[:end].encode() for end in (34, 40, 50, 73, 80, 95)), place(2**64).encode()])
def test_a_place_that_is_none_is_the_beginning(tmp_path: Path, odd: bytes, events: list[Any]) -> None:
    (tmp_path / "cursor").write_bytes(odd)
    assert Cursor(tmp_path / "cursor").value == ""
    assert [e["event"] for e in events] == ["logs.cursor_unreadable"]


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path, events: list[Any]) -> None:
    cursor = Cursor(tmp_path / "cursor")
    (tmp_path / "cursor.part").mkdir()  # cannot be opened as a file, by root neither
    for number in (1, 2):
        cursor.save(place(number))
    assert (cursor.value, [e["event"] for e in events]) == (place(2), ["logs.cursor_unwritten"])
    (tmp_path / "cursor.part").rmdir()
    cursor.save(place(3))
    assert Cursor(tmp_path / "cursor").value == place(3)
