"""Control queues and subscriptions of this process: kept alive, and dropped when it ends."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable

from irs import errors, log
from irs.aws import temporary, topics
from irs.aws.faults import translated
from irs.aws.queues import Queue
from irs.broker.names import control_prefix
from irs.settings import Settings

#: Seconds that a control message lives (SQS's least): nobody waits longer for a ping, and
#: what a monitor does not fetch because it is stopped does not pile up.
RETENTION = 60
#: Seconds that a received one stays hidden: it is not to be heard twice, deleted or not.
HIDDEN = 2 * RETENTION

_log = log.get("broker")


class Registry:
    """What this process must not leave behind. A crash leaves it to another's `sweep`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queues: dict[str, Queue] = {}
        self._subscriptions: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def create(self, queue: Queue) -> Queue:
        """Make ``queue`` and own it."""
        queue.create({"MessageRetentionPeriod": str(RETENTION), "VisibilityTimeout": str(HIDDEN)},
                     temporary.tags(self._settings))
        with self._lock:
            first = not self._queues
            self._queues[queue.name] = queue
        if first:
            threading.Thread(target=self._keep, name="broker-owned", daemon=True).start()
        return queue

    def drop(self, queue: Queue) -> None:
        """Drop ``queue`` now, if it is ours."""
        with self._lock:
            ours = self._queues.pop(queue.name, None)
        if ours is not None:
            ours.drop()

    def subscribed(self, arns: Iterable[str]) -> None:
        """Own these SNS subscriptions."""
        with self._lock:
            self._subscriptions.update(arns)

    def drop_all(self) -> None:
        """Drop everything; what cannot be dropped now is swept by another process later."""
        self._stopping.set()
        with self._lock:
            queues, self._queues = list(self._queues.values()), {}
            arns, self._subscriptions = self._subscriptions, set()
        drops = [functools.partial(self._unsubscribe, arn) for arn in arns]
        drops += [queue.drop for queue in queues]
        for drop in drops:
            try:
                drop()
            except errors.CloudError as exc:
                _log.info("broker.control_left", why=str(exc))
                if isinstance(exc, errors.Retryable):
                    return  # the others would wait as long and fail as well

    def _unsubscribe(self, arn: str) -> None:
        with translated("SNS unsubscribe"):
            topics.client(self._settings).unsubscribe(SubscriptionArn=arn)

    def _keep(self) -> None:
        """Renew our own marks, and sweep what others left if we are who sweeps."""
        while True:
            with self._lock:
                queues = list(self._queues.values())
            try:
                for queue in queues:
                    temporary.touch(self._settings, queue)
                self._sweep({queue.name for queue in queues})
            except errors.CloudError as exc:
                _log.info("broker.touch_failed", why=str(exc))
            if self._stopping.wait(temporary.TOUCH_EVERY):
                return

    def _sweep(self, own: set[str]) -> None:
        prefix = control_prefix(self._settings)
        if temporary.foremost(self._settings, prefix, own):
            temporary.sweep(self._settings, prefix)
            topics.sweep(self._settings, prefix)


@functools.lru_cache(maxsize=8)
def registry(settings: Settings) -> Registry:
    """This process's registry."""
    return Registry(settings)
