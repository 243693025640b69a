"""A client's connection: what may come in on it, in what time, and how it ends.

waitress reads a whole request before a thread is spent on it. Here is what it leaves open:
a deadline for that request, an answer for one that breaks off, and an end that does not take
the answer away from a client that still sends. Everything here but a task's work runs in the
server's one I/O loop, and waits for nothing.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from irs import errors, log
from irs.web import refusals
from irs.web.admission import ADMITTED, BODY_READ, REFUSAL
from irs.web.arrival import Request

if TYPE_CHECKING:
    from irs.web.acceptor import Acceptor

#: Seconds without a byte after which a connection without a request is closed.
#: More than the idle timeout of the load balancer in front (deploy/stack.yaml: 330 s), so that it
#: is the first to hang up. The other way round it sends a request on what is closing, and
#: answers 502. Idle connections are the first to go where there are too many.
IDLE = 345.0
#: Seconds in which a client takes none of the answer that is ready for it: it never will, and
#: a thread may wait for it to, with one of the few places of those that stream. So many
#: seconds in all, too, may it be behind one that takes as many bytes a second as a sender must
#: send: else a byte a minute would hold such a place for weeks.
UNREAD = 60.0
#: Seconds for a client to read its answer and hang up: without a byte from it, and in all.
LINGER_IDLE, LINGER = 5.0, 30.0
#: Seconds of that which a stopping process grants.
LAST_WORD = 1.0

_log = log.get("web")


class _Task(WSGITask):
    """A request for the application, which may be asked to refuse it."""

    def execute(self) -> None:
        if self.request.refusal is not None:
            self.set_close_on_finish()
        super().execute()

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ |= {ADMITTED: True, REFUSAL: self.request.refusal, BODY_READ: self.request.release}
        return environ


class _OneLine(ErrorTask):
    """A request that the application cannot be shown: no sense in its headers, or none came."""

    def execute(self) -> None:
        error = self.request.error
        why = getattr(error, "refusal", None) or refusals.of_status(error.code)
        accept = "json" if self.request.of_program else self.request.headers.get("ACCEPT", "")
        kind, body = refusals.plain(why, accept)
        self.status = refusals.status_line(why)
        self.response_headers += [("Content-Type", kind), *refusals.headers(why)]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        _log.info("web.answered", route=None, method=None, status=refusals.status(why),
                  seconds=round(time.monotonic() - self.request.began, 3))


class Channel(HTTPChannel):
    """waitress's connection, with deadlines and a lingering close."""

    task_class = _Task
    error_task_class = _OneLine
    server: Acceptor
    request: Request | None
    requests: list[Request]
    #: since when the connection only waits for the client to hang up, and the last byte of it
    lingering: float | None = None
    _heard = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: told to go, or has its last answer
        self.leaving = False
        self._made = time.monotonic()
        #: when the client last took something, or there was nothing to take
        self._taken = self._made
        #: when there was last nothing to take, and the bytes taken since
        self._behind, self._had = self._made, 0
        #: it has had a request
        self.served = False
        super().__init__(*args, **kwargs)

    def parser_class(self, adj: Adjustments) -> Request:
        """waitress asks this for each request."""
        return Request(adj, self.server.bodies, self.server.services.admission)

    # -- reading -----------------------------------------------------------------------------
    def readable(self) -> bool:
        """waitress's; a refused request's client is heard again once it has its answer."""
        if self.lingering is not None:
            return True
        if self.requests and self.requests[-1].refused:
            return False
        return bool(super().readable())

    def handle_read(self) -> None:
        """Take what has come. An end of file within a request is a request that broke off."""
        try:
            data = self.socket.recv(self.adj.recv_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.handle_close()
            return
        if self.lingering is not None:
            self._heard = time.monotonic()
            if not data:
                self.handle_close()
        elif data:
            self.last_activity = time.time()
            self.received(data)
            if self.server.bodies.too_many:
                self.server.shed()
        elif self.request is not None and self.request.begun and not self.requests:
            self.server.ended("incomplete")
            self.give_up(errors.BadRequest("the request broke off before its end"))
        else:
            self.handle_close()

    def handle_close(self) -> None:
        """waitress's, and the end of a request that was still to come."""
        if self.request is not None:
            self.request.close()
            self.request = None
        super().handle_close()

    def give_up(self, why: errors.IRSError) -> None:
        """Answer a request that has not arrived, and will not."""
        with self.requests_lock:
            request = self.request
            if request is None or self.requests:
                return
            request.refuse(why)
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)

    # -- the end -----------------------------------------------------------------------------
    def handle_write(self) -> None:
        """waitress's, but the end of the last answer is not the end of the connection.

        A close with bytes unread would reset it, and a client that still sends would lose the
        answer that tells it to stop.
        """
        ending = self.close_when_flushed
        self.close_when_flushed = False
        super().handle_write()
        if ending and self.connected:
            if self.total_outbufs_len:
                self.close_when_flushed = True
            else:
                self._linger()

    def send(self, data: bytes, do_close: bool = True) -> int:
        """waitress's; a task's thread may call it."""
        sent: int = super().send(data, do_close)
        if sent:
            self._taken = time.monotonic()
            self._had += sent
        return sent

    def _linger(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()
            return
        self.leaving = True
        self.lingering = self._heard = time.monotonic()

    def expire(self, now: float, timeout: float, rate: float) -> None:
        """End what has taken too long; called about once a second."""
        if self.lingering is not None:
            if now > self._heard + LINGER_IDLE or now > self.lingering + LINGER:
                self.handle_close()
        elif self._unread(now, rate):
            self.server.ended("unread")
            self.handle_close()  # which wakes a task that waits for room
        elif self.requests:
            # With more requests behind the one under way nothing is read, an end neither.
            if not self.readable() and self._hung_up():
                self.handle_close()
        elif self.request is not None and self.request.begun:
            if self.request.late(now, timeout, rate):
                self.server.ended("late")
                self.give_up(errors.RequestTimeout("the request did not arrive in time"))
        elif self.last_activity < time.time() - IDLE:
            self.will_close = True

    def _unread(self, now: float, rate: float) -> bool:
        if not self.total_outbufs_len:
            self._taken, self._behind, self._had = now, now, 0
        return now > self._taken + UNREAD or now > self._behind + UNREAD + self._had / rate

    def _hung_up(self) -> bool:
        asked = select.poll()
        asked.register(self.socket, select.POLLRDHUP)
        return bool(asked.poll(0))

    @property
    def busy(self) -> bool:
        """Whether a process that stops should wait for it."""
        just_answered = self.lingering is not None and time.monotonic() < self.lingering + LAST_WORD
        return bool(self.requests or self.total_outbufs_len or self.close_when_flushed or just_answered)

    @property
    def evictable(self) -> bool:
        """Whether no request has arrived on it that waits for its answer."""
        return not (self.requests or self.total_outbufs_len or self.leaving)

    @property
    def worth(self) -> tuple[bool, float]:
        """Greater for a connection that is rather kept: of those that may still bring a first
        request the newest, before those that have brought one.
        """
        if self.served:
            return self.request is not None, self.request.began if self.request else self._made
        return True, self._made

    def turn_away(self, why: errors.IRSError) -> None:
        """End a connection on which no request waits for its answer, and say why."""
        self.leaving = True
        if self.request is None and self.served:
            self.handle_close()  # between two requests nobody listens
            return
        self.request = self.request or Request(self.adj, self.server.bodies)
        self.give_up(why)

    def service(self) -> None:
        """waitress's: answer the first request, in this thread."""
        self.served = True
        super().service()
