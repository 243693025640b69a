"""Dead letters back to the input queue, so that a crash at any point loses nothing.

For each letter: the failure that stands for it is removed, the message is sent as it was,
and the letter is deleted once SQS has accepted the send. A crash in between leaves the
letter: the sweep names it again, or another redrive sends it a second time, which does no
harm. While it is handled it is hidden from the sweep, which would write the failure anew.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from irs import errors, log
from irs.audit import letters
from irs.audit.letters import DeadLetters, Letter
from irs.domain.jobs import Result, Status

#: Seconds for which a letter that was named, and that another look hides, is waited for.
PATIENCE = 5.0

_log = log.get("audit")


class Work(Protocol):
    """The input queue: `irs.aws.queues.Queue`."""

    def send(self, body: str) -> None: ...


class Results(Protocol):
    """`irs.results.store.ResultStore`, as far as it is used here."""

    def withdraw(self, job_id: str) -> Result | None: ...


class Fate(enum.StrEnum):
    """What became of a letter."""

    #: it is on the input queue again
    SENT = "sent"
    #: its job has a label or was cancelled; the letter is gone
    DONE = "done already"
    #: no task of ours can be read from it; it stays
    FOREIGN = "not a task of ours"
    #: a job that was named, without a letter
    ABSENT = "not among the dead letters"
    #: the cloud failed; it stays
    FAILED = "not sent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Driven:
    """One letter's fate."""

    #: the job's id; the message's where there is no job
    id: str
    fate: Fate
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether what was asked for is so now."""
        return self.fate not in (Fate.FAILED, Fate.ABSENT)

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"id": self.id, "fate": str(self.fate), **({"why": self.why} if self.why else {})}


def redrive(dead: DeadLetters, work: Work, results: Results,
            only: Collection[str] | None) -> Iterator[Driven]:
    """Send letters back, one after the other; ``only`` these jobs, or all.

    Raises `errors.CloudError` where the letters cannot be looked at; what fails with one of
    them is its own fate.
    """
    for letter in letters.peek(dead, dead.depth().there):
        if letter.job is None:
            if only is None:
                yield Driven(id=letter.message.id, fate=Fate.FOREIGN)
        elif only is None or letter.job.id in only:
            yield _one(letter, letter.job.id, dead, work, results)


def named(dead: DeadLetters, work: Work, results: Results, ids: Collection[str], *,
          patience: float = PATIENCE,
          clock: Callable[[], float] = time.monotonic) -> Iterator[Driven]:
    """The same for these jobs, each of which has a fate in the end.

    A letter is hidden while another looks at it, and then not found: as long as the queue says
    that some are hidden, they are looked for again, up to ``patience`` seconds.
    """
    missing, until = set(ids), clock() + patience
    while True:
        hidden = dead.depth().in_flight
        with contextlib.closing(redrive(dead, work, results, frozenset(missing))) as found:
            for item in found:
                missing.discard(item.id)
                yield item
                if not missing:
                    return
        # A look may have begun or ended meanwhile.
        if clock() >= until or not (hidden or dead.depth().in_flight):
            break
    for job_id in sorted(missing):
        yield Driven(id=job_id, fate=Fate.ABSENT)


def _one(letter: Letter, job_id: str, dead: DeadLetters, work: Work, results: Results) -> Driven:
    try:
        known = results.withdraw(job_id)
        fate = Fate.DONE
        if known is None or known.status is Status.FAILED:
            work.send(letter.message.body)
            fate = Fate.SENT
        (outcome,) = dead.delete_batch([letter.message.receipt])
        if outcome is not None:
            raise outcome
    except errors.CloudError as exc:
        return Driven(id=job_id, fate=Fate.FAILED, why=str(exc))
    _log.info("audit.redriven", id=job_id, fate=str(fate))
    return Driven(id=job_id, fate=fate)
