"""Announcing a result: on the named output queue, and to the web process that waits.

The named output queue is public: one message a result, the result's JSON with its first
prediction. A web process is told on a private queue of its own, named in the task's
``reply_to``, because a shared queue has one logical consumer and several web processes
would take each other's announcements. See docs/decisions/0002-announcements.md.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from irs import errors, log
from irs.aws.batching import Combiner
from irs.aws.queues import BATCH, MAX_BYTES, Queue
from irs.domain.jobs import Result
from irs.settings import Settings

#: Web processes whose queues are remembered; one more costs a GetQueueUrl.
KNOWN = 256
#: Results in one private message, far below its size limit.
PACKED = 64

#: What may follow the prefix in the name of a reply queue.
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,16}")

_log = log.get("results")


def reply_prefix(settings: Settings) -> str:
    """What the name of every private reply queue of this deployment begins with."""
    return f"{settings.output_queue}-web-"


class Announcer:
    """Concurrent `announce` calls share their SQS calls. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._public = self._batched(Queue(settings, settings.output_queue))
        self._private: OrderedDict[str, Combiner[str]] = OrderedDict()
        self._lock = threading.Lock()

    def announce(self, result: Result, reply_to: object) -> None:
        """Tell the waiting web process, then everybody.

        A lost announcement costs its reader a look at S3, so a failure is logged and not
        raised. ``reply_to`` comes from a message: anything but the name of a private
        reply queue is ignored.
        """
        if self._is_ours(reply_to):
            # Whole: it spares the web process a GET for each JSON answer.
            self._submit(self._reply_queue(reply_to), _ascii(result.as_dict()), result.id, reply_to)
        self._submit(self._public, _ascii(result.announcement()), result.id,
                     self._settings.output_queue)

    def _is_ours(self, reply_to: object) -> TypeGuard[str]:
        prefix = reply_prefix(self._settings)
        return (isinstance(reply_to, str) and reply_to.startswith(prefix)
                and _SUFFIX.fullmatch(reply_to, len(prefix)) is not None)

    def _submit(self, to: Combiner[str], body: str, job_id: str, queue: str) -> None:
        try:
            to.submit(body, len(body.encode()) + 1)
        except errors.CloudError as exc:
            _log.warning("announce.lost", id=job_id, queue=queue, why=str(exc))

    def _reply_queue(self, name: str) -> Combiner[str]:
        with self._lock:
            known = self._private.pop(name, None) or self._packed(Queue(self._settings, name))
            self._private[name] = known
            if len(self._private) > KNOWN:
                self._private.popitem(last=False)
        return known

    @staticmethod
    def _batched(queue: Queue) -> Combiner[str]:
        return Combiner(lambda bodies: queue.send_batch([(b, 0) for b in bodies]),
                        max_items=BATCH, max_weight=MAX_BYTES)

    @staticmethod
    def _packed(queue: Queue) -> Combiner[str]:
        def flush(bodies: Sequence[str]) -> list[None]:
            queue.send(f"[{','.join(bodies)}]")
            return [None] * len(bodies)

        return Combiner(flush, max_items=PACKED, max_weight=MAX_BYTES // 2)


def _ascii(data: Mapping[str, Any]) -> str:
    # SQS refuses a whole batch for one character that XML does not have (U+FFFF in a file's
    # name, say), and the batch's other results are other people's.
    return json.dumps(data, separators=(",", ":"))
