"""Queues that belong to one process: made at its start, dropped at its end, swept after a crash.

SQS has no owner and no expiry for a queue, so each carries the time when its owner was
last seen as a tag, renewed by `touch`, and any process may `sweep` those not seen for long.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from irs import errors, log
from irs.aws import sqs
from irs.aws.queues import Queue
from irs.settings import Settings

SEEN_TAG = "irs:seen"
#: Seconds between two renewals of the tag: an owner makes 144 such calls a day.
TOUCH_EVERY = 600
#: Seconds without one after which the owner is gone: five renewals missed, and an hour of
#: disagreeing clocks at most.
GONE_AFTER = 3_600
#: Queues in one answer, SQS's most. Of a next page it tells only who names the size of one.
PAGE = 1_000

_log = log.get("queues")


def tags(settings: Settings) -> dict[str, str]:
    """The tags of a temporary queue made now."""
    return {"irs:cluster": settings.cluster, SEEN_TAG: str(int(time.time()))}


def create(settings: Settings, name: str, attributes: Mapping[str, str]) -> Queue:
    """A queue of one process."""
    queue = Queue(settings, name)
    queue.create(attributes, tags(settings))
    return queue


def touch(settings: Settings, queue: Queue) -> None:
    """Say that the owner lives."""
    sqs.client(settings).call(f"SQS tag of {queue.name}", "TagQueue",
                              QueueUrl=queue.url, Tags=tags(settings))


def urls(settings: Settings, prefix: str) -> list[str]:
    """The URLs of all queues whose names begin with ``prefix``."""
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = sqs.client(settings).call(f"SQS list of {prefix}*", "ListQueues",
                                         QueueNamePrefix=prefix, MaxResults=PAGE, **more)
        found += page.get("QueueUrls", ())
        if not page.get("NextToken"):
            return found
        more = {"NextToken": page["NextToken"]}


def sweep(settings: Settings, prefix: str) -> list[str]:
    """Drop the temporary queues below ``prefix`` whose owner is gone; returns their names."""
    dropped = []
    for url in urls(settings, prefix):
        name = url.rsplit("/", 1)[-1]
        if _left(settings, url, name):
            Queue(settings, name, url=url).drop()
            dropped.append(name)
    if dropped:
        _log.info("queues.swept", names=dropped)
    return dropped


def foremost(settings: Settings, prefix: str, own: Collection[str]) -> bool:
    """Whether no other process's queue below ``prefix`` comes before all of ``own``, by name.

    Of many processes the foremost sweeps: if each did, a fleet of n would ask n times for the
    tags of n queues. Queues whose owner is gone do not count.
    """
    for url in sorted(urls(settings, prefix)):
        name = url.rsplit("/", 1)[-1]
        if name in own:
            return True
        if not _left(settings, url, name):
            return False
    return True


def _left(settings: Settings, url: str, name: str) -> bool:
    """Whether its owner has not been seen for long; not where it has no mark, or is gone itself."""
    try:
        found = sqs.client(settings).call(
            f"SQS tags of {name}", "ListQueueTags", QueueUrl=url).get("Tags", {})
    except errors.NotFound:
        return False
    seen = found.get(SEEN_TAG, "")
    return seen.isdigit() and time.time() - int(seen) > GONE_AFTER
