"""`irs classify` against a server on a real socket that answers as the contract says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import irs
from irs import cli
from irs import settings as cli_settings
from irs._upload import PARALLEL, Service

Reply = tuple[int, dict[str, str], Any]
DEADLINE = 10.0


def done(name: str, label: str) -> dict[str, Any]:
    return {"image": f"{name}.jpg", "status": "done", "label": label, "result": f"({name}, {label})"}


class Scripted:
    """A server whose answer to each request is ``answer(method, path, name)``."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str, str], Reply] = lambda method, path, name: (
            200, {}, {"results": [done(name, "tench")]})
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                name = re.search(rb'filename="([^"]*?)(?:\.\w+)?"', body)
                status, headers, answer = outer.answer(
                    self.command, self.path, name[1].decode() if name else "")
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"photo_{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def classify(server: Scripted, *arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["classify", "--url", server.url, *arguments], prog_name="irs")


def test_lines_in_the_order_given(server: Scripted, photos: list[str]) -> None:
    last = threading.Event()

    def answer(method: str, path: str, name: str) -> Reply:
        # The first file's answer comes after the last one's.
        if name == "photo_0":
            assert last.wait(DEADLINE)
        if name == "photo_2":
            last.set()
        return 200, {}, {"results": [done(name, "tench")]}

    server.answer = answer
    shown = classify(server, *photos)
    assert shown.exit_code == 0
    assert shown.stdout == "(photo_0, tench)\n(photo_1, tench)\n(photo_2, tench)\n"
    assert shown.stderr == ""


@pytest.mark.parametrize(("variables", "own", "sent"), [
    ({}, True, None),
    ({"IRS_API_KEY": "one-of-16-letters"}, False, "one-of-16-letters"),
    ({"IRS_API_KEYS": "a:first-of-16-letters,b:other-of-16-letters"}, True, "first-of-16-letters"),
    ({"IRS_API_KEYS": "a:first-of-16-letters"}, False, None),
    ({"IRS_API_KEYS": "a:first-of-16-letters", "IRS_API_KEY": "mine-of-16-letters"}, True,
     "mine-of-16-letters"),
])
def test_the_key_that_is_sent(server: Scripted, photos: list[str], monkeypatch: pytest.MonkeyPatch,
                              variables: dict[str, str], own: bool, sent: str | None) -> None:
    for name, value in {**variables, "IRS_PORT": server.url.rpartition(":")[2]}.items():
        monkeypatch.setenv(name, value)
    cli_settings.load.cache_clear()
    try:
        where = [] if own else ["--url", server.url]
        ended = CliRunner().invoke(cli.cli, ["classify", *where, photos[0]])
    finally:
        cli_settings.load.cache_clear()
    assert ended.exit_code == 0, ended.output
    assert server.seen[0][2].get("X-API-Key") == sent


def test_too_many_requests_are_sent_later(server: Scripted, photos: list[str]) -> None:
    server.answer = lambda method, path, name: (
        (429, {"Retry-After": "1"}, {"code": "too_many"}) if len(server.seen) == 1
        else (200, {}, {"results": [done(name, "tench")]}))
    assert classify(server, photos[0]).stdout == "(photo_0, tench)\n"
    assert len(server.seen) == 2


def test_what_is_sent(server: Scripted, photos: list[str]) -> None:
    classify(server, photos[0], "--wait", "7")
    ((method, path, headers, body),) = server.seen
    assert (method, path) == ("POST", "/upload")
    assert headers["Accept"] == "application/json"
    assert headers["Prefer"] == "wait=7"
    assert b'name="myfile"; filename="photo_0.jpg"' in body
    assert b"\r\n\r\nphoto_0.jpg\r\n" in body


def test_a_name_cannot_end_its_header(server: Scripted, tmp_path: Path) -> None:
    odd = tmp_path / 'a"\r\nX: y.jpg'
    odd.write_bytes(b"x")
    classify(server, str(odd))
    assert b'filename="a%22%0D%0AX: y.jpg"' in server.seen[0][3]


def test_refusals_and_missing_files_fail_alone(server: Scripted, photos: list[str]) -> None:
    refused = {"image": "photo_1.jpg", "status": "refused",
               "result": "(photo_1, error: not an image format the service takes)",
               "error": {"code": "unsupported_format", "message": "not an image format the service takes"}}
    server.answer = lambda method, path, name: (
        (415, {}, {"results": [refused]}) if name == "photo_1"
        else (200, {}, {"results": [done(name, "eel")]}))
    shown = classify(server, *photos, "absent.jpg")
    assert shown.exit_code == cli.FAILED
    assert shown.stdout == "(photo_0, eel)\n(photo_2, eel)\n"
    assert shown.stderr.splitlines() == [refused["result"], "(absent, error: No such file or directory)"]


@pytest.mark.parametrize("while_it_waits", [True, False])
def test_a_cancelled_job_fails_alone(server: Scripted, photos: list[str], while_it_waits: bool) -> None:
    ended = {"id": "7f3c", "image": "photo_0.jpg", "status": "cancelled",
             "result": "(photo_0, error: cancelled)"}
    queued = {"id": "7f3c", "image": "photo_0.jpg", "status": "queued", "result": "(photo_0, queued: …)"}
    server.answer = lambda method, path, name: (
        (200, {}, ended) if method == "GET"
        else (200, {}, {"results": [done(name, "eel")]}) if name != "photo_0"
        else (410, {}, {"results": [ended]}) if while_it_waits
        else (202, {"Location": "/v1/images/7f3c"}, {"results": [queued]}))
    shown = classify(server, *photos, "--wait", "20")
    assert shown.exit_code == cli.FAILED
    assert (shown.stdout, shown.stderr) == (
        "(photo_1, eel)\n(photo_2, eel)\n", "(photo_0, error: cancelled)\n")


def test_json_lines(server: Scripted, photos: list[str]) -> None:
    server.answer = lambda method, path, name: (
        (413, {}, "too large\n") if name == "photo_1" else (200, {}, {"results": [done(name, "eel")]}))
    shown = classify(server, "--json", *photos[:2])
    first, second = map(json.loads, shown.stdout.splitlines())
    assert (first["file"], first["ok"], first["label"]) == (photos[0], True, "eel")
    assert (second["ok"], second["result"]) == (False, "(photo_1, error: too large)")


def test_a_queued_job_is_followed(server: Scripted, photos: list[str]) -> None:
    queued = {"id": "7f3c", "image": "photo_0.jpg", "status": "queued", "result": "(photo_0, queued: …)"}
    server.answer = lambda method, path, name: (
        (202, {"Location": "/v1/images/7f3c"}, {"results": [queued]}) if method == "POST"
        else (200, {}, done("photo_0", "tench")))
    shown = classify(server, photos[0], "--wait", "20")
    assert shown.stdout == "(photo_0, tench)\n"
    assert [(method, path) for method, path, *_ in server.seen] == [
        ("POST", "/upload"), ("GET", "/v1/images/7f3c")]


def test_a_job_that_is_not_ready_says_where_to_ask(server: Scripted, photos: list[str]) -> None:
    queued = {"id": "7f3c", "status": "queued", "location": "/v1/images/7f3c"}
    server.answer = lambda method, path, name: (202, {}, {"results": [queued]})
    shown = classify(server, photos[0], "--wait", "0")
    assert shown.exit_code == cli.FAILED
    assert shown.stderr == (
        f"(photo_0, error: no label after 0 s, the job goes on: {server.url}/v1/images/7f3c)\n")


def test_overload_is_tried_again(server: Scripted, photos: list[str]) -> None:
    full = iter([True])
    server.answer = lambda method, path, name: (
        (503, {"Retry-After": "1"}, "too many clients\n") if next(full, False)
        else (200, {}, {"results": [done(name, "eel")]}))
    shown = classify(server, photos[0], "--wait", "30")
    assert shown.stdout == "(photo_0, eel)\n"
    assert len(server.seen) == 2


def test_overload_that_lasts_is_told(server: Scripted, photos: list[str]) -> None:
    server.answer = lambda method, path, name: (
        503, {"Retry-After": "1"}, "too many clients are waiting, try again later\n")
    shown = classify(server, photos[0], "--wait", "0")
    assert shown.exit_code == cli.FAILED
    assert shown.stderr == "(photo_0, error: too many clients are waiting, try again later)\n"


def test_several_at_once_and_no_more_than_allowed(server: Scripted, tmp_path: Path) -> None:
    paths = [tmp_path / f"p{number}.jpg" for number in range(2 * PARALLEL)]
    for path in paths:
        path.write_bytes(b"x")
    together = threading.Barrier(PARALLEL)
    lock = threading.Lock()
    inside = peak = 0

    def answer(method: str, path: str, name: str) -> Reply:
        nonlocal inside, peak
        with lock:
            inside += 1
            peak = max(peak, inside)
        together.wait(DEADLINE)  # breaks, and fails the test, unless so many are here at once
        with lock:
            inside -= 1
        return 200, {}, {"results": [done(name, "eel")]}

    server.answer = answer
    ticks = []
    outcomes = list(Service(server.url, wait=30).classify(paths, on_done=lambda: ticks.append(1)))
    assert [outcome.line for outcome in outcomes] == [f"(p{n}, eel)" for n in range(2 * PARALLEL)]
    assert len(ticks) == 2 * PARALLEL
    assert peak == PARALLEL


def test_ctrl_c_is_quiet_and_at_once(server: Scripted, photos: list[str]) -> None:
    arrived, over = threading.Event(), threading.Event()

    def answer(method: str, path: str, name: str) -> Reply:
        arrived.set()
        over.wait(DEADLINE)
        return 200, {}, {"results": [done(name, "eel")]}

    server.answer = answer
    command = subprocess.Popen(
        [sys.executable, "-m", "irs", "classify", "--url", server.url, *photos], text=True,
        cwd=Path(irs.__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert arrived.wait(DEADLINE)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=DEADLINE)  # while every answer is still held back
    finally:
        over.set()
        command.kill()
    assert (command.returncode, said) == (cli.INTERRUPTED, ("", ""))
