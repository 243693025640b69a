"""From the journal to CloudWatch, batch after batch, and never on before a batch is taken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from irs import errors, log
from irs.heartbeat import Heartbeat
from irs.shipping import batch as batches
from irs.shipping.batch import Batch
from irs.shipping.cursor import Cursor
from irs.shipping.entries import Entry, pieces
from irs.shipping.lag import Lag

#: Seconds that a batch waits for more lines; `irs logs --follow` looks every two.
LINGER = 1.0
#: Seconds between beats where nothing is written.
QUIET = 10.0
#: Seconds between tries: first and most.
PAUSE = (0.5, 30.0)
#: Seconds for what is left when it is told to stop.
DRAIN = 20.0
#: The same for who asks for what there is, and no more: a journal of days may be shipped.
PATIENCE = 600.0

_log = log.get("logs")


class Stream(Protocol):
    """Where lines go: `irs.aws.logs.Stream`."""

    def make(self) -> None:
        """Make it, where it is not there."""

    def put(self, events: Sequence[tuple[int, str]]) -> int:
        """Write them; how many CloudWatch would not have for their age."""


class Source(Protocol):
    """Where they come from: `irs.shipping.journal.Journal`."""

    ended: bool

    def read(self, seconds: float, also: int) -> list[Entry]:
        """What has come."""


class Stop(Protocol):
    """Signals that tell it to stop: `irs.local.signals.Signals`."""

    @property
    def count(self) -> int:
        """How many have come."""

    def fileno(self) -> int:
        """Can be read once one has come."""

    def wait(self, timeout: float, *, more_than: int) -> bool:
        """Whether more than so many have come, up to ``timeout`` seconds later."""


class _StoppedError(Exception):
    """It was told to stop with a batch in hand."""


class Shipper:
    """``source(follow)`` opens the journal behind the cursor. For one thread."""

    def __init__(self, stream: Stream, cursor: Cursor, stop: Stop,
                 source: Callable[[bool], AbstractContextManager[Source]], *,
                 clock: Callable[[], float] = time.time,
                 timer: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._cursor, self._stop, self._source = stream, cursor, stop, source
        # What lines are dated by, and what it waits by: a clock may be set meanwhile.
        self._clock, self._timer = clock, timer
        self._beat = Heartbeat(None)
        self._lag = Lag()
        #: when what it does now has to be done; None: it has all the time
        self._until: float | None = None
        #: signals that it has obeyed
        self._heard = 0
        #: events that CloudWatch has from it
        self.shipped = 0

    def run(self) -> None:
        """Go on until `Stop`, then ship what has been written by then. Raises `errors.IRSError`."""
        try:
            self._patiently(self._stream.make, self._now())
            with self._source(True) as source:
                self._pump(source)
        except _StoppedError:
            pass
        self._beat.stopping()
        self._heard = self._stop.count
        try:
            self.once(DRAIN)
        except errors.IRSError as exc:
            # It is in the journal, and goes out when this machine is started again.
            _log.warning("logs.left", why=str(exc))
        _log.info("logs.stopped", events=self.shipped)

    def once(self, seconds: float) -> None:
        """Ship what there is, within as many seconds. Raises `errors.IRSError` where it cannot."""
        self._until = self._timer() + seconds
        self._stop.wait(0, more_than=self._heard)  # it has nothing to read but what is new
        self._patiently(self._stream.make, self._now())
        while True:
            place = self._cursor.value
            with self._source(False) as source:
                self._pump(source)
            # The last words of what has just ended may have come meanwhile.
            if self._cursor.value == place:
                return

    def _pump(self, source: Source) -> None:
        """Until the source has ended or, where it follows, until `Stop`."""
        batch, due = Batch(), 0.0
        while not source.ended and not self._over():
            wait = max(0.0, due - self._timer()) if batch.cursor else QUIET
            for entry in source.read(wait, self._stop.fileno()):
                for piece in pieces(entry, batches.MESSAGE):
                    if not batch.add(piece, self._now()):
                        self._ship(batch)
                        batch, due = Batch(), 0.0
                        batch.add(piece, self._now())
                    due = due or self._timer() + LINGER
            self._beat.beat()
            if source.ended or (due and self._timer() >= due and self._until is None):
                self._ship(batch)
                batch, due = Batch(), 0.0

    def _ship(self, batch: Batch) -> None:
        if batch:
            self._patiently(lambda: self._put(batch.events()), batch.oldest)
            self.shipped += len(batch)
            self._lag.shipped(self._timer(), self._clock() - batch.newest / 1000)
        if batch.cursor:
            self._cursor.save(batch.cursor)

    def _put(self, events: Sequence[tuple[int, str]]) -> None:
        try:
            refused = self._stream.put(events)
        except errors.NotFound:
            # Somebody has deleted the stream, or the group: then this says so.
            self._stream.make()
            refused = self._stream.put(events)
        except errors.Invalid as exc:
            if len(events) == 1:
                _log.warning("logs.event_refused", size=len(events[0][1]), why=str(exc))
                return
            # One of them it does not like: the others must not wait behind it for ever.
            half = len(events) // 2
            self._put(events[:half])
            self._put(events[half:])
            return
        if refused:
            _log.warning("logs.too_old", events=refused)

    def _patiently(self, call: Callable[[], None], oldest: int) -> None:
        """Make the call until it succeeds; ``oldest`` is that of what waits for it."""
        failures = 0
        while True:
            try:
                return call()
            except errors.CloudError as exc:
                self._beat.beat()
                first, most = PAUSE
                pause = random.uniform(first, max(first, min(most, first * 2.0**failures)))  # noqa: S311 - jitter
                failures += 1
                if self._until is None:
                    self._lag.failed(self._timer(), self._clock() - oldest / 1000, exc)
                elif isinstance(exc, errors.Permanent) or self._timer() + pause > self._until:
                    raise
                if self._stop.wait(pause, more_than=self._heard):
                    raise (_StoppedError if self._until is None else exc) from None

    def _over(self) -> bool:
        """Whether it was told to stop. Raises `errors.IRSError` where it is to end with lines left."""
        told = self._stop.count > self._heard
        if self._until is not None and (told or self._timer() >= self._until):
            raise errors.IRSError("there was no time for all that the journal has; the next start goes on")
        return told

    def _now(self) -> int:
        return int(self._clock() * 1000)
