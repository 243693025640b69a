"""One batch in this process's hands: members to the queue, outcomes into the record."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from irs import errors, log
from irs.bulk import sending
from irs.bulk.hold import Hold
from irs.bulk.ports import Ports
from irs.bulk.roll import Roll
from irs.domain import bulk, keys
from irs.domain.bulk import FILES, Batch, Member
from irs.domain.jobs import Failure, Result, Status
from irs.domain.pacing import Backlog, Pace

#: Seconds between two writes of the record, and members that may be sent between them: what
#: a successor has to look for among the results before it sends it.
EVERY, AHEAD = 3.0, 500
#: Seconds after which a result that nobody announced is looked for, and the longest pause
#: between two looks: each is half as long again as the one before.
LOOK, LOOK_MOST = 10.0, 60.0
#: Looks, and deletions of uploads, in one turn.
LOOKS, DELETIONS = 50, 200

_log = log.get("bulk")


class Feeding:
    """For one thread. Methods raise `errors.CloudError`, and `irs.bulk.hold.Lost` where it is another's.

    ``clock`` gives seconds, ``now`` the time in UTC.
    """

    def __init__(self, hold: Hold, ports: Ports, *, most: int, clock: Callable[[], float],
                 now: Callable[[], datetime]) -> None:
        self._hold = hold
        self._ports = ports
        self._clock = clock
        self._now = now
        self._batch = hold.batch
        self._roll = Roll(ports.batches, self._batch.id, most=most, clock=clock,
                          unsent=self._unsent)
        #: members sent and not settled, by number: their job ids
        self._open = {n: bulk.member_id(self._batch.id, n) for n in self._batch.outstanding}
        self._numbers = {job_id: number for number, job_id in self._open.items()}
        #: those of them that are to be sent, as far as is known here
        self._again: deque[int] = deque(self._open)
        #: members below this one may have been sent by another, whose last word that was not
        self._unsure = 0 if self._batch.serial <= 1 else self._batch.sent + 2 * AHEAD
        #: when to look for a result, and the pause after that
        self._looks: dict[int, tuple[float, float]] = {}
        self._pace = Pace()
        self._written = float("-inf")
        self._written_sent = self._batch.sent

    @property
    def id(self) -> str:
        """The batch's."""
        return self._batch.id

    @property
    def outstanding(self) -> int:
        """Members that were sent and have no outcome."""
        return len(self._open) - len(self._again)

    @property
    def hungry(self) -> bool:
        """Whether there is something to send."""
        more = self._batch.cancelled is None and self._batch.sent < self._batch.total
        return more or bool(self._again)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        batch = self._batch
        if self._open:
            return False
        if batch.cancelled is not None:
            return batch.source != FILES or batch.removed >= batch.total
        return batch.listed and batch.sent == batch.total

    # -- to the queue --------------------------------------------------------------------------
    def extend(self) -> None:
        """List the next objects of a batch that is made of an S3 address."""
        if not self._batch.listed and self._batch.cancelled is None:
            longer = self._roll.extended(self._batch, self._ports.sources, self.write)
            before, self._batch = self._batch, longer
            try:
                self.write()
            finally:
                if self._batch is longer:
                    self._batch = before  # not in the record: nothing of it may be sent

    def _unsent(self, numbers: range) -> set[int]:
        """Those of these members that have no outcome and none under way, as far as can be told."""
        found = {n for n in numbers if n >= self._batch.sent or n in self._again}
        ids = {bulk.member_id(self.id, n): n for n in found if n < self._unsure}
        results = self._ports.pool.map(self._ports.results.read, ids)
        return found - {n for n, result in zip(ids.values(), results, strict=True) if result is not None}

    def feed(self, room: int) -> int:
        """Send up to ``room`` members; returns how many were sent.

        What could not be is sent at another turn.
        """
        if not self._open:
            self._pace.began(self._clock())
        send = functools.partial(self._ports.pool.submit, sending.send, self._ports, self._batch)
        handled = [(number, send(self._open[number], member, unsure=number < self._unsure))
                   for number, member in self._next(room)]
        sent = 0
        trouble: Exception | None = None
        for number, answer in handled:
            try:
                sent += self._handled(number, answer.result())
            except Exception as exc:  # every one of them must be heard: none may be forgotten
                self._again.append(number)
                trouble = trouble or exc
        if trouble is not None:
            raise trouble
        return sent

    def _next(self, room: int) -> list[tuple[int, Member]]:
        """The next members to send; those refused beforehand are passed over, and settled."""
        found: list[tuple[int, Member]] = []
        for _ in range(AHEAD):
            if len(found) >= room or not self.hungry:
                break
            again = bool(self._again)
            number = self._again[0] if again else self._batch.sent
            try:
                member = self._roll.member(number, self._batch)
            except errors.CloudError:
                if found:
                    break  # these first
                raise
            if again:
                self._again.popleft()
            else:
                self._batch = replace(self._batch, sent=number + 1)
                self._open[number] = bulk.member_id(self.id, number)
                self._numbers[self._open[number]] = number
            if member.error is not None:
                self._settle(number, Status.FAILED)
            else:
                found.append((number, member))
        return found

    def _handled(self, number: int, outcome: Result | Failure | None) -> int:
        """1 where it was sent."""
        if isinstance(outcome, Failure):
            self._batch = replace(self._batch, refused={**self._batch.refused, number: outcome})
            self._settle(number, Status.FAILED)
        elif outcome is not None:
            self._settle(number, outcome.status)
        else:
            self._looks[number] = (self._clock() + LOOK, LOOK)
            return 1
        return 0

    def waits_for(self, job_id: str) -> bool:
        """Whether it is one of this batch's that was sent; for any thread."""
        return job_id in self._numbers

    # -- outcomes ------------------------------------------------------------------------------
    def heard(self, result: Result) -> bool:
        """A result was announced; whether it is one of this batch's, and news."""
        number = self._numbers.get(result.id)
        if number is None:
            return False
        self._pace.result(self._clock(), result.instance)
        self._ports.finished(result)
        self._settle(number, result.status)
        return True

    def look(self) -> None:
        """Look for results that nobody has announced."""
        now = self._clock()
        due = [number for number, (at, _) in self._looks.items() if at <= now][:LOOKS]
        found = self._ports.pool.map(self._ports.results.read, [self._open[number] for number in due])
        for number in due:
            pause = min(LOOK_MOST, self._looks[number][1] * 1.5)
            self._looks[number] = (now + pause, pause)
        for result in found:
            if result is not None:
                self.heard(result)

    def _settle(self, number: int, status: Status) -> None:
        del self._numbers[self._open.pop(number)]
        self._looks.pop(number, None)
        if number in self._again:
            self._again.remove(number)
        batch = self._batch
        if status is Status.DONE:
            self._batch = replace(batch, done=batch.done + 1)
        elif status is Status.FAILED:
            self._batch = replace(batch, failed=batch.failed.with_(number))
        else:
            self._batch = replace(batch, withdrawn=batch.withdrawn + 1)

    def remove(self) -> None:
        """Delete uploads that a cancelled batch will not send: nobody else would ever."""
        batch = self._batch
        if batch.cancelled is None or batch.source != FILES or batch.removed >= batch.total:
            return
        first = max(batch.removed, batch.sent)
        numbers = range(first, min(first + DELETIONS, batch.total))
        # The names first: the roll is this thread's.
        doomed = [keys.input_key(bulk.member_id(batch.id, number), member.name)
                  for number in numbers if (member := self._roll.member(number, batch)).error is None]
        for _ in self._ports.pool.map(self._ports.inputs.delete, doomed):
            pass
        self._batch = replace(self._batch, removed=numbers.stop)

    # -- the record ----------------------------------------------------------------------------
    def keep(self) -> None:
        """Write the record if it is time, or if too much has been sent since."""
        if self._clock() - self._written >= EVERY or self._batch.sent - self._written_sent >= AHEAD:
            self.write()

    def write(self) -> Batch:
        """Write the record, and tell what is still to come; returns the record."""
        # What could not be sent so far is not passed, and may yet be refused.
        below = min(itertools.chain(self._open, [self._batch.sent]))
        self._batch = self._hold.write(self._snapshot(self._roll.noted(self._batch, below)))
        self._ports.batches.tell(self.id, Backlog(
            at=self._now(), unsent=self._batch.unsent, rate=self._batch.rate))
        self._written, self._written_sent = self._clock(), self._batch.sent
        return self._batch

    def finish(self) -> None:
        """Write the record for the last time, and tell of the batch no more."""
        batch = self._snapshot(self._roll.noted(self._batch, self._batch.total + bulk.CHUNK))
        self._hold.write(replace(batch, finished=self._now(), listed=True, holder=""))
        self._ports.batches.ended(self.id)
        self._ports.ended(self.id)
        _log.info("batch.finished", batch=self.id, **self._batch.counts())

    def release(self) -> None:
        """Write the record and let another process go on at once."""
        self._hold.release(self._snapshot(self._batch))

    def _snapshot(self, batch: Batch) -> Batch:
        return replace(batch, outstanding=tuple(self._open), rate=self._pace.rate(self._clock()))
