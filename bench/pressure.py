"""The web tier under slow, waiting, vanishing and too many clients.

    python bench/pressure.py [--slow N] [--waiting N] [--flood N] [--seconds S] [--json FILE]

Starts the real web server in a process of its own, on fakes in memory whose worker answers
uploads called ``good.jpg`` at once and no others, and puts it under pressure from this one:

idle       nobody else is there
pressure   ``--slow`` clients send a byte a second of a body, ``--waiting`` wait for a label
vanished   a hundred of those that wait hang up
full       every place is taken, and every thread: the gate is full
flood      ``--flood`` slow connections of one address, more than the server keeps

In each, ``/healthz`` is asked fifty times a second on connections of their own, and good
uploads are sent beside them. Exit code 1 when a good upload is not answered in the states
that have room, when ``/healthz`` is slower than 100 ms at the 99th percentile, or when a
vanished client's place is not free within 5 s.

On two cores shared with other work (load 2 to 4), six seconds a state, ``/healthz`` in ms at
the median and the 99th percentile, and the slowest good upload:

              --waiting 300        --waiting 1000
    idle      1.0   12.0    11     1.2    2.1    12
    pressure  2.1   46.6   140     3.1    5.3    31
    vanished  1.7    7.9    25     2.8    5.9    21
    full      1.3    5.1           3.4    6.5
    flood     3.1   12.1   184     2.7    5.0   213

Places of vanished clients were free after 0.3 and 0.5 s. waitress as it comes does not get
through ``flood``: nobody is answered while 1,008 slow connections are open.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from client import form
from PIL import Image

ROOT = Path(__file__).parents[1]
HEALTH_P99, VANISHED = 0.1, 5.0
SLOW = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n--x"


def serve(places: int) -> None:
    """The server's process: prints its port, and serves until SIGTERM."""
    from irs import log
    from irs import settings as settings_module
    from irs.domain.jobs import Job, Prediction, Result, Status
    from irs.testing import MemoryListener, MemoryObjects, MemoryResults
    from irs.web.app import create_app
    from irs.web.server import WebServer, stopped_by_signals

    log.configure("ERROR")
    settings = settings_module.build({
        "port": 0, "max_waiting": places, "drain_grace": 0.5, "client_wait": 300.0, "body_timeout": 120.0,
        "reuse": "off"})  # all send the same picture, and each is to wait for itself
    results, listener = MemoryResults(), MemoryListener()

    def send(job: Job, *, reply_to: str) -> None:
        if job.image == "good.jpg":
            listener.announce(results.write(Result(
                id=job.id, image=job.image, status=Status.DONE,
                predictions=(Prediction(label="tench", index=0, confidence=0.5),))))

    server = WebServer(create_app(settings, objects=MemoryObjects(), records=MemoryObjects(),
                                  results=results, listener=listener, send=send, depth=lambda: 0,
                                  ready=lambda: None), settings)
    with stopped_by_signals(server):
        print(server.port, flush=True)
        server.run()


def upload(name: str) -> bytes:
    """A whole request with a small photograph."""
    picture = io.BytesIO()
    Image.effect_noise((640, 480), 40).convert("RGB").save(picture, "JPEG")
    body, headers = form(name, picture.getvalue())
    return (f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {headers['Content-Type']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


class Pressure:
    """This process's side: sockets that send slowly or wait, and what it costs others."""

    def __init__(self, port: int, stack: contextlib.ExitStack) -> None:
        self._port = port
        self._stack = stack
        self._slow: list[socket.socket] = []
        self._stop = threading.Event()
        dripping = threading.Thread(target=self._drip)
        dripping.start()
        stack.callback(dripping.join)
        stack.callback(self._stop.set)

    def connect(self, sent: bytes) -> socket.socket:
        sock = self._stack.enter_context(
            contextlib.closing(socket.create_connection(("127.0.0.1", self._port), timeout=30)))
        sock.sendall(sent)
        return sock

    def slow(self, number: int) -> None:
        for _ in range(number):
            self._slow.append(self.connect(SLOW))

    def _drip(self) -> None:
        while not self._stop.wait(1):
            for sock in list(self._slow):
                try:
                    sock.send(b"x")
                except OSError:  # the server has had enough of it
                    self._slow.remove(sock)

    def ask(self, request: bytes) -> tuple[float, int]:
        """Seconds and status of a request on a connection of its own."""
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as sock:
            sock.sendall(request)
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            answer.read()
            return time.perf_counter() - began, answer.status

    def waiting(self) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as asked:
            asked.request("GET", "/metrics")
            text = asked.getresponse().read().decode()
        return int(float(text.partition("\nirs_waiting_clients ")[2].split()[0]))

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> float:
        """Seconds until it is so."""
        began = time.perf_counter()
        while not condition():
            if time.perf_counter() - began > seconds:
                raise SystemExit("the server did not take the load within a minute")
            time.sleep(0.02)  # between looks
        return time.perf_counter() - began

    def measure(self, seconds: float) -> dict[str, float]:
        """Health and good uploads for a while, side by side."""
        health: list[float] = []
        good: list[tuple[float, int]] = []
        end = time.perf_counter() + seconds
        request = upload("good.jpg")

        def uploads() -> None:
            while time.perf_counter() < end:
                good.append(self.ask(request))
                time.sleep(0.1)  # ten a second, beside the fifty below

        beside = threading.Thread(target=uploads)
        beside.start()
        due = time.perf_counter()
        while due < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            took, status = self.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            health.append(took if status == 200 else 30.0)
            due = max(due + 0.02, time.perf_counter())
        beside.join()
        health.sort()
        times = sorted(took for took, status in good)
        return {
            "asked": len(health), "p50_ms": 1e3 * health[len(health) // 2],
            "p99_ms": 1e3 * health[int(0.99 * (len(health) - 1))], "max_ms": 1e3 * health[-1],
            "uploads": len(good), "answered_200": sum(status == 200 for _, status in good),
            "refused_503": sum(status == 503 for _, status in good),
            "upload_p50_ms": 1e3 * times[len(times) // 2], "upload_max_ms": 1e3 * times[-1],
        }


@contextlib.contextmanager
def server(places: int) -> Iterator[Pressure]:
    """A server of ``places`` waiting clients, and what presses on it."""
    child = subprocess.Popen([sys.executable, __file__, "--serve", str(places)], text=True,
                             stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert child.stdout is not None
        with contextlib.ExitStack() as stack:
            yield Pressure(int(child.stdout.readline()), stack)
    finally:
        child.terminate()
        child.wait(30)


def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Every state's figures."""
    figures: dict[str, dict[str, float]] = {}
    held = upload("held.jpg")
    with server(options.waiting + 100) as press:
        figures["idle"] = press.measure(options.seconds)
        press.slow(options.slow)
        leaving = [press.connect(held) for _ in range(min(100, options.waiting))]
        for _ in range(options.waiting - len(leaving)):
            press.connect(held)
        press.until(lambda: press.waiting() >= options.waiting)
        figures["pressure"] = press.measure(options.seconds)
        for sock in leaving:
            sock.close()
        stay = options.waiting - len(leaving)
        freed = press.until(lambda: press.waiting() <= stay)
        figures["vanished"] = press.measure(options.seconds) | {"freed_s": freed}
    with server(options.waiting) as press:
        for _ in range(options.waiting):
            press.connect(held)
        press.until(lambda: press.waiting() >= options.waiting)
        figures["full"] = press.measure(options.seconds)
    with server(400) as press:
        press.slow(options.flood)
        figures["flood"] = press.measure(options.seconds)
    return figures


def main() -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--waiting", type=int, default=300)
    parser.add_argument("--flood", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16_384)), hard))
    figures = run(options)
    columns = ("p50_ms", "p99_ms", "max_ms", "uploads", "answered_200", "refused_503",
               "upload_p50_ms", "upload_max_ms")
    print(f"{'':10}" + "".join(f"{name:>14}" for name in columns))
    for state, row in figures.items():
        print(f"{state:10}" + "".join(f"{row[name]:14.1f}" for name in columns))
    print(f"places of 100 vanished clients free after {figures['vanished']['freed_s']:.2f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    room = [row for state, row in figures.items() if state != "full"]
    fine = (all(row["p99_ms"] <= 1e3 * HEALTH_P99 for row in figures.values())
            and all(row["answered_200"] == row["uploads"] for row in room)
            and figures["full"]["refused_503"] == figures["full"]["uploads"]
            and figures["vanished"]["freed_s"] <= VANISHED)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
