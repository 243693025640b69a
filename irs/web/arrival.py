"""A request as it arrives: judged by its headers before its body is read, bounded while it is."""

from __future__ import annotations

import contextlib
import threading
import time

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.utilities import Error

from irs import errors
from irs.web import refusals
from irs.web.admission import Admission

#: Seconds for a request's line and headers.
HEADERS = 10.0
#: Bytes of a chunk's size line and of the trailer. waitress looks through what it has of
#: them again at each packet: without a bound a megabyte of digits holds the loop up.
MAX_CONTROL_LINE, MAX_TRAILER = 1_024, 16_384
#: Bytes of the request's line that tell whose it is, also where it makes no sense in the end.
START = 64


class Bodies:
    """Bytes of bodies that the process holds, arriving or under way; for any number of threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.held = 0

    def add(self, number: int) -> None:
        """Count more of them, or with a negative ``number`` fewer."""
        with self._lock:
            self.held += number

    @property
    def too_many(self) -> bool:
        """Whether somebody has to go."""
        return self.held > self._limit


class Request(HTTPRequestParser):
    """One request as it arrives; without ``admission`` nobody is asked whether it may."""

    #: why the application is to refuse it; its body is not read
    refusal: errors.IRSError | None = None

    def __init__(self, adj: Adjustments, bodies: Bodies, admission: Admission | None = None) -> None:
        super().__init__(adj)
        self._admission = admission
        self._bodies = bodies
        self._counted = 0
        self._start = b""
        self.began = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether there is more of it than empty lines, which may stand between requests."""
        return self.headers_finished or bool(self.header_plus.strip())

    @property
    def of_program(self) -> bool:
        """Whether it is for ``/v1``, as far as its line has come."""
        _, _, path = self._start.lstrip().partition(b" ")
        return path.startswith(b"/v1/")

    @property
    def refused(self) -> bool:
        """Whether nothing more is to be read after it."""
        return bool(self.refusal or self.error)

    @property
    def instant(self) -> bool:
        """Whether the loop answers it itself: refusals, and the question for a sign of life."""
        return self.refused or (self.path == "/healthz" and self.command in ("GET", "HEAD"))

    def received(self, data: bytes) -> int:
        """waitress's: take bytes of the request, return how many."""
        judged = self.headers_finished
        if not judged:
            self._start = self.header_plus[:START] + data[:START]
        try:
            used: int = super().received(data)
        except OSError:
            # Nothing but the body's temporary file is touched here. On a full disk Python may
            # not even find a directory for it, and says so in other words.
            used = len(data)
            self.refuse(refusals.no_room())
        self._bodies.add(self.body_bytes_received - self._counted)
        self._counted = self.body_bytes_received
        if self.error is None and self.headers_finished and not self.empty:
            if not judged and (why := self._judgement()) is not None:
                self.refuse(why)
            self._check_size()
        elif self.error is not None and self.error.code == 413:
            self.error = None
            self.refuse(errors.TooLarge("the request is too large"))
        if self.refused:
            self.completed = True
            used = len(data)  # the rest is no request
        if self.completed:
            self.expect_continue = False
        return used

    @property
    def _most(self) -> int:
        if self._admission is None:
            most: int = self.adj.max_request_body_size
            return most
        return self._admission.most("/" + self.path.lstrip("/"))

    def _judgement(self) -> errors.IRSError | None:
        if self._admission is None:
            return None
        try:
            self._admission.check(self.command, "/" + self.path.lstrip("/"), self._header)
        except errors.IRSError as exc:
            return exc
        return None

    def _header(self, name: str) -> str:
        text: str = self.headers.get(name.upper().replace("-", "_"), "")
        return text

    def _check_size(self) -> None:
        """Refuse what is announced too large for its route, and a size line or trailer without end."""
        body = self.body_rcv
        if self.refused:
            return
        if self.content_length >= self._most:  # in chunks it has none
            self.refuse(errors.TooLarge("the request is too large"))
        if not isinstance(body, ChunkedReceiver) or self.refused:
            return
        if self.body_bytes_received + body.chunk_remainder >= self._most:
            self.refuse(errors.TooLarge("the request is too large"))
        elif len(body.control_line) > MAX_CONTROL_LINE or len(body.trailer) > MAX_TRAILER:
            self.refuse(errors.BadRequest("the chunked body is malformed"))

    def refuse(self, why: errors.IRSError) -> None:
        """End the request here; whoever holds it hands it on to be answered."""
        self.close()
        self.body_rcv = None  # the application must not look for the rest of it
        self.headers["CONTENT_LENGTH"] = "0"
        if self.headers_finished:
            self.refusal = why
        else:
            self.error = Error("")
            self.error.code = refusals.status(why)
            self.error.refusal = why
        self.expect_continue = False
        self.completed = True

    def release(self) -> None:
        """The body has been read, and need not be held; it counts on, as its files are held instead."""
        # Closing writes what is still buffered: what found no room before has none now either.
        with contextlib.suppress(OSError):
            super().close()

    def close(self) -> None:
        """waitress's: the body is no longer needed."""
        self.release()
        self._bodies.add(-self._counted)
        self._counted = 0

    def late(self, now: float, timeout: float, rate: float) -> bool:
        """Whether its time is up; ``timeout`` in seconds, ``rate`` in bytes a second."""
        if not self.headers_finished:
            return now > self.began + HEADERS
        return now > self.began + timeout + self.body_bytes_received / rate
