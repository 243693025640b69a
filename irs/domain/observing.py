"""What workers report. Pure: no clock, no AWS.

A worker rewrites one small object, its `Report`, every few seconds; `irs.domain.totals`
adds them up.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from irs.domain import latency
from irs.domain.latency import Counts

#: Seconds between a worker's reports while nothing changes.
EVERY = 10.0
#: Seconds after which a report says nothing about now: two were missed, and a slow write.
FRESH = 25.0
#: Seconds after its last report for which a worker that did not say goodbye is still looked for.
MISSED = 300.0


def folder(cluster: str) -> str:
    """Where the cluster's reports are, in the output bucket."""
    return f"fleet/{cluster}/"


def key(cluster: str, instance: str) -> str:
    """Where this worker's report is."""
    return f"{folder(cluster)}{instance}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one worker last said of itself."""

    instance: str
    #: when it said so
    at: datetime
    #: when its process began, and when it could first take work (None: not yet)
    started_at: datetime
    ready_at: datetime | None = None
    #: images finished since its process began
    done: int = 0
    #: images under way
    running: int = 0
    #: those of the finished ones that got no label
    failed: int = 0
    #: how long images had waited in the queue, and were in the engine: all since its process
    #: began, by the buckets of `irs.domain.latency`
    waits: Counts = ()
    infers: Counts = ()
    #: seconds an image takes this instance when it is busy; None: too few so far
    service_seconds: float | None = None
    #: seconds since its queue last answered a receive; None: nothing receives
    heard_ago: float | None = None
    #: takes no more work
    draining: bool = False
    #: has had no work for so long that it would rather end (IRS_IDLE_SHUTDOWN)
    wants_to_leave: bool = False
    #: where its metrics are to be had, host:port; None: nowhere
    metrics: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.at, self.started_at, self.ready_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("naive datetime: give it a time zone")

    def fresh(self, now: datetime) -> bool:
        """Whether it still says something about ``now``."""
        return now - self.at <= timedelta(seconds=FRESH)

    def scraped(self, now: datetime) -> bool:
        """Whether its metrics are to be asked for: it lives, or vanished and somebody should see it."""
        return self.metrics is not None and (
            self.fresh(now) or (not self.draining and now - self.at <= timedelta(seconds=MISSED)))

    def to_json(self) -> bytes:
        """One small object."""
        return json.dumps(asdict(self), default=stamp, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Report:
        """The opposite; raises `ValueError` for anything that is no report."""
        try:
            raw = json.loads(data)
            known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
            for name in ("at", "started_at", "ready_at"):
                known[name] = moment(known.get(name))
            for name in ("service_seconds", "heard_ago"):
                if known.get(name) is not None:
                    known[name] = float(known[name])
            found = cls(**known | {"done": int(known["done"]), "running": int(known["running"]),
                                   "failed": int(known.get("failed", 0)),
                                   "waits": latency.read(known.get("waits", [])),
                                   "infers": latency.read(known.get("infers", []))})
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"not a report: {exc!r}") from exc
        service = found.service_seconds
        if not isinstance(found.instance, str) or min(found.done, found.failed) < 0 or not (
                found.metrics is None or isinstance(found.metrics, str)) or (
                service is not None and not 0 < service < 86_400):
            raise ValueError("not a report: values out of range")
        return found


def stamp(value: datetime) -> str:
    """ISO 8601 in UTC; raises `TypeError` for anything else, as a JSON encoder wants."""
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return value.astimezone(UTC).isoformat()


def moment(text: Any) -> datetime | None:
    """The opposite of `stamp`; None for None; raises `ValueError` and `TypeError`."""
    return None if text is None else datetime.fromisoformat(text)
