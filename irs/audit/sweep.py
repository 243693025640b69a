"""A named failure for every dead letter whose job has no result.

A worker that is killed by an image, five times, leaves none. The sweep looks at the
dead-letter queue, deletes nothing, and writes what is missing; results are written once, so
that several processes may sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from irs import log
from irs.audit import letters
from irs.audit.letters import DeadLetters, Letter
from irs.domain.jobs import DEAD_LETTER, Failure, Job, Result, Status, stamp

#: Seconds after which letters are looked at again although their number has not changed: one
#: may have come where another went. One second more a letter bounds what it costs.
AGAIN = 60.0

_log = log.get("audit")


class Results(Protocol):
    """`irs.results.store.ResultStore`, as far as a sweep uses it."""

    def read(self, job_id: str) -> Result | None: ...
    def write(self, result: Result) -> Result: ...


#: Tells whoever waits: `irs.results.announce.Announcer.announce`.
Announce = Callable[[Result, object], None]


@dataclass(kw_only=True, slots=True)
class Found:
    """What one look at the dead letters found."""

    #: letters whose job has a result
    settled: int = 0
    #: those whose job had none and has a failure now
    named: int = 0
    #: those that no task of ours can be read from
    foreign: int = 0

    @property
    def letters(self) -> int:
        """All of them."""
        return self.settled + self.named + self.foreign


class Sweep:
    """One process's sweep. `look` raises `irs.errors.CloudError`; not thread-safe.

    It counts the letters for itself. So do the scaler, for its history, and `/v1/stats`, whose
    reader has just sent some back or sees that there is none: what one of them knows is in
    another process, and up to a minute old.
    """

    def __init__(self, dead: DeadLetters, results: Results, announce: Announce, *,
                 receives: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._dead = dead
        self._results = results
        self._announce = announce
        self._receives = receives
        self._clock = clock
        #: messages that there were at the last look; None: before the first
        self.there: int | None = None
        #: letters that the last look found
        self.letters = 0
        #: failures written so far
        self.named = 0
        self._looked = float("-inf")

    def look(self) -> Found | None:
        """One call while there is nothing new; None then."""
        there = self.there = self._dead.depth().there
        rested = self._clock() - self._looked >= AGAIN + self.letters
        if there == 0 or (there == self.letters and not rested):
            self.letters = min(self.letters, there)
            return None
        return self.sweep(there)

    def sweep(self, letters_there: int) -> Found:
        """Look at every letter now."""
        self._looked = self._clock()
        found = Found()
        for letter in letters.peek(self._dead, letters_there):
            self._settle(letter, found)
        self.letters = found.letters
        if found.named:
            _log.warning("audit.dead_letters", named=found.named, settled=found.settled,
                         foreign=found.foreign, queue=self._dead.name)
        return found

    def _settle(self, letter: Letter, found: Found) -> None:
        if letter.job is None:
            found.foreign += 1
            return
        if self._results.read(letter.job.id) is not None:
            found.settled += 1
            return
        result = failure(letter.job, self._receives)
        if self._results.write(result) == result:
            self.named += 1
            found.named += 1
            self._announce(result, letter.reply_to)
            _log.error("job.dead_letter", id=result.id, message=letter.message.id)
        else:
            found.settled += 1


def failure(job: Job, receives: int) -> Result:
    """The result of a job whose receives were all spent."""
    return Result(
        id=job.id, image=job.image, status=Status.FAILED, attempts=receives,
        error=Failure(code=DEAD_LETTER,
                      message=f"could not be classified in {receives} attempts, each of which was cut off"),
        times={"received": stamp(job.received), "finished": stamp(datetime.now(UTC))})
