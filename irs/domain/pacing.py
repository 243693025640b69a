"""How many messages of batches may be outstanding, and what is told of the rest. Pure.

Whatever else is sent stands behind them in the queue: so no more of them than keep the fleet
at work until the next ones come.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from irs.domain.observing import folder, moment, stamp

#: Seconds of the fleet's work that may be outstanding: what an upload waits behind a batch.
SECONDS = 1.5
#: Full batches of the engine that each instance may hold: one is computed while the next is
#: fetched and decoded. More would wait in its memory, fewer would leave it idle at times.
ENGINES = 2
#: Messages: the most, however fast the fleet.
MOST = 2_000
#: Seconds of past results that make the rate, and the instances that are there.
SPAN, SEEN = 10.0, 60.0
#: Seconds after which what was told of a batch says nothing about now: another process has
#: had time to take it over.
FRESH = 45.0


def window(rate: float, instances: int, max_batch: int) -> int:
    """Messages that may be outstanding at ``rate`` results a second from so many instances.

    One full batch is on its way, in which an instance that has just come finds work.
    """
    least = max_batch * (ENGINES * max(instances, 1) + 1)
    return min(MOST, max(least, math.ceil(rate * SECONDS)))


class Pace:
    """Results of late. Not thread-safe; seconds are those of any one clock."""

    def __init__(self) -> None:
        self._results: deque[float] = deque()
        self._instances: dict[str, float] = {}
        self._began: float | None = None

    def began(self, now: float) -> None:
        """Something is sent and nothing was outstanding: a pause before it says nothing of the pace."""
        if not self.rate(now):
            self._began = now

    def result(self, now: float, instance: str) -> None:
        """One more, from ``instance``."""
        self._results.append(now)
        if instance:
            self._instances[instance] = now

    def rate(self, now: float) -> float:
        """Results a second."""
        while self._results and self._results[0] < now - SPAN:
            self._results.popleft()
        since = now - SPAN if self._began is None else max(self._began, now - SPAN)
        return len(self._results) / max(1.0, now - since)

    def instances(self, now: float) -> int:
        """Instances that were heard of."""
        self._instances = {name: at for name, at in self._instances.items() if at >= now - SEEN}
        return len(self._instances)


def backlog_folder(cluster: str) -> str:
    """Where running batches are told of: among the fleet's reports, which the scaler lists anyway."""
    return f"{folder(cluster)}batches/"


def backlog_key(cluster: str, batch_id: str) -> str:
    """Where this batch is told of, from its beginning to its end."""
    return f"{backlog_folder(cluster)}{batch_id}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What the feeder of a batch last said of it."""

    at: datetime
    #: members that are not on the queue yet
    unsent: int = 0
    #: results a second
    rate: float = 0.0

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("naive datetime: give it a time zone")

    def fresh(self, now: datetime) -> bool:
        """Whether it still says something about ``now``."""
        return now - self.at <= timedelta(seconds=FRESH)

    def to_json(self) -> bytes:
        """One small object."""
        return json.dumps({"at": stamp(self.at), "unsent": self.unsent, "rate": round(self.rate, 3)},
                          separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Backlog:
        """The opposite; raises `ValueError` for anything else."""
        try:
            raw = json.loads(data)
            at = moment(raw["at"])
            if at is None:
                raise ValueError("not a backlog: no moment")
            found = cls(at=at, unsent=int(raw["unsent"]), rate=float(raw["rate"]))
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"not a backlog: {exc!r}") from exc
        if found.unsent < 0 or not 0 <= found.rate < math.inf:
            raise ValueError("not a backlog: values out of range")
        return found


def waiting(told: Iterable[Backlog], now: datetime) -> int:
    """Images that will come to the queue as fast as it drains."""
    return sum(backlog.unsent for backlog in told if backlog.fresh(now))
