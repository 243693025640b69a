"""What all channels of a process share: queues by name, senders, and the settler."""

from __future__ import annotations

import functools

from irs.aws.batching import Combiner
from irs.aws.queues import BATCH, MAX_BYTES, Queue
from irs.broker.settle import Settler
from irs.settings import Settings


@functools.lru_cache(maxsize=256)
def queue(settings: Settings, name: str) -> Queue:
    """One `Queue` a name, so that its URL is looked up once."""
    return Queue(settings, name)


@functools.lru_cache(maxsize=256)
def sender(target: Queue) -> Combiner[tuple[str, int]]:
    """Concurrent publishers to one queue share SendMessageBatch calls."""
    return Combiner(target.send_batch, max_items=BATCH, max_weight=MAX_BYTES)


@functools.cache
def settler() -> Settler:
    """The thread that deletes and releases deliveries; flushed when the process ends."""
    return Settler()
