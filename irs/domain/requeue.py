"""Which jobs have fallen out of the queue, as far as its approximate counts can tell.

Sending a job again that was not lost costs an image's work and nothing else, because a
result is written once. So the rules may be wrong now and then, and must only not be wrong
often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Seconds between two looks that both find the queue empty, at least.
APART = 5.0
#: A job is overtaken when others, sent this many times ``after`` seconds later, are done: a
#: message that is received five times and dropped each time takes less.
OVERTAKEN = 10
#: Each time a job is sent again it gets twice as long as before, up to so many times ``after``.
LONGEST = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """One job without a result. Seconds are those of any one clock."""

    id: str
    #: when its message was sent, or the job was first heard of
    sent: float
    #: how often it was sent again
    again: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the looks at the queue so far add up to."""

    #: since when every look found nothing in it; None: the last one did not
    empty_since: float | None = None


def seen(before: Seen, now: float, messages: int | None) -> Seen:
    """After a look that found so many messages: visible, in flight and delayed together.

    None: the queue could not be asked, which says nothing. A queue that does not exist
    holds no messages.
    """
    if messages != 0:
        return Seen()
    return before if before.empty_since is not None else Seen(empty_since=now)


def ripe(job: Open, now: float, after: float) -> bool:
    """Whether the job has been out long enough to be looked after."""
    return now - job.sent >= after * min(LONGEST, 2**job.again)


def lost(jobs: Iterable[Open], *, now: float, queue: Seen, after: float,
         newest_done: float | None) -> list[str]:
    """The ids to send again.

    ``newest_done`` is the latest ``sent`` of all jobs that have a result, None if there is
    none. A job is lost when it is ripe and the queue, to which it was sent before, has been
    empty for `APART` seconds; or when jobs that were sent much later are done.
    """
    empty = queue.empty_since if (
        queue.empty_since is not None and now - queue.empty_since >= APART) else None
    found = []
    for job in jobs:
        if not ripe(job, now, after):
            continue
        drained = empty is not None and job.sent < empty
        overtaken = newest_done is not None and newest_done - job.sent >= OVERTAKEN * after
        if drained or overtaken:
            found.append(job.id)
    return found
