"""A fault of the cloud is waited out with the job in hand; a receive is not spent on it.

A message may be received five times. If each fault that passes cost one of them, an S3 that
is away for a minute would send every job that is under way to the dead letters, and workers
would draw the whole backlog after them. So the job's thread waits and tries again; its
message stays invisible, as it does for any long job; and with all its threads waiting a
worker takes no more from the queue.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from irs import log

T = TypeVar("T")

#: Seconds for which one receive outlasts a fault, below the 900 s for which one delivery is
#: kept invisible: five of them, and their pauses, make 50 minutes.
LONGEST = 600.0
#: Seconds between tries: first and most. A worker is at work again this long after the
#: fault's end.
BACKOFF = (0.5, 10.0)

_log = log.get("worker")

#: Set when the worker drains: what waits is handed back at once, for another worker.
hurry = threading.Event()


class Postponed(Exception):
    """The job has no result yet and its message must come back.

    ``passing``: for a fault of the cloud, which may be over in a moment.
    """

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


def outlast(job_id: str, work: Callable[[], T], *,
            wait: Callable[[float], bool] | None = None) -> T:
    """What ``work`` returns, tried again while a fault of the cloud lasts.

    ``wait`` pauses for so many seconds and says whether to give up at once. Raises
    `Postponed` as ``work`` does: at once where it is not passing, else after `LONGEST`
    seconds of pauses or when the worker drains.
    """
    wait = wait or hurry.wait
    waited, pause = 0.0, BACKOFF[0]
    while True:
        try:
            return work()
        except Postponed as exc:
            if not exc.passing or waited >= LONGEST:
                raise
            seconds = random.uniform(pause / 2, pause)  # noqa: S311 - jitter
            _log.info("job.waits", id=job_id, seconds=round(seconds, 2), waited=round(waited, 1))
            if wait(seconds):
                raise
        waited += seconds
        pause = min(BACKOFF[1], pause * 2)
