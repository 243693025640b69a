"""Dead letters: messages that every receive was spent on, and the jobs in them."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from irs import errors, log
from irs.aws.queues import BATCH, Depth, Message
from irs.broker import envelope
from irs.domain.jobs import Job
from irs.domain.tasks import CLASSIFY

#: Seconds for which a letter that is looked at is hidden from others that look: for the
#: first ones, and for so many more one second each.
HOLD, PER_SECOND = 30, 50
#: Letters that one search for the newest goes through, some 4 kB each while it lasts.
LOOKED = 2_000

_log = log.get("audit")


class DeadLetters(Protocol):
    """The dead-letter queue: `irs.aws.queues.Queue`, as far as it is looked at."""

    name: str

    def depth(self) -> Depth: ...
    def receive(self, count: int = ..., *, wait: int | None = ...,
                visibility: int | None = ...) -> list[Message]: ...
    def set_visibility_batch(
        self, entries: Sequence[tuple[str, int]]) -> list[errors.CloudError | None]: ...
    def delete_batch(self, receipts: Sequence[str]) -> list[errors.CloudError | None]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One dead letter."""

    message: Message
    #: None: no task of ours can be read from it
    job: Job | None
    #: whom its sender wanted told
    reply_to: object = None


def read(message: Message) -> Letter:
    """The letter that a message is."""
    try:
        task = envelope.task(message.body)
        job = Job.from_message(*task.args, **task.kwargs) if task.name == CLASSIFY else None
    except (ValueError, TypeError) as exc:
        _log.debug("audit.foreign_letter", message=message.id, why=str(exc)[:200])
        return Letter(message=message, job=None)
    return Letter(message=message, job=job, reply_to=task.reply_to)


def peek(queue: DeadLetters, letters: int) -> Iterator[Letter]:
    """Each letter that is visible, once; all of them are visible again when this ends.

    ``letters`` is about how many there are, from which follows how long each stays hidden.
    Holds the ids and receipts of those seen so far, some 600 bytes a letter. A letter
    deleted meanwhile by the caller is no matter.
    """
    hold = HOLD + letters // PER_SECOND
    held: dict[str, str] = {}
    # A caller that is slower than foreseen meets letters again, for which there is an end.
    repeats = 3 + letters // BATCH
    try:
        while True:
            # A poll of 0 s would ask a part of SQS's servers only.
            found = queue.receive(BATCH, wait=1, visibility=hold)
            new = [message for message in found if message.id not in held]
            held.update((message.id, message.receipt) for message in found)
            repeats -= not new
            if not found or repeats < 0:
                return
            yield from map(read, new)
    finally:
        _release(queue, list(held.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a look at the dead letters found."""

    #: newest first
    letters: tuple[Letter, ...] = ()
    #: how many there are, about
    there: int = 0
    #: whether there may be newer ones that were not looked at
    partial: bool = False


def newest(queue: DeadLetters, most: int, *, looked: int = LOOKED) -> Look:
    """The newest ``most`` letters, by when their messages were sent first.

    SQS has no order: every letter is looked at, up to ``looked`` of them. Raises
    `errors.CloudError`; a queue that does not exist holds none.
    """
    try:
        there = queue.depth().there
    except errors.NotFound:
        return Look()
    with contextlib.closing(peek(queue, min(there, looked))) as found:
        met = list(itertools.islice(found, looked))
    return Look(letters=tuple(heapq.nlargest(most, met, key=lambda letter: letter.message.sent_ms)),
                there=max(there, len(met)), partial=len(met) == looked)


def _release(queue: DeadLetters, receipts: list[str]) -> None:
    for start in range(0, len(receipts), BATCH):
        try:
            queue.set_visibility_batch([(receipt, 0) for receipt in receipts[start:start + BATCH]])
        except errors.CloudError as exc:
            # They become visible by themselves.
            _log.info("audit.letters_held", queue=queue.name, why=str(exc))
            return
