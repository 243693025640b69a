"""The real WSGI server over real sockets; what is behind the application is in memory."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from irs import errors
from tests.integration.served import Served, form, serving, until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts a server; ``held`` is a worker that never answers."""
    with serving() as start:
        yield start


def test_a_hundred_clients_at_once(serve):
    served = serve()
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda i: served.upload(f"n{i}.jpg"), range(100)))
    assert [text for _, _, text in answers] == [f"(n{i}, label n{i}.jpg)\n" for i in range(100)]


def test_waiting_and_slow_clients_leave_room_for_health(serve):
    served = serve(held=True, max_waiting=4, drain_grace=1.0)
    with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as slow:
        for _ in range(30):  # headers, and a body that never comes
            sock = slow.enter_context(socket.create_connection(("127.0.0.1", served.server.port)))
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n--x")
        waits = [pool.submit(served.upload, f"{i}.jpg", Prefer="wait=20") for i in range(4)]
        until(lambda: served.services.gate.inside == 4)
        assert served.request("GET", "/healthz")[0] == 200
        status, headers, _ = served.upload("late.jpg")
        assert (status, "retry-after" in headers) == (503, True)
        until(lambda: len(served.sent) == 4)
        served.server.stop()
        assert [wait.result(10)[0] for wait in waits] == [202] * 4


def test_a_client_that_leaves_frees_its_place(serve):
    served = serve(held=True, client_wait=60)
    body, headers = form("a.jpg")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.server.port)) as connection:
        connection.request("POST", "/upload", body, headers)
        assert served.arrived.acquire(timeout=10)
        assert served.services.gate.inside == 1
    until(lambda: served.services.gate.inside == 0)


@pytest.mark.parametrize(("path", "kind"), [
    ("/upload", "text/plain; charset=utf-8"), ("/v1/images", "application/problem+json")])
def test_a_body_announced_too_large_is_refused_before_it_comes(serve, path, kind):
    served = serve(max_files=1, max_image_bytes=1000)
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n".encode())
        answer = http.client.HTTPResponse(sock, method="POST")
        answer.begin()
        text = answer.read().decode()
    assert (answer.status, answer.getheader("Content-Type"), text.count("\n")) == (413, kind, 1)
    if path.startswith("/v1"):
        assert json.loads(text)["status"] == 413


@pytest.mark.parametrize("raw", [
    b"NONSENSE\r\n\r\n", b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n"])
def test_nonsense_gets_one_line(serve, raw):
    served = serve()
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=10) as sock:
        sock.sendall(raw)
        answer = sock.makefile("rb").read().decode()
    assert " 400 " in answer.splitlines()[0]
    assert answer.endswith("\r\n\r\nerror: bad request\n")


def test_a_chunked_body(serve):
    served = serve()
    body, headers = form("a.jpg")
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/upload", iter([body[:50], body[50:]]), headers, encode_chunked=True)
        assert connection.getresponse().read() == b"(a, label a.jpg)\n"


def test_a_port_that_is_taken(serve):
    served = serve()
    with pytest.raises(errors.SettingsError, match=r"IRS_PORT: .*\(Address already in use\).*=8081"):
        serve(port=served.server.port)


# -- a process ---------------------------------------------------------------------------
@contextlib.contextmanager
def process(grace: float) -> Iterator[tuple[subprocess.Popen[str], int]]:
    script = Path(__file__).with_name("held_web.py")
    child = subprocess.Popen([sys.executable, str(script), str(grace)], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, env={"PYTHONPATH": str(ROOT)})
    try:
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_server_answers_who_waits_and_exits_0(number):
    with process(1.0) as (child, port), contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        body, headers = form("a.jpg")
        connection.request("POST", "/upload", body, headers)
        job_id = child.stdout.readline().strip()
        child.send_signal(number)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Location")) == (202, f"/v1/images/{job_id}")
        assert job_id in answer.read().decode()
        assert child.wait(10) == 0


def test_a_second_signal_ends_the_drain():
    with process(60.0) as (child, port), contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        body, headers = form("a.jpg")
        connection.request("POST", "/upload", body, headers)
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        # The first signal has been obeyed once nobody new is let in.
        until(lambda: _refused(port))
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


def test_a_full_disk_refuses_what_it_cannot_keep():
    with process(1.0) as (child, port):
        before = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
        # Every write to a file fails from now on, as on a full disk.
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        for size in (1_100_000, 1_048_570, 5_000_000):
            assert _upload(port, bytes(size)) == (503, "30", 1)
        assert _upload(port, bytes(100_000)) == (415, None, 1)  # in memory, and no image
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, before)
        assert _upload(port, bytes(1_100_000)) == (415, None, 1)


def _upload(port: int, data: bytes) -> tuple[int, str | None, int]:
    """Status, ``Retry-After`` and lines of the answer."""
    body, headers = form("a.jpg", data)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/upload", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After"), answer.read().count(b"\n")


@pytest.mark.parametrize(("variables", "says"), [
    ({"IRS_PORT": "http"}, "IRS_PORT"), ({"IRS_HOST": "192.0.2.1"}, "IRS_HOST")])
def test_the_entry_says_in_one_line_why_it_cannot_start(variables, says, tmp_path):
    ended = subprocess.run([sys.executable, str(ROOT / "web_entry.py")], capture_output=True,
                           text=True, check=False, timeout=60, cwd=tmp_path,
                           env={"PYTHONPATH": str(ROOT), **variables})
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"irs web: {says}: ")
    assert ended.stderr.count("\n") == 1


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False
