"""What all channels of a process share: queues by name, senders, and the settler."""

from __future__ import annotations

import functools
from collections.abc import Callable

from irs.aws.batching import Combiner
from irs.aws.queues import BATCH, MAX_BYTES, Queue
from irs.broker.settle import Settler
from irs.settings import Settings

#: Seconds that a task waits for company in a crowd, which waits far longer for its results.
LINGER = 0.25
#: Seconds that a task waits behind sends that do not end, before its client is told so: with its
#: own send after that (`irs.aws.queues.SEND_TIMEOUT`) less than the shortest wait that is of use.
PATIENCE = 8.0
#: Seconds that such a send takes at most, with its tries and their pauses.
LONGEST = 15.0
#: So many clients that wait for results are a crowd: several batches of the engine's.
CROWD = 30


@functools.lru_cache(maxsize=256)
def queue(settings: Settings, name: str) -> Queue:
    """One `Queue` a name, so that its URL is looked up once."""
    return Queue(settings, name)


@functools.lru_cache(maxsize=256)
def sender(target: Queue) -> Combiner[tuple[str, int]]:
    """Concurrent publishers to one queue share SendMessageBatch calls."""
    return Combiner(target.send_batch, max_items=BATCH, max_weight=MAX_BYTES,
                    linger=LINGER, patience=PATIENCE, longest=LONGEST,
                    crowded=lambda: _waiting() >= CROWD)


@functools.cache
def settler() -> Settler:
    """The thread that deletes and releases deliveries; flushed when the process ends."""
    return Settler()


def _nobody() -> int:
    return 0


_waiting: Callable[[], int] = _nobody


def watch(waiting: Callable[[], int]) -> None:
    """``waiting()`` is how many clients of this process wait for results."""
    global _waiting  # noqa: PLW0603 - one crowd a process, as there is one sender a queue
    _waiting = waiting
