"""The file of `--out`: whole rows, mended after a kill, never somebody else's."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from irs.cli import rows
from irs.client import Failed, Overloaded, Refused, Result, TimedOut, Unreadable
from irs.client.errors import ClientError, NotFound, Unauthorized, Unreachable
from irs.errors import SettingsError
from tests.unit.httpkit import ID, done

RESULT = Result.from_dict(done("a", "eel, electric"))
ODD = 'a "b", c\n.jpg'


@pytest.fixture(params=["out.csv", "out.jsonl"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def fill(out: Path, *files: str) -> None:
    with rows.Table(out) as table:
        for file in files:
            table.add(rows.of_result(RESULT, file))


def known(out: Path) -> dict[str, bool]:
    with rows.Table(out) as table:
        return table.known


def test_what_is_written_is_read(out: Path) -> None:
    undecodable = os.fsdecode(b"\xff.jpg")
    fill(out, "a.jpg", ODD, "ü.jpg", undecodable)
    with rows.Table(out) as table:
        table.add(rows.of_error(Failed("no", code="undecodable", status=422, id=ID), "bad.jpg"))
    assert known(out) == {"a.jpg": True, ODD: True, "ü.jpg": True, undecodable: True, "bad.jpg": False}


def test_no_name_is_a_formula_and_each_is_found_again(tmp_path: Path) -> None:
    out, names = tmp_path / "out.csv", ("=1+1.jpg", "-a.jpg", "'=b.jpg", "'c.jpg", "+d, e.jpg")
    fill(out, *names)
    with out.open(newline="") as file:
        cells = [row["file"] for row in csv.DictReader(file)]
    assert cells == ["'=1+1.jpg", "'-a.jpg", "''=b.jpg", "'c.jpg", "'+d, e.jpg"]
    assert known(out) == dict.fromkeys(names, True)


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\rb.jpg", "\n", "a\r\nb.jpg", "a\r"])
def test_a_name_with_an_end_of_line_is_one_row(out: Path, name: str) -> None:
    fill(out, "a.jpg", name, "c.jpg")
    assert known(out) == dict.fromkeys(["a.jpg", name, "c.jpg"], True)


def test_the_columns(tmp_path: Path) -> None:
    out = tmp_path / "out.CSV"
    fill(out, ODD)
    with rows.Table(out) as table:
        table.add(rows.of_error(Refused("why, so", code="too_large", status=413), "b.jpg"))
    with out.open(newline="") as file:
        good, bad = csv.DictReader(file)
    assert tuple(good) == rows.COLUMNS
    assert list(good.values()) == [ODD, "done", "eel, electric", "0.5", "", "", ID]
    assert list(bad.values()) == ["b.jpg", "refused", "", "", "too_large", "why, so", ""]


def test_whatever_a_kill_leaves_is_mended(out: Path) -> None:
    fill(out, "a.jpg", ODD, "c.jpg")
    whole = out.read_bytes()
    kept = []
    for size in sorted({*range(0, len(whole), 7), len(whole) - 1, len(whole)}):
        out.write_bytes(whole[:size])
        found = known(out)
        kept.append(len(found))
        assert set(found) <= {"a.jpg", ODD, "c.jpg"}
        missing = [file for file in ("a.jpg", ODD, "c.jpg") if file not in found]
        fill(out, *missing)
        assert out.read_bytes() == whole
    assert kept == sorted(kept)  # no more is lost than the row that was being written
    assert (kept[0], kept[-2], kept[-1]) == (0, 2, 3)


@pytest.mark.parametrize(("name", "text"), [
    ("out.csv", "name,label\na.jpg,eel\n"), ("out.csv", rows.head() + "\na.jpg,done\n"),
    ("out.jsonl", "[1]\n"), ("out.jsonl", "hello\n"), ("out.jsonl", '{"file": "a.jpg"}\n'),
])
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    out = tmp_path / name
    out.write_text(text)
    with pytest.raises(SettingsError, match="none that this command writes"):
        rows.Table(out)
    assert out.read_text() == text


def test_the_suffix_says_the_form(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"call it \.csv or \.jsonl"):
        rows.Table(tmp_path / "out.txt")


def test_two_do_not_write_to_one_file(out: Path) -> None:
    with rows.Table(out), pytest.raises(SettingsError, match="another command writes to it"):
        rows.Table(out)
    known(out)  # and it is free afterwards


def test_a_row_goes_out_at_once(out: Path) -> None:
    with rows.Table(out) as table:
        table.add(rows.of_result(RESULT, "a.jpg"))
        assert out.read_bytes().endswith(b"\n")
        assert b"a.jpg" in out.read_bytes()


def test_rows_told_apart_by_id(out: Path) -> None:
    fill(out, "a.jpg")
    with rows.Table(out, key="id") as table:
        assert table.known == {ID: True}


@pytest.mark.parametrize(("error", "status"), [
    (Failed("x", code="gave_up", status=500, id=ID), "failed"),
    (Refused("x", code="y", status=400), "refused"),
    (NotFound("x", code="y", status=404), "refused"), (Unauthorized("x", code="y", status=401), "refused"),
    (Unreadable("x"), "unreadable"), (TimedOut("x", id=ID), "queued"), (Unreachable("x"), "unavailable"),
    (Overloaded("x", retry_after=1), "unavailable"),
])
def test_the_status_of_an_error(error: ClientError, status: str) -> None:
    row = rows.of_error(error, "dir/a.jpg")
    assert (row["status"], row["ok"], row["image"], row.get("id")) == (status, False, "a.jpg", error.id)
    assert json.loads(rows.as_json(row)) == row
