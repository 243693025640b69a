"""A web process's callbacks: what it promised itself, and what others left behind.

Threads call; one more looks, twice a minute, at the records of all processes. A process
that dies is followed by the looks of the others, or by its own when it is started again.
"""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from irs import errors, log, signing
from irs.aws.objects import Objects
from irs.callbacks.calling import Attempted, Caller, Payload
from irs.callbacks.records import Held, Records
from irs.callbacks.turns import Turns
from irs.domain import addresses
from irs.domain.callbacks import IMAGE, LEFT, Record
from irs.rounds import Rounds
from irs.settings import Settings

#: Seconds between looks at the records, and most seconds between them while S3 fails.
EVERY, SLOWEST = 30.0, 120.0
#: Jobs whose results this process waits for: beyond, the oldest are left to the looks.
LIMIT = 10_000
#: Records that one look reads.
READS = 500
#: Seconds between looks for one job's result: first and most, and in between a fifth of its age.
RESULT_EVERY, RESULT_MOST = 30.0, 600.0

_NEVER = datetime.min.replace(tzinfo=UTC)

_log = log.get("callbacks")


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What there is to measure."""

    #: attempts by what became of them, so far
    outcomes: Mapping[str, int] = field(default_factory=dict)
    #: callbacks in this process's memory that are due, or will be
    queued: int = 0


def made(settings: Settings, payloads: Mapping[str, Payload]) -> Callbacks:
    """The real thing, not started; raises `errors.CallbacksOff` where there is no secret.

    ``payloads`` has for each kind of thing that may be called back about what gives its
    JSON by its id.
    """
    if settings.callback_secret is None:
        raise errors.CallbacksOff("this service makes no callbacks: set IRS_CALLBACK_SECRET to have them")
    from irs.callbacks.posting import Post  # libcurl, which nothing else here needs

    records = Records(Objects(settings, settings.output_bucket))
    return Callbacks(records, Caller(
        records, payloads, Post(addresses.networks(settings.callback_networks)),
        signing.parse(settings.callback_secret.get_secret_value())))


class Callbacks:
    """Thread-safe, but for `look`, which one thread calls. `begin` and `again` raise `CloudError`."""

    def __init__(self, records: Records, caller: Caller, *, turns: Turns | None = None,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._records = records
        self._caller = caller
        self._turns = Turns() if turns is None else turns
        self._now = now
        #: records of jobs that have no result so far, as far as this process wrote them
        self._expected: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()
        #: id to the ETag and when to look at it again; as many as there are records
        self._seen: dict[str, tuple[str, datetime]] = {}
        self._rounds = Rounds(self.look, name="callbacks", every=EVERY, slowest=SLOWEST,
                              failed=_failed, erred=_erred)
        self._callers: list[threading.Thread] = []

    def begin(self, record_id: str, url: str, *, about: str = IMAGE) -> None:
        """Promise a callback: before the job can be done, and in S3, so that it is kept."""
        now = self._now()
        held = self._records.write(Record(id=record_id, about=about, url=url, created=now, next_at=now))
        with self._lock:
            self._expected[record_id] = held
            if len(self._expected) > LIMIT:
                self._expected.popitem(last=False)

    def begin_once(self, record_id: str, url: str) -> None:
        """The same for what may have been promised before: the first promise counts."""
        if self.find(record_id) is None:
            self.begin(record_id, url)

    def told(self, record_id: str) -> None:
        """The job has its result; returns at once."""
        with self._lock:
            held = self._expected.pop(record_id, None)
        if held is not None:
            self._turns.add(held)

    def find(self, record_id: str) -> Record | None:
        """What is written down; None: there is no such callback. Raises `errors.CloudError`."""
        return self._records.find(record_id)

    def again(self, record: Record) -> Record:
        """Call anew, from the first attempt on, whatever became of it before."""
        held = self._records.write(record.again(self._now()))
        self._turns.add(held)
        return held.record

    @property
    def busy(self) -> int:
        """Attempts under way."""
        return self._turns.busy

    @property
    def counts(self) -> Counts:
        """So far."""
        return Counts(outcomes=dict(self._caller.outcomes), queued=len(self._turns))

    # -- the threads -------------------------------------------------------------------------
    def start(self) -> None:
        """Begin, in threads."""
        self._callers = [threading.Thread(target=self._call, name=f"callback-{n}", daemon=True)
                         for n in range(self._turns.limits.threads)]
        for thread in self._callers:
            thread.start()
        self._rounds.start()

    def close(self) -> None:
        """Begin nothing more; an attempt under way ends by itself: see `busy`.

        What is due is in its record, for another process or this one's next start.
        """
        self._rounds.close()
        self._turns.close()

    def _call(self) -> None:
        while (held := self._turns.take()) is not None:
            self.turn(held)

    def turn(self, held: Held) -> None:
        """One attempt, and the next one's place among the others."""
        came = Attempted()
        try:
            came = self._caller.attempt(held)
        except errors.CloudError as exc:
            # The record is as it was, or says more: a later look finds it.
            _log.warning("callback.not_recorded", id=held.record.id, why=str(exc))
        except Exception:
            # Whatever it is, the next callback must be made.
            _log.exception("callback.error", id=held.record.id)
        finally:
            self._turns.done(held, came.taken)
        if came.again is not None:
            self._turns.add(came.again, came.seconds)

    # -- the looks ---------------------------------------------------------------------------
    def look(self) -> None:
        """One look at what processes have left behind; raises `errors.CloudError`."""
        now = self._now()
        listed = dict(self._records.pending())
        self._seen = {i: seen for i, seen in self._seen.items() if listed.get(i) == seen[0]}
        due = {i: self._seen[i][1] if i in self._seen else _NEVER for i in listed if i not in self._turns}
        # Those that have not been looked at for longest: a slow receiver's, for which there is
        # no room, must not be the first ones each time.
        ripe = heapq.nsmallest(READS, (i for i in due if due[i] <= now), key=due.__getitem__)
        for record_id in ripe:
            when = self._one(record_id, now)
            if when is not None:
                self._seen[record_id] = (listed[record_id], when)

    def _one(self, record_id: str, now: datetime) -> datetime | None:
        """Take one record over; or when to look at it again, None: at the next look."""
        held = self._records.read(record_id)
        if held is None:
            return now + timedelta(seconds=RESULT_MOST)
        record = held.record
        if not record.left(now):
            return record.next_at + timedelta(seconds=LEFT)
        if self._caller.payload(record) is None:
            return self._without_result(record, now)
        if not self._turns.add(held):
            return now + timedelta(seconds=RESULT_EVERY)  # no room for this receiver's
        with self._lock:
            self._expected.pop(record_id, None)
        _log.info("callback.taken_over", id=record_id, host=addresses.host(record.url),
                  attempts=record.attempts)
        return None

    def _without_result(self, record: Record, now: datetime) -> datetime:
        over = record.abandoned(now)
        if over is not None:
            self._records.end(over)
            _log.warning("callback.abandoned", id=record.id, host=addresses.host(record.url))
        age = (now - record.created).total_seconds()
        return now + timedelta(seconds=min(RESULT_MOST, max(RESULT_EVERY, age / 5)))


def _failed(exc: errors.CloudError, failures: int) -> None:
    _log.warning("callback.look_failed", why=str(exc), failures=failures)


def _erred() -> None:
    _log.exception("callback.look_error")
