"""The listening socket: who gets a connection, and which request the loop answers itself."""

from __future__ import annotations

import socket
import time
from collections import Counter, deque
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from irs import __version__, errors, log
from irs.settings import Settings
from irs.web.arrival import Bodies
from irs.web.connection import Channel
from irs.web.estimates import RETRY_AFTER
from irs.web.limits import batch_limit, request_limit
from irs.web.services import KEY, Services
from irs.web.streams import STREAMS
from irs.web.threads import Threads

_log = log.get("web")

#: Threads beyond those that may wait, and those of streams: pages, metrics, looks at jobs.
SPARE = 8
#: Connections beyond the waiting ones: streams, keep-alive, slow senders, probes.
SPARE_CONNECTIONS = 600
#: Connections beyond these that have their last answer and only wait to be hung up on.
LEAVING = 256
#: Bytes of a body kept in memory; more goes to a temporary file. Most photographs fit.
IN_MEMORY = 1_048_576
#: Bytes of the bodies that are held at once, in memory and temporary files, as a multiple of
#: the largest upload's: 4 GB at the default limits. And at least one batch.
BODIES = 16
#: Bytes taken from a connection at a time: a photograph in a turn or two of the loop.
RECEIVED = 131_072
#: Bytes of a request's line and headers.
MAX_HEADERS = 32_768
#: Seconds after an answer in which a connection makes no room for its client's new one: the next
#: request may be on its way, and would be lost without an answer. A refused client may wait as long.
PAUSE = 1.0
#: Connections that wait to be taken.
BACKLOG = 1024
#: Connections taken in one turn of the loop, so that a burst need not wait for as many turns.
ACCEPTS = 64
#: TCP keep-alive: seconds of silence, seconds between probes, probes. A client that fell off
#: the network says nothing; its place is free after 20 s.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 2))


class Acceptor(TcpWSGIServer):
    """waitress's server on a socket that listens already."""

    channel_class = Channel

    def __init__(self, app: Flask, settings: Settings, sock: socket.socket,
                 sockets: dict[int, Any]) -> None:
        self.services: Services = app.extensions[KEY]
        self._settings = settings
        self._limit = settings.max_waiting + SPARE + SPARE_CONNECTIONS
        self._instant: deque[Channel] = deque()
        self._called = False
        # Each connection that is taken from the socket has what the socket has.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        #: requests handed to threads so far
        self.tasks = 0
        largest = max(request_limit(settings), batch_limit(settings))
        self.bodies = Bodies(max(BODIES * request_limit(settings), largest))
        super().__init__(
            app, sockets, True, sock, dispatcher=Threads(settings.max_waiting + STREAMS + SPARE),
            bind_socket=False,
            sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
            adj=Adjustments(
                sockets=[sock],
                # Ours comes first, and ends a connection rather than to take no more.
                connection_limit=self._limit + LEAVING + ACCEPTS,
                asyncore_use_poll=True,  # select() ends at descriptor 1024
                channel_request_lookahead=1,  # keeps reading, and so sees a client leave
                cleanup_interval=1,
                recv_bytes=RECEIVED,
                inbuf_overflow=IN_MEMORY,
                max_request_body_size=largest,
                max_request_header_size=MAX_HEADERS,
                ident=f"irs/{__version__}", log_socket_errors=False,
            ))
        self.services.metrics.connections.set_function(lambda: len(self.active_channels))

    # -- connections -------------------------------------------------------------------------
    def handle_accept(self) -> None:
        """waitress's: somebody has come. Let in after the turn: the turn may still hold events
        of a descriptor that was closed in it, and that a new connection would get again.
        """
        self._called = True

    def _accept(self, most: int = ACCEPTS) -> None:
        """Take the connections that have come."""
        self._called = False
        for _ in range(most):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) <= before:
                return
            self._admit(next(reversed(self.active_channels.values())))

    def close_listener(self) -> None:
        """Refuse new connections; the trigger stays, it wakes the loop for each answer.

        Who stands in the socket's queue has connected, and may have sent: closing it would cut him off.
        """
        self._accept(BACKLOG)
        self.accepting = False
        self.del_channel()
        self.socket.close()
        self.pull_trigger()  # nobody may have anything to say
        self.turn()

    def _admit(self, channel: Channel) -> None:
        """Keep a new connection within the bounds: its address's own, and everybody's."""
        staying = [other for other in self.active_channels.values() if not other.leaving]
        most = self._settings.max_client_connections
        own = [other for other in staying if other.addr[0] == channel.addr[0]]
        if most is not None and len(own) > most and not self._make_room(own):
            self.ended("client_limit")
            channel.turn_away(errors.TooMany(
                "more connections than one client may have", retry_after=1))
        elif len(staying) > self._limit:
            self._evict([other for other in staying if other.evictable])
        if len(self.active_channels) - len(staying) > LEAVING:
            next(other for other in self.active_channels.values() if other.leaving).handle_close()

    def _make_room(self, own: list[Channel]) -> bool:
        """Hang up on the client's connection that is idle for longest; False where none is."""
        idle = min(filter(_is_idle, own), key=lambda channel: channel.last_activity, default=None)
        if idle is not None:
            self.ended("client_idle")
            idle.handle_close()
        return idle is not None

    def _evict(self, idle: list[Channel]) -> None:
        """End the connection that is missed least: of the address with most, the oldest."""
        if not idle:
            return  # every client waits for an answer, and the gate bounds their number
        held = Counter(channel.addr[0] for channel in idle)
        self.ended("evicted")
        min(idle, key=lambda channel: (-held[channel.addr[0]], *channel.worth)).turn_away(
            errors.Overloaded("the service has too many connections, send faster or later", retry_after=1))

    def shed(self) -> None:
        """There are too many bytes of bodies: of the senders the one with most has to go.

        Not the newcomer: somebody who never ends his own could then shut everybody out.
        """
        senders = [channel for channel in self.active_channels.values()
                   if channel.request is not None and channel.evictable]
        if senders:
            self.ended("shed")
            max(senders, key=lambda channel: channel.request.body_bytes_received).turn_away(
                errors.Overloaded("too many large requests are on their way, try again later",
                                  retry_after=RETRY_AFTER))

    def ended(self, reason: str) -> None:
        """Count a connection that the server ended."""
        self.services.metrics.ended.labels(reason).inc()

    def maintenance(self, now: float) -> None:
        """waitress's, called once a second: what has taken too long."""
        clock = time.monotonic()
        for channel in list(self.active_channels.values()):
            channel.expire(clock, self._settings.body_timeout, self._settings.body_rate)

    def turn_senders_away(self) -> None:
        """Answer requests that have not arrived in full: the process stops."""
        for channel in list(self.active_channels.values()):
            if channel.request is not None and channel.evictable:
                channel.turn_away(errors.Overloaded("the service is restarting, try again", retry_after=1))
        self.answer()

    # -- requests ----------------------------------------------------------------------------
    def add_task(self, task: Channel) -> None:
        """waitress's: a channel has a request. The loop answers it, or a thread."""
        if task.requests[0].instant:
            self._instant.append(task)  # not here: waitress holds the channel's lock
        else:
            self.tasks += 1
            super().add_task(task)

    def turn(self) -> None:
        """One turn of the loop: events, then newcomers, then what needs no thread."""
        wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        if self._called and self.accepting:
            self._accept()
        self.answer()

    def answer(self) -> None:
        """Answer what needs no thread."""
        while self._instant:
            self._serve(self._instant.popleft())

    def _serve(self, channel: Channel) -> None:
        try:
            channel.service()
        except Exception:  # one connection's trouble must not end the loop of all
            _log.exception("web.bug", path=None)
            channel.handle_close()


def _is_idle(channel: Channel) -> bool:
    """Whether it has had an answer, and nothing has come since for a while: nobody misses it."""
    if not channel.served or channel.request is not None or not channel.evictable:
        return False
    if time.time() < channel.last_activity + PAUSE:
        return False
    try:
        # The next request may be there, and its turn to be read not yet.
        return not channel.socket.recv(1, socket.MSG_PEEK)
    except OSError:  # nothing to read, or it is gone
        return True
