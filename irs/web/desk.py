"""An operator's desk for dead letters: look at them, send them back.

What is looked at is hidden from others that look, so that in one process one thing is done at
a time. Between processes the queue sees to it that nobody handles another's letter
(`irs.audit.redrive`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from irs import errors, log
from irs.audit import letters, redrive
from irs.audit.letters import DeadLetters, Letter
from irs.audit.redrive import Driven, Fate, Work
from irs.aws.queues import Queue
from irs.domain.jobs import Result
from irs.settings import Settings
from irs.web.cloud import Cloud

#: Seconds for which one look answers everybody who asks.
FRESH = 5.0
#: Most letters that are shown.
MOST = 100
#: What one request sends back at most: letters, and seconds after which it begins no other.
BATCH, SECONDS = 500, 15.0
#: Seconds that a request waits for the one before it.
TURN = 30.0

_log = log.get("web")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One letter, and what became of its job."""

    letter: Letter
    #: None: there is none so far, or the letter is no job's
    result: Result | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What is on the desk."""

    #: newest first
    rows: tuple[Shown, ...]
    #: how many letters there are, about
    there: int
    #: newer ones may be there that were not looked at
    partial: bool


class Desk:
    """Thread-safe. Methods raise `errors.CloudError`."""

    def __init__(self, settings: Settings, cloud: Cloud, *, dead: DeadLetters | None = None,
                 work: Work | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._cloud = cloud
        self._dead, self._work = dead, work
        self._clock = clock
        self._turn = threading.Lock()
        self._table: tuple[float, Table] | None = None

    def look(self) -> Table:
        """The newest letters, as they are now or were up to `FRESH` seconds ago."""
        with self._taken():
            if self._table is not None and self._clock() - self._table[0] < FRESH:
                return self._table[1]
            found = letters.newest(self._letters, MOST)
            results = self._cloud.pool.map(self._result, found.letters)
            rows = tuple(Shown(letter=letter, result=result)
                         for letter, result in zip(found.letters, results, strict=True))
            table = Table(rows=rows, there=found.there, partial=found.partial)
            self._table = (self._clock(), table)
            return table

    def redrive(self, only: Collection[str] | None) -> tuple[list[Driven], bool]:
        """Send these jobs' letters back, or all; and whether it stopped before it came to each.

        What was sent is sent, whatever becomes of this process or this request.
        """
        with self._taken():
            self._table = None
            found, stopped = self._bounded(only)
        for driven in found:
            if driven.fate is Fate.SENT:
                # Should its message be lost, this process sends it again.
                self._cloud.upkeep.pending.adopt(driven.id)
        return found, stopped

    def _bounded(self, only: Collection[str] | None) -> tuple[list[Driven], bool]:
        until = self._clock() + SECONDS
        ports = (self._letters, self._input, self._cloud.results)
        driven = redrive.redrive(*ports, None) if only is None else redrive.named(*ports, only)
        found: list[Driven] = []
        try:
            # Closed, it shows the letters again that it did not come to.
            with contextlib.closing(driven):
                for item in driven:
                    found.append(item)
                    if len(found) >= BATCH or self._clock() >= until:
                        return found, only is None or len(found) < len(only)
        except errors.CloudError as exc:
            if not found:
                raise
            _log.warning("web.redrive_stopped", why=str(exc), handled=len(found))
            return found, True
        return found, False

    @contextlib.contextmanager
    def _taken(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=TURN):
            raise errors.Unreachable("the dead letters are being handled, try again")
        try:
            yield
        finally:
            self._turn.release()

    def _result(self, letter: Letter) -> Result | None:
        return self._cloud.results.read(letter.job.id) if letter.job is not None else None

    @property
    def _letters(self) -> DeadLetters:
        if self._dead is None:
            self._dead = Queue(self._settings, self._settings.dead_letter_queue)
        return self._dead

    @property
    def _input(self) -> Work:
        if self._work is None:
            self._work = Queue(self._settings, self._settings.input_queue)
        return self._work
