"""The service's last days, minute by minute: points, the hours' objects that keep them. Pure.

The scaler that acts writes (`irs.scaler.chronicler`), the web tier reads
(docs/decisions/0021-history.md). One object an hour is rewritten once a minute; whoever comes
after the writer goes on with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from irs.domain.observing import moment, stamp

#: Seconds of a point.
STEP = 60
#: For how long an hour is kept: today and yesterday, wherever on earth that is looked at.
KEPT = timedelta(hours=49)
#: Decisions that an hour keeps: the last ones.
DECISIONS = 100
#: Fields of a point that are of its whole minute and add up; and those that are means.
COUNTS = ("images", "failed", "launched", "ended", "instance_seconds")
MEANS = ("visible", "in_flight", "booting", "idle", "busy", "draining", "stopped")
#: Percentiles, which cannot be put together.
LATENCIES = ("wait_p50", "wait_p95", "infer_p50", "infer_p95")


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One minute. Counts are of the minute, ``MEANS`` the mean of its looks."""

    #: its beginning
    at: datetime
    #: the lease under which it was written
    epoch: int = 0
    #: looks that it is made of
    looks: int = 1
    visible: float = 0
    in_flight: float = 0
    #: the most that was seen; None: nobody could tell
    oldest_seconds: float | None = None
    #: at its end; None: not known
    dead: int | None = None
    booting: float = 0
    idle: float = 0
    busy: float = 0
    draining: float = 0
    stopped: float = 0
    #: finished, those without a label among them
    images: int = 0
    failed: int = 0
    wait_p50: float | None = None
    wait_p95: float | None = None
    infer_p50: float | None = None
    infer_p95: float | None = None
    launched: int = 0
    ended: int = 0
    #: seconds of running instances, which is what EC2 bills
    instance_seconds: float = 0

    def together(self, other: Point) -> Point:
        """The same minute as ``other``'s, which another scaler began: both."""
        looks = self.looks + other.looks
        means = {name: (getattr(self, name) * self.looks + getattr(other, name) * other.looks) / looks
                 for name in MEANS}
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        busier = self if self.images >= other.images else other
        ages = [p.oldest_seconds for p in (self, other) if p.oldest_seconds is not None]
        return replace(self, looks=looks, **means, **counts,
                       **{name: getattr(busier, name) for name in LATENCIES},
                       oldest_seconds=max(ages, default=None),
                       dead=other.dead if self.dead is None else self.dead)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the scaler did, or what it came to anew."""

    at: datetime
    #: for people: ``queue 140, need 5, have 2: launching 3``
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Hour:
    """One object."""

    #: its first minute's beginning
    start: datetime
    points: Mapping[datetime, Point] = field(default_factory=dict)
    #: the oldest first
    decisions: tuple[Decision, ...] = ()

    def with_point(self, point: Point) -> Hour:
        """The hour with one more minute; both, where the same was there: of another scaler, or of
        a clock that was set back."""
        there = self.points.get(point.at)
        if there is not None:
            point = point.together(there)
        return replace(self, points={**self.points, point.at: point})

    def with_decisions(self, more: Iterable[Decision]) -> Hour:
        """The hour with these as well; one that is there is not there twice."""
        every = {(d.at, d.text): d for d in (*self.decisions, *more)}
        return replace(self, decisions=tuple(sorted(every.values(), key=lambda d: d.at)[-DECISIONS:]))

    def over(self, stored: Hour) -> Hour:
        """This hour and what is stored of it: by another scaler, or by this one before."""
        points = dict(stored.points)
        for at, mine in self.points.items():
            theirs = points.get(at)
            if theirs is not None and theirs.epoch == mine.epoch:
                points[at] = max(mine, theirs, key=lambda point: point.looks)
            else:
                points[at] = mine if theirs is None else mine.together(theirs)
        return replace(self, points=points).with_decisions(stored.decisions)

    def to_json(self) -> bytes:
        """The object's bytes."""
        rows = [list(as_json(point).values()) for _, point in sorted(self.points.items())]
        return json.dumps({"start": self.start, "fields": [f.name for f in fields(Point)], "points": rows,
                           "decisions": [asdict(decision) for decision in self.decisions]},
                          default=stamp, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Hour:
        """The opposite; raises `ValueError` for anything that is no hour."""
        try:
            raw = json.loads(data)
            points = [point(dict(zip(raw["fields"], row, strict=True))) for row in raw["points"]]
            return cls(start=_aware(raw["start"]), points={each.at: each for each in points},
                       decisions=tuple(map(decision, raw["decisions"])))
        except (TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise ValueError(f"not an hour of the history: {exc!r}") from exc


def floor(at: datetime, seconds: int = STEP) -> datetime:
    """The beginning of the step that ``at`` is in."""
    whole = math.floor(at.timestamp())
    return datetime.fromtimestamp(whole - whole % seconds, UTC)


def hour_of(at: datetime) -> datetime:
    """The beginning of its hour."""
    return floor(at, 3600)


def folder(cluster: str) -> str:
    """Where the hours are, in the output bucket."""
    return f"scaler/{cluster}/history/"


def key(cluster: str, at: datetime) -> str:
    """Where the hour of ``at`` is; keys are in the order of time."""
    return f"{folder(cluster)}{at.astimezone(UTC):%Y-%m-%dT%H}.json"


def hour_in(name: str) -> datetime | None:
    """The hour that a key is of; None for a key of something else."""
    try:
        return datetime.strptime(name.rpartition("/")[2], "%Y-%m-%dT%H.json").replace(tzinfo=UTC)
    except ValueError:
        return None


def sentence(*, visible: int, have: int, more: int, verdict: str) -> str:
    """A decision in words; ``more`` instances are wanted beside the ``have``, or fewer."""
    return f"queue {visible}, need {max(0, have + more)}, have {have}: {verdict}"


def decision(raw: Mapping[str, Any]) -> Decision:
    """A decision out of JSON; raises `ValueError`, `TypeError` or `KeyError`."""
    return Decision(at=_aware(raw["at"]), text=str(raw["text"]))


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def as_json(point: Point) -> dict[str, Any]:
    """JSON-ready, in the order of the fields."""
    return {f.name: stamp(value) if isinstance(value := getattr(point, f.name), datetime) else _short(value)
            for f in fields(Point)}


def point(raw: Mapping[str, Any]) -> Point:
    """A point out of JSON; raises `ValueError` and `KeyError`."""
    known = {f.name: raw[f.name] for f in fields(Point) if f.name in raw}
    at = _aware(known.pop("at"))
    for name, value in known.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        absent = value is None and name in ("oldest_seconds", "dead", *LATENCIES)
        if not absent and not (number and 0 <= value < math.inf):
            raise ValueError(f"not an hour of the history: {name} is {value!r}")
    return Point(at=at, **known)


def _aware(text: Any) -> datetime:
    found = moment(text)
    if found is None or found.tzinfo is None:
        raise ValueError("not an hour of the history: a moment without a time zone")
    return found
