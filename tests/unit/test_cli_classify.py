"""`irs classify` against a server on a real socket that answers as the contract says."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

import irs
from irs import cli
from irs import settings as cli_settings
from tests.unit.httpkit import DEADLINE, ID, Reply, Server, done, problem


def lines(text: str) -> list[str]:
    """What was said of images, without the summary."""
    return [line for line in text.splitlines() if " images/s" not in line]


# -- what is printed --------------------------------------------------------------------------
def test_lines_in_the_order_given(server: Server, pictures: list[str]) -> None:
    last = threading.Event()

    def answer(method: str, path: str, name: str) -> Reply:
        # The first file's answer comes after the last one's.
        if name == "photo_0":
            assert last.wait(DEADLINE)
        if name == "photo_2":
            last.set()
        return 200, {}, done(name, "tench")

    server.answer = answer
    shown = server.irs("classify", *pictures)
    assert shown.exit_code == 0
    assert shown.stdout == "(photo_0, tench)\n(photo_1, tench)\n(photo_2, tench)\n"
    assert shown.stderr.startswith("3 done, 0 failed, ")
    assert lines(shown.stderr) == []


def test_one_image_needs_no_summary(server: Server, pictures: list[str]) -> None:
    assert server.irs("classify", pictures[0]).stderr == ""


@pytest.mark.parametrize(("variables", "own", "sent"), [
    ({}, True, None),
    ({"IRS_API_KEY": "one-of-16-letters"}, False, "one-of-16-letters"),
    ({"IRS_API_KEYS": "a:first-of-16-letters,b:other-of-16-letters"}, True, "first-of-16-letters"),
    ({"IRS_API_KEYS": "a:first-of-16-letters"}, False, None),
    ({"IRS_API_KEYS": "a:first-of-16-letters", "IRS_API_KEY": "mine-of-16-letters"}, True,
     "mine-of-16-letters"),
])
def test_the_key_that_is_sent(server: Server, pictures: list[str], monkeypatch: pytest.MonkeyPatch,
                              variables: dict[str, str], own: bool, sent: str | None) -> None:
    for name, value in {**variables, "IRS_PORT": server.url.rpartition(":")[2]}.items():
        monkeypatch.setenv(name, value)
    cli_settings.load.cache_clear()
    try:
        where = [] if own else ["--url", server.url]
        ended = CliRunner().invoke(cli.cli, ["classify", *where, pictures[0]])
    finally:
        cli_settings.load.cache_clear()
    assert ended.exit_code == 0, ended.output
    headers = {name.lower(): value for name, value in server.seen[0][2].items()}
    assert headers.get("x-api-key") == sent


def test_what_is_sent(server: Server, pictures: list[str]) -> None:
    server.irs("classify", pictures[0], "--wait", "7")
    ((method, path, headers, body),) = server.seen
    headers = {name.lower(): value for name, value in headers.items()}
    assert (method, path, body) == ("POST", "/v1/images?name=photo_0.jpg", b"photo_0.jpg")
    assert (headers["accept"], headers["prefer"]) == ("application/json", "wait=7")


def test_refusals_and_missing_files_fail_alone(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (
        (415, {}, problem("unsupported_format", "not an image format the service takes"))
        if name == "photo_1" else (200, {}, done(name, "eel")))
    shown = server.irs("classify", *pictures, "absent.jpg")
    assert shown.exit_code == cli.FAILED
    assert shown.stdout == "(photo_0, eel)\n(photo_2, eel)\n"
    assert lines(shown.stderr) == ["(photo_1, error: not an image format the service takes)",
                                   "(absent, error: No such file or directory)"]
    assert shown.stderr.splitlines()[-1].startswith("2 done, 2 failed, ")


def test_json_lines(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (
        (422, {}, problem("undecodable", "no", id=ID)) if name == "photo_1"
        else (413, {}, "too large\n") if name == "photo_2" else (200, {}, done(name, "eel")))
    shown = server.irs("classify", "--json", *pictures)
    first, second, third = map(json.loads, shown.stdout.splitlines())
    assert (first["file"], first["ok"], first["label"]) == (pictures[0], True, "eel")
    assert (second["status"], second["id"], second["error"]) == (
        "failed", ID, {"code": "undecodable", "message": "no"})
    assert (third["ok"], third["status"]) == (False, "refused")
    assert third["result"] == "(photo_2, error: too large)"


def test_a_queued_job_is_followed(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (
        (202, {}, {"id": ID, "status": "queued"}) if method == "POST"
        else (200, {}, done("photo_0", "tench")))
    shown = server.irs("classify", pictures[0], "--wait", "20")
    assert shown.stdout == "(photo_0, tench)\n"
    assert [(method, path.partition("?")[0]) for method, path, *_ in server.seen] == [
        ("POST", "/v1/images"), ("GET", f"/v1/images/{ID}")]


def test_a_job_that_is_not_ready_says_how_to_ask(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (202, {}, {"id": ID, "status": "queued"})
    shown = server.irs("classify", pictures[0], "--wait", "0")
    assert shown.exit_code == cli.FAILED
    assert shown.stderr == (
        f"(photo_0, error: no result after 0 s, the job goes on: irs results {ID})\n")


def test_overload_that_lasts_is_told(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (
        503, {"Retry-After": "1"}, problem("overloaded", "too many clients are waiting"))
    shown = server.irs("classify", pictures[0], "--wait", "0")
    assert shown.exit_code == cli.FAILED
    assert shown.stderr == "(photo_0, error: too many clients are waiting)\n"


@pytest.mark.parametrize("parallel", [1, 4])
def test_so_many_at_once(server: Server, tmp_path: Path, parallel: int) -> None:
    paths = [tmp_path / f"p{number}.jpg" for number in range(2 * parallel)]
    for path in paths:
        path.write_bytes(b"x")
    together = threading.Barrier(parallel)

    def answer(method: str, path: str, name: str) -> Reply:
        together.wait(DEADLINE)  # breaks, and fails the test, unless so many are here at once
        return 200, {}, done(name, "eel")

    server.answer = answer
    assert server.irs("classify", "--parallel", str(parallel), *map(str, paths)).exit_code == 0


def test_one_wrong_key_is_one_line(server: Server, pictures: list[str]) -> None:
    server.answer = lambda method, path, name: (401, {}, problem("unauthorized", "an API key is wanted"))
    shown = server.irs("classify", *pictures)
    assert (shown.exit_code, shown.output) == (cli.CANNOT, "irs: an API key is wanted\n")


def test_ctrl_c_is_quiet_and_at_once(server: Server, pictures: list[str]) -> None:
    arrived, over = threading.Event(), threading.Event()

    def answer(method: str, path: str, name: str) -> Reply:
        arrived.set()
        over.wait(DEADLINE)
        return 200, {}, done(name, "eel")

    server.answer = answer
    command = subprocess.Popen(
        [sys.executable, "-m", "irs", "classify", "--url", server.url, *pictures], text=True,
        cwd=Path(irs.__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert arrived.wait(DEADLINE)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=DEADLINE)  # while every answer is still held back
    finally:
        over.set()
        command.kill()
    assert (command.returncode, said) == (cli.INTERRUPTED, ("", ""))


# -- folders ----------------------------------------------------------------------------------
def test_a_folder_stands_for_its_images(server: Server, pictures: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    shown = server.irs("classify", str(tmp_path))
    assert shown.stdout == "(photo_0, tench)\n(photo_1, tench)\n(photo_2, tench)\n"


def test_a_folder_without_images(server: Server, tmp_path: Path) -> None:
    shown = server.irs("classify", str(tmp_path))
    assert shown.exit_code == cli.CANNOT
    assert f"no images in {tmp_path}" in shown.stderr


# -- --out ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_rows_go_to_the_file_and_are_not_done_twice(
        server: Server, pictures: list[str], tmp_path: Path, name: str) -> None:
    server.answer = lambda method, path, name: (
        (415, {}, problem("unsupported_format", "no")) if name == "photo_1"
        else (503, {}, problem("overloaded", "later")) if name == "photo_2" and len(server.seen) < 4
        else (200, {}, done(name, "eel")))
    out = tmp_path / name
    first = server.irs("classify", "--out", str(out), "--wait", "0", *pictures)
    assert (first.exit_code, first.stdout) == (cli.FAILED, "")
    assert sorted(lines(first.stderr)) == ["(photo_1, error: no)", "(photo_2, error: later)"]
    assert first.stderr.splitlines()[-1].startswith("1 done, 2 failed, ")
    again = server.irs("classify", "--out", str(out), "--wait", "0", "--json", *pictures)
    # Busy says nothing about the image: it is tried again; a refusal is not.
    assert json.loads(again.stdout) | {"seconds": 0, "images_per_second": 0} == {
        "done": 1, "failed": 0, "skipped": 2, "skipped_failed": 1, "seconds": 0, "images_per_second": 0}
    assert again.exit_code == cli.FAILED
    assert len(server.seen) == 4
    rows = (list(csv.DictReader(out.read_text().splitlines())) if out.suffix == ".csv"
            else list(map(json.loads, out.read_text().splitlines())))
    assert {row["file"]: row["status"] for row in rows} == dict(
        zip(pictures, ("done", "refused", "done"), strict=True))


def test_a_service_that_goes_away_ends_it_and_the_rows_stay(
        server: Server, pictures: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    server.answer = lambda method, path, name: (
        (200, {}, done(name, "eel")) if name == "photo_0" else (302, {"Location": "http://x/"}, ""))
    shown = server.irs("classify", "--out", str(out), "--parallel", "1", *pictures)
    assert shown.exit_code == cli.CANNOT
    (line,) = shown.stderr.splitlines()
    assert line.startswith("irs: what answers is not this service: HTTP 302 and redirects to http://x/; ")
    assert [row["file"] for row in csv.DictReader(out.read_text().splitlines())] == pictures[:1]


def test_nothing_left_to_do_needs_no_service(pictures: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("".join(json.dumps({"file": path, "status": "done"}) + "\n" for path in pictures))
    shown = CliRunner().invoke(cli.cli, ["classify", "--out", str(out), *pictures])
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.startswith("0 done, 0 failed, 3 were there already, ")
