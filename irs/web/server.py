"""The WSGI server: waitress on a socket of ours, and a bounded drain at SIGTERM.

docs/decisions/0004-web-server.md says why waitress.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from flask import Flask
from waitress import wasyncore

from irs import __version__, errors, log, memory
from irs.heartbeat import Heartbeat
from irs.settings import Settings
from irs.web.acceptor import BACKLOG, Acceptor
from irs.web.services import KEY, Services

#: Descriptors wanted, where the system grants them.
FILES = 16_384
#: Seconds between two beats of the loop, which turns once a second at least.
BEAT = 5.0

_log = log.get("web")


class WebServer:
    """One listening socket. ``port`` is the real one where the setting says 0.

    Raises `errors.SettingsError` where the address cannot be had.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._settings = settings
        self._services: Services = app.extensions[KEY]
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._map: dict[int, Any] = {}
        # It has no file: `irs health web` asks.
        self._heartbeat = Heartbeat(None)
        self._beat_at = 0.0
        #: requests for which memory was given back
        self._tidied = 0
        sock = _bind(settings.host, settings.port)
        _raise_file_limit()
        self._server = Acceptor(app, settings, sock, self._map)
        self.port: int = sock.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{self.port}"

    def run(self) -> None:
        """Serve until `stop`, then answer who waits; returns when all have been answered."""
        self._services.cloud.warm()
        _log.info("web.listening", version=__version__, url=self.url)
        self._heartbeat.ready()
        try:
            while not self._stop.is_set():
                self._server.turn()
                self._beat()
            self._heartbeat.stopping()
            self._drain()
        finally:
            self._services.cloud.close()
            self._server.task_dispatcher.shutdown(timeout=1)
            wasyncore.close_all(self._map)

    def stop(self) -> None:
        """Begin to drain; a second call cuts the drain short. For threads and signals."""
        (self._hurry if self._stop.is_set() else self._stop).set()
        # After the end of `run` the trigger's pipe is closed, and nothing needs waking.
        with contextlib.suppress(OSError, IndexError):
            self._server.pull_trigger()

    def _beat(self) -> None:
        if (now := time.monotonic()) >= self._beat_at:
            self._beat_at = now + BEAT
            self._heartbeat.beat()
            self._tidy()

    def _tidy(self) -> None:
        """Give back what requests have left, once none is under way."""
        if self._server.tasks != self._tidied and not self._busy():
            self._tidied = self._server.tasks
            memory.give_back()

    def _drain(self) -> None:
        grace = self._settings.drain_grace
        end = time.monotonic() + grace
        self._services.drain.begin(grace)
        self._services.cloud.end_calls()
        _log.info("web.draining", waiting=self._services.gate.inside, seconds=grace)
        self._server.close_listener()
        self._server.turn_senders_away()
        while self._busy() and time.monotonic() < end and not self._hurry.is_set():
            self._server.turn()
            self._beat()
        _log.info("web.stopped", cut_off=self._busy())

    def _busy(self) -> int:
        """Connections with a request under way, or an answer not yet written or hardly read.

        And callbacks under way, which have a deadline of their own.
        """
        return (sum(channel.busy for channel in self._server.active_channels.values())
                + self._services.cloud.calling)


def serve(app: Flask, settings: Settings) -> None:
    """Run in the main thread until SIGTERM or SIGINT."""
    memory.frugal()
    server = WebServer(app, settings)
    with stopped_by_signals(server):
        server.run()


@contextlib.contextmanager
def stopped_by_signals(server: WebServer) -> Iterator[None]:
    """SIGTERM and SIGINT stop ``server``; only in the main thread."""
    def handle(number: int, frame: FrameType | None) -> None:
        server.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise errors.SettingsError(f"IRS_HOST: cannot resolve {host!r}: {exc.strerror}") from exc
    # IPv4 first: `localhost` is both, and 127.0.0.1 is what people and scripts type.
    family, _, _, _, address = min(found, key=lambda item: item[0] != socket.AF_INET)
    try:
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as exc:
        why = os.strerror(exc.errno or 0)
        if exc.errno == errno.EADDRNOTAVAIL:
            raise errors.SettingsError(f"IRS_HOST: cannot listen on {host} ({why})") from exc
        raise errors.SettingsError(f"IRS_PORT: cannot listen on {host}:{port} ({why}); "
                                   "choose another with IRS_PORT=8081") from exc


def _raise_file_limit() -> None:
    """A waiting client is a descriptor, and a large body another; the usual 1,024 are soon gone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
