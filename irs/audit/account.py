"""in = out: every stored upload has a result, is queued, or is found missing.

Both buckets are listed in the order of their keys, which begin with the job's id, and are
walked side by side; so what is held is the ids that need a second look, and never the
listing itself. Every result object is read, because one that is none counts as absent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from irs.audit import letters, listing, uploads
from irs.audit.balance import Account
from irs.audit.letters import DeadLetters
from irs.audit.listing import Listed
from irs.audit.sending import Send, celery_sender
from irs.audit.sweep import Results, Sweep
from irs.audit.uploads import Inputs
from irs.aws.objects import Objects
from irs.aws.queues import Depth, Queue
from irs.bulk.store import Batches
from irs.domain import bulk
from irs.domain.bulk import Batch
from irs.domain.jobs import Result, Status
from irs.domain.requeue import APART
from irs.results.announce import Announcer
from irs.results.store import ResultStore
from irs.settings import Settings

#: Seconds that an upload may take to get its message: it is stored first.
YOUNG = 10.0
#: Results read at once, and reads that may be under way or wait.
READERS, WINDOW = 16, 256


class Running(Protocol):
    """The batches: `irs.bulk.store.Batches`, as far as they are looked at."""

    def running(self) -> Iterator[tuple[str, datetime]]: ...
    def read(self, batch_id: str) -> Batch | None: ...


class Counted(Protocol):
    """The input queue, as far as it is counted."""

    def depth(self) -> Depth: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Where the account is taken from."""

    inputs: Inputs
    outputs: Listed
    results: Results
    work: Counted
    dead: DeadLetters
    send: Callable[[], Send]
    announce: Callable[[Result, object], None]
    receives: int
    batches: Running
    #: images that a batch may have
    most: int

    @classmethod
    def of(cls, settings: Settings) -> Books:
        """The deployment's own."""
        return cls(
            inputs=Objects(settings, settings.input_bucket),
            outputs=Objects(settings, settings.output_bucket), results=ResultStore(settings),
            work=Queue(settings, settings.input_queue), dead=Queue(settings, settings.dead_letter_queue),
            send=celery_sender, announce=Announcer(settings).announce,
            receives=settings.max_receive_count, most=settings.max_batch_images,
            batches=Batches(Objects(settings, settings.output_bucket), settings.cluster))


def audit(books: Books, *, since: datetime | None = None, now: datetime | None = None,
          wait: Callable[[float], None] = time.sleep) -> Account:
    """The account of what was uploaded from ``since`` on; raises `errors.CloudError`.

    ``wait`` passes the seconds between two looks at a queue that seems empty.
    """
    found = Account()
    born = (now or datetime.now(UTC)) - timedelta(seconds=YOUNG)
    with ThreadPoolExecutor(READERS, thread_name_prefix="audit") as pool:
        _walk(books, found, since, born, pool)
        batched = _batched(books, found)
        dead = _dead(books, found)
        _count(books, found, wait)
        # What was finished since it was listed has its result now.
        open_, found.missing = [i for i in found.missing if i not in dead], []
        for job_id, result in _read(books.results, open_, pool):
            if result is None and job_id in batched:
                found.batched += 1
            else:
                _tally(found, result, job_id)
        alone, found.orphans = [i for i in found.orphans if uploads.find(books.inputs, i) is None], []
        for job_id, result in _read(books.results, alone, pool):
            _orphan(found, result, job_id)
    return found


def _walk(books: Books, found: Account, since: datetime | None, born: datetime,
          pool: ThreadPoolExecutor) -> None:
    """Both listings, side by side; in ``found.missing`` is what has no result now."""
    def foreign() -> None:
        found.foreign_objects += 1

    def with_result() -> Iterator[str]:
        for job_id, upload, result in listing.merged(
                listing.uploads(books.inputs, foreign), listing.results(books.outputs, foreign)):
            if upload is None:
                if result is not None and (since is None or result >= since):
                    found.orphans.append(job_id)
            elif since is None or upload >= since:
                found.uploads += 1
                if result is not None:
                    yield job_id
                elif upload > born:
                    found.young += 1
                else:
                    found.missing.append(job_id)

    for job_id, result in _read(books.results, with_result(), pool):
        if result is None:
            found.invalid.append(job_id)
        _tally(found, result, job_id)


def _tally(found: Account, result: Result | None, job_id: str) -> None:
    if result is None:
        found.missing.append(job_id)
    elif result.status is Status.DONE:
        found.done += 1
    elif result.status is Status.FAILED:
        found.failed += 1
    else:
        found.cancelled += 1


def _batched(books: Books, found: Account) -> set[str]:
    """Those of the missing that belong to a batch that runs, or is being made.

    Asked for before the results are looked at again: what ends meanwhile has them.
    """
    missing, batched = set(found.missing), set[str]()
    for batch_id, _ in books.batches.running() if missing else ():
        batch = books.batches.read(batch_id)
        # Of one that is being made, or is gone, nobody knows how many there are.
        total = books.most if batch is None else batch.total
        batched |= missing & {bulk.member_id(batch_id, number) for number in range(total)}
    return batched


def _orphan(found: Account, result: Result | None, job_id: str) -> None:
    """A result without an upload, which is as it should be where the job was cancelled."""
    if result is not None and result.status is Status.CANCELLED:
        found.uploads += 1
        found.cancelled += 1
    else:
        found.orphans.append(job_id)


def _dead(books: Books, found: Account) -> set[str]:
    """The ids of dead letters without a result."""
    unnamed: set[str] = set()
    for letter in letters.peek(books.dead, books.dead.depth().there):
        found.letters += 1
        if letter.job is None:
            found.foreign_letters += 1
        elif books.results.read(letter.job.id) is None:
            unnamed.add(letter.job.id)
    found.unnamed = sorted(unnamed)
    return unnamed


def _count(books: Books, found: Account, wait: Callable[[float], None]) -> None:
    for look in (1, 2):
        depth = books.work.depth()
        found.visible, found.in_flight = depth.visible + depth.delayed, depth.in_flight
        if found.visible + found.in_flight >= len(found.missing):
            return
        if look == 1:  # the counts are late
            wait(APART)


def repair(books: Books, found: Account) -> int:
    """Send what is lost again, name dead letters; returns how many jobs that made whole."""
    repaired = 0
    if found.lost:
        send = books.send()
        for job_id in found.missing:
            job = uploads.find(books.inputs, job_id)
            if job is not None:
                send(job, reply_to="")
                repaired += 1
    if found.unnamed:
        sweep = Sweep(books.dead, books.results, books.announce, receives=books.receives)
        repaired += sweep.sweep(found.letters).named
    return repaired


def _read(results: Results, ids: Iterable[str],
          pool: ThreadPoolExecutor) -> Iterator[tuple[str, Result | None]]:
    """Each id's result, several read at once, no more than `WINDOW` ahead."""
    ahead: deque[tuple[str, Future[Result | None]]] = deque()
    for job_id in ids:
        ahead.append((job_id, pool.submit(results.read, job_id)))
        if len(ahead) >= WINDOW:
            first, answer = ahead.popleft()
            yield first, answer.result()
    while ahead:
        first, answer = ahead.popleft()
        yield first, answer.result()
