"""Clients that are slow, that leave, and that come all at once."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Self

from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness import poisons
from tests.faults.harness.history import History, Request
from tests.faults.harness.load import upload
from tests.faults.harness.pictures import Pictures
from tests.faults.harness.stack import Stack
from tests.processes import Web, form

#: Seconds after which a client of ours gives up.
TIMEOUT = 60.0
#: Linger on, for 0 seconds: close sends RST.
_RST = struct.pack("ii", 1, 0)


def _connect(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=TIMEOUT)


def _head(kind: str, length: int) -> bytes:
    return (f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n").encode()


@dataclass(frozen=True, kw_only=True, eq=False)
class SlowSenders(Fault):
    """Many clients that send their bodies byte by byte, or nothing after the headers."""

    number: int = 23
    senders: int = 100

    def inject(self, stack: Stack) -> Active:
        return _Slow(stack.webs[0], self.senders).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Slow)
        return active.broken


class _Slow:
    #: Seconds that /healthz may take at most, beside the slow ones and the load.
    HEALTH = 2.0

    def __init__(self, web: Web, senders: int) -> None:
        self._web = web
        self._senders = senders
        self._open: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drip, name="drip", daemon=True)
        self.broken: list[str] = []
        self.fired = 0

    def begin(self) -> Self:
        body, kind = form(("slow.jpg", poisons.good()))
        for number in range(self._senders):
            sock = _connect(self._web)
            sock.sendall(_head(kind, len(body)) if number % 2 else b"POST /upload HTTP/1.1\r\nHo")
            self._open.append(sock)
        self.fired = len(self._open)
        self._thread.start()
        return self

    def _drip(self) -> None:
        while not self._over.wait(0.5):
            for sock in list(self._open):
                try:
                    sock.sendall(b"x")
                except OSError:  # let go by the server, as it should
                    self._open.remove(sock)
            began = time.monotonic()
            status = self._web.call("GET", "/healthz", timeout=TIMEOUT).status
            took = time.monotonic() - began
            if status != 200 or took > self.HEALTH:
                self.broken.append(f"P1: /healthz answered {status} after {took:.2f} s beside slow clients")

    def clear(self) -> None:
        self._over.set()
        self._thread.join()
        for sock in self._open:
            sock.close()


@dataclass(frozen=True, kw_only=True, eq=False)
class Vanished(Fault):
    """Clients that send a whole image and reset the connection before its answer."""

    number: int = 23
    clients: int = 20

    def inject(self, stack: Stack) -> Active:
        for number in range(self.clients):
            body, kind = form((f"vanished-{number}.jpg", poisons.good()))
            sock = _connect(stack.web_of(number))
            sock.sendall(_head(kind, len(body)) + body[:-7 if number % 4 == 3 else None])
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            sock.close()
        return _Gone(self.clients)


class _Gone:
    """They do not come back."""

    def __init__(self, fired: int) -> None:
        self.fired = fired

    def clear(self) -> None:
        """Whether their places were freed and their jobs ended, the oracle says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Burst(Fault):
    """Ten times the load's clients, all at once."""

    number: int = 23

    def inject(self, stack: Stack) -> Active:
        return _Burst(stack, 10 * self.images).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Burst)
        return active.judge()


class _Burst:
    def __init__(self, stack: Stack, clients: int) -> None:
        self._stack = stack
        self._history = History()
        pictures = Pictures(seed=23)
        self._threads = [threading.Thread(target=upload, daemon=True, args=(
            stack.web_of(number), pictures.next(), self._history, TIMEOUT)) for number in range(clients)]
        self.fired = 0

    def begin(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.fired = len(self._threads)
        return self

    def clear(self) -> None:
        for thread in self._threads:
            thread.join()

    def judge(self) -> list[str]:
        """Each was answered in time: a right label, a place to ask, or a refusal that says when."""
        most = self._stack.settings.client_wait + 8.0
        return [f"P1: of the burst: {request.outcome} {request.status} after {request.seconds:.1f} s "
                f"{request.error}" for request in self._history.requests
                if request.seconds > most or not _well(request)]


def _well(request: Request) -> bool:
    if request.outcome == "ok":
        return request.result.get("label") == request.picture.label
    if request.outcome == "later":
        return {"Location", "Retry-After"} <= request.headers.keys()
    return request.status == http.client.SERVICE_UNAVAILABLE and "Retry-After" in request.headers


FAULTS: tuple[Fault, ...] = (
    SlowSenders(name="slow-senders", seconds=12.0),
    Vanished(name="vanished-clients", seconds=4.0),
    Burst(name="burst-of-ten", seconds=8.0, images=16),
)
