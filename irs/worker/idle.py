"""An idle worker ends its own instance, when the scaler can spare it (IRS_IDLE_SHUTDOWN).

It says in its report that it would rather end, and waits until the scaler's journal names
it among those that leave. Who decides is then one and the same for all instances, and an
instance that may leave is counted as gone from that moment on: nobody launches in its
stead, and no two that are idle at once go below the minimum. Where no scaler has written
for `ABSENT` seconds, every worker comes to the same answer by itself: the oldest
IRS_MIN_INSTANCES stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from irs import errors, log
from irs.aws.fleet import Instance
from irs.domain import journal
from irs.domain.journal import How, Journal
from irs.settings import Settings

#: Seconds without a sign of a scaler after which there is none: far longer than one takes
#: to be replaced.
ABSENT = 300.0

_log = log.get("worker")


class Objects(Protocol):
    """What it wants of `irs.aws.objects.Objects`."""

    def get_tagged(self, key: str) -> tuple[bytes, str]: ...


class Machines(Protocol):
    """What it wants of `irs.aws.fleet.Fleet`."""

    def describe(self) -> list[Instance]: ...


class Leaving:
    """May this instance end? Not thread-safe."""

    def __init__(self, settings: Settings, instance: str, *, objects: Objects, machines: Machines,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._instance = instance
        self._objects, self._machines = objects, machines
        self._clock = clock
        self._etag: str | None = None
        self._since = 0.0

    def verdict(self) -> How | None:
        """How to end; None: not, or not yet. Raises `errors.CloudError`."""
        found, etag = self._read()
        if etag != self._etag:
            self._etag, self._since = etag, self._clock()
        if self._clock() - self._since < ABSENT:
            leave = found.leaving.get(self._instance)
            return leave.how if leave else None
        active = sorted((i for i in self._machines.describe() if i.active),
                        key=lambda i: (i.launched_at, i.id))
        stay = {i.id for i in active[:self._settings.min_instances]}
        _log.info("worker.no_scaler", active=len(active), stays=self._instance in stay)
        return None if self._instance in stay else "terminate"

    def _read(self) -> tuple[Journal, str]:
        try:
            data, etag = self._objects.get_tagged(journal.key(self._settings.cluster))
            return Journal.from_json(data), etag
        except errors.NotFound:
            return Journal(), ""
        except ValueError as exc:
            _log.warning("worker.journal_unreadable", why=str(exc))
            return Journal(), ""
