"""The web tier's real server in a thread of the test; what is behind the application is in memory."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from PIL import Image

from irs import settings as settings_module
from irs.domain.jobs import Job, Prediction, Result, Status
from irs.testing import MemoryListener, MemoryObjects, MemoryResults
from irs.web.app import create_app
from irs.web.server import WebServer

#: A request that has begun and does not end.
SLOW = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n--x"


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 140, 60)).save(out, "JPEG")
    return out.getvalue()


def form(name: str, data: bytes | None = None) -> tuple[bytes, dict[str, str]]:
    body = (f'--xyz\r\nContent-Disposition: form-data; name="myfile"; filename="{name}"\r\n\r\n'.encode()
            + (picture() if data is None else data) + b"\r\n--xyz--\r\n")
    return body, {"Content-Type": "multipart/form-data; boundary=xyz"}


@dataclass
class Served:
    """A running server and what it stands on."""

    server: WebServer
    services: Any
    sent: list[Job]
    arrived: threading.Semaphore
    app: Flask

    def request(self, method: str, path: str, body: bytes | None = None,
                headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def connect(self, sent: bytes = b"", timeout: float = 20) -> socket.socket:
        """A connection of its own, with the first bytes on it."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=timeout)
        sock.sendall(sent)
        return sock

    @property
    def connections(self) -> list[Any]:
        """The server's own side of each connection."""
        return list(self.server._server.active_channels.values())

    @property
    def rounds(self) -> float:
        """When the server will next look for what has taken too long: grows with each look."""
        return self.server._server.next_channel_cleanup

    def metric(self, name: str) -> float:
        """A figure of ``/metrics``, by its name with labels."""
        lines = self.request("GET", "/metrics")[2].splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])

    def upload(self, name: str, **headers: str) -> tuple[int, dict[str, str], str]:
        body, kind = form(name)
        return self.request("POST", "/upload", body, {**kind, **headers})


@contextlib.contextmanager
def serving() -> Iterator[Callable[..., Served]]:
    """Gives a function that starts a server; ``held`` is a worker that never answers.

    Without ``run`` the server only listens, as one whose loop does not get its turn.
    """
    with contextlib.ExitStack() as stack:
        def start(*, held: bool = False, run: bool = True, depth: Callable[[], int] = lambda: 0,
                  **overrides: Any) -> Served:
            # One picture serves all requests, and each is to get as far as the worker.
            settings = settings_module.build(
                {"port": 0, "drain_grace": 5.0, "reuse": "off", **overrides})
            results, listener = MemoryResults(), MemoryListener()
            sent: list[Job] = []
            arrived = threading.Semaphore(0)

            def send(job: Job, *, reply_to: str) -> None:
                sent.append(job)
                if not held:
                    listener.announce(results.write(Result(
                        id=job.id, image=job.image, status=Status.DONE,
                        predictions=(Prediction(label=f"label {job.image}", index=0, confidence=0.5),))))
                arrived.release()

            app = create_app(settings, objects=MemoryObjects(), records=MemoryObjects(), results=results,
                             listener=listener, send=send, depth=depth, ready=lambda: None)
            server = WebServer(app, settings)
            if run:
                thread = threading.Thread(target=server.run)
                thread.start()
                stack.callback(thread.join, 20)
                stack.callback(server.stop)
            return Served(server, app.extensions["irs"], sent, arrived, app)

        yield start


def answer_on(sock: socket.socket, method: str = "POST") -> tuple[int, dict[str, str], str]:
    """Read one answer from a raw connection: status, headers in lower case, text."""
    answer = http.client.HTTPResponse(sock, method=method)
    answer.begin()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.01)
