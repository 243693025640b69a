"""Proof of life: who beats, and what `irs health` makes of it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from irs import __version__, cli, heartbeat, settings
from irs.heartbeat import STALE, Heartbeat
from irs.scaler import loop


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("IRS_HEARTBEAT_FILE", str(tmp_path / "beat"))
    settings.load.cache_clear()
    yield tmp_path / "beat"
    settings.load.cache_clear()


def health(part: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.cli, ["health", part], prog_name="irs")
    assert "Traceback" not in done.output
    return done.exit_code, done.output.strip()


def test_a_beat_is_young_and_grows_old(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health("worker") == (1, f"worker: no heartbeat in {file} so far")
    Heartbeat(file).beat()
    assert health("worker") == (0, "worker: last heartbeat 0 s ago")
    now = time.monotonic()
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now + STALE - 5)
    assert health("scaler")[0] == 0
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now + STALE + 5)
    assert health("scaler") == (1, f"scaler: last heartbeat {STALE + 5:.0f} s ago")
    Heartbeat(file).beat()
    assert health("scaler")[0] == 0


def test_a_beat_from_before_the_machine_started_is_none(file: Path) -> None:
    file.write_text(f"{time.monotonic() + 10_000:.1f}\n")
    assert heartbeat.age(file) is None


def test_what_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    beating = Heartbeat(tmp_path / "none" / "beat")
    with capture_logs() as logs:
        for _ in range(3):
            beating.beat()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("heartbeat.failed", level) for level in ("warning", "debug", "debug")]
    (tmp_path / "none").mkdir()
    beating.beat()
    assert heartbeat.age(tmp_path / "none" / "beat") is not None


def test_no_setting_and_no_heartbeat_are_one_clear_line(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"\xff nonsense")
    code, said = health("worker")
    assert (code, said.startswith(f"irs: IRS_HEARTBEAT_FILE: {file} is no heartbeat:")) == (2, True)
    monkeypatch.delenv("IRS_HEARTBEAT_FILE")
    settings.load.cache_clear()
    assert health("worker")[1].startswith("irs: IRS_HEARTBEAT_FILE is not set: name a file")


def test_the_scaler_beats_though_aws_cannot_be_asked(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, seen = threading.Event(), []

    def tick() -> bool:
        seen.append(heartbeat.age(file))
        if len(seen) == 2:
            stop.set()
        return False

    scaler = SimpleNamespace(tick=tick, keep=lambda: None, close=lambda: None,
                             state=SimpleNamespace(tick=0))
    monkeypatch.setattr(loop, "build", lambda *_, **__: scaler)
    loop.run(settings.build({"scaler_interval": 0.01}), stop)
    assert seen[0] is None
    assert seen[1] is not None


class Alive(BaseHTTPRequestHandler):
    """What the web tier answers; ``status`` is the test's."""

    status = 200

    def do_GET(self) -> None:
        body = f"alive {__version__}\n".encode() if self.path == "/healthz" else b""
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_the_web_tier_is_asked(status: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Alive,), {"status": status}))
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("irs.cli.health.own_url", lambda: url)
    try:
        assert health("web") == (expected, f"web: alive {__version__}" if not expected
                                 else f"web: {url}/healthz answered 503")
    finally:
        thread.join()
        server.server_close()
    code, said = health("web")
    assert (code, said.startswith(f"web: {url}/healthz does not answer:")) == (1, True)


# -- systemd -----------------------------------------------------------------------------------
@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path,
               monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where systemd listens, by either kind of address."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@irs-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name if name[0] != "@" else "\0" + name[1:])
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def heard(sock: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(100).decode())
    return found


def test_systemd_hears_the_same_beat(supervisor: socket.socket, tmp_path: Path) -> None:
    beating = Heartbeat(tmp_path / "beat")
    beating.ready()
    beating.beat()
    assert heard(supervisor) == ["READY=1", "WATCHDOG=1"]
    (tmp_path / "beat").unlink()
    beating.beat(heard=False)
    assert heard(supervisor) == [], "a worker that its queue does not answer feeds no watchdog"
    assert heartbeat.age(tmp_path / "beat") is not None, "and is alive"
    beating.stopping()
    assert heard(supervisor) == ["STOPPING=1"]


def test_a_systemd_that_does_not_listen_stops_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    with capture_logs() as logs:
        Heartbeat(None).beat()
    assert [entry["event"] for entry in logs] == ["heartbeat.failed"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "none"))
        beating = Heartbeat(None)
        with capture_logs() as logs:
            while not logs:  # until its buffer is full
                beating.beat()
    assert [entry["event"] for entry in logs] == ["heartbeat.failed"]
