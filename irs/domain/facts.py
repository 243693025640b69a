"""How the service stands, from the scaler's looks: the minute under way, today, five minutes. Pure.

The scaler folds each of its looks into a `Facts`; `told` is what it writes into its journal for
the web tier, and what a successor goes on from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from irs.domain import chronicle, counting, latency
from irs.domain.chronicle import Decision, Point, decision
from irs.domain.counting import Arrivals, Counted, Gain
from irs.domain.observing import Report, moment
from irs.domain.states import STATES, Doing

#: Over how long ``latency`` is.
WINDOW = timedelta(minutes=5)
#: A pause in the looks after which what happened meanwhile belongs to today, and to no minute.
PAUSE = timedelta(minutes=2)
#: The last decisions that are told at once, beside those that the hours keep.
RECENT = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What the scaler saw in one round."""

    now: datetime
    #: the queue's own counts
    visible: int
    in_flight: int
    delayed: int
    #: messages that have left the queue since any fixed moment
    left: int
    #: every worker's latest report
    reports: Sequence[Report] = ()
    doings: Sequence[Doing] = ()
    #: since when each instance that EC2 bills has been billed, by its id
    billed: Mapping[str, datetime] = field(default_factory=dict)
    #: ids of those that work or boot
    active: frozenset[str] = frozenset()
    #: dead letters; None: not asked, or not known
    dead: int | None = None


@dataclass(kw_only=True, slots=True)
class Today:
    """Sums of a UTC day."""

    day: str = ""
    instance_seconds: float = 0.0
    images: int = 0
    failed: int = 0


class Facts:
    """Not thread-safe. ``before``: what another scaler told last, or nothing."""

    def __init__(self, before: Mapping[str, Any], *, epoch: int, active: Iterable[str] = (),
                 step: int = chronicle.STEP) -> None:
        """``active``: ids of the instances that worked or booted then. Raises `ValueError`."""
        self._epoch, self._step = epoch, step
        self._active = frozenset(active)
        self._known: dict[str, Counted] = {}
        #: when counting began, and when the last look was
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._today = Today()
        self._decisions: deque[Decision] = deque(maxlen=RECENT)
        self._recent: deque[tuple[datetime, Gain]] = deque()
        self._oldest: datetime | None = None
        self._doings: Sequence[Doing] = ()
        self._dead: int | None = None
        #: until when each instance has been counted
        self._paid: dict[str, datetime] = {}
        #: the minute that another scaler began; None: none
        self.left: Point | None = None
        #: the minute under way; None: it has no look so far
        self._point: Point | None = None
        self._minute = Gain()
        if before:
            self._go_on(before)
        self._arrivals = Arrivals(self._oldest)

    def _go_on(self, told: Mapping[str, Any]) -> None:
        try:
            self._since, self._until = moment(told["since"]), moment(told["until"])
            self._oldest = moment(told["oldest_at"])
            self._known = counting.from_json(told["workers"])
            self._dead = None if told["dead"] is None else int(told["dead"])
            today = told["today"]
            self._today = Today(day=str(today["day"]), instance_seconds=float(today["instance_seconds"]),
                                images=int(today["images"]), failed=int(today["failed"]))
            self._decisions.extend(decision(d) for d in reversed(told["decisions"]))
            self.left = None if told.get("minute") is None else chronicle.point(told["minute"])
            if self._since is None or self._until is None or None in (
                    self._since.tzinfo, self._until.tzinfo):
                raise ValueError("a moment without a time zone")
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"not a scaler's facts: {exc!r}") from exc

    def look(self, seen: Look) -> Point | None:
        """Take a look in; the minute before, where this look is the first of another one."""
        now = seen.now
        paused = self._until is not None and now - self._until > PAUSE
        if paused:
            self._arrivals = Arrivals()
        self._since = self._since or now
        last = min(self._until or now, now)
        ended = self.close() if self._point and chronicle.floor(now, self._step) != self._point.at else None
        self._known, gain = counting.tally(self._known, seen.reports, since=self._since, now=now)
        paid = {key: max(since, self._paid.get(key, last)) for key, since in seen.billed.items()}
        self._count_today(now, last, paid, gain)
        seconds = 0.0 if paused else _billed(now, paid)
        self._paid = {**{key: at for key, at in self._paid.items() if now - at <= PAUSE},
                      **dict.fromkeys(paid, now)}
        gain = Gain() if paused else gain
        self._recent.append((now, gain))
        while not now - WINDOW < self._recent[0][0] <= now:
            self._recent.popleft()  # too old, or of a clock that was set back since
        self._oldest = self._arrivals.oldest(now, left=seen.left, visible=seen.visible,
                                             hidden=seen.in_flight + seen.delayed)
        self._doings = seen.doings
        self._dead = self._dead if seen.dead is None else seen.dead
        self._add(seen, gain, seconds)
        self._active, self._until = seen.active, now
        return ended

    def decided(self, made: Decision) -> None:
        """The scaler did something, or came to something new."""
        self._decisions.append(made)

    def close(self) -> Point | None:
        """The minute under way, which ends here; None: it has no look so far."""
        point, self._point = self._point, None
        if point is not None:
            point = replace(point, **_quantiles(self._minute))
            self._minute = Gain()
        return point

    def told(self) -> dict[str, Any]:
        """JSON-ready, for the journal; empty before the first look."""
        if self._until is None or self._since is None:
            return {}
        window = Gain()
        for _, gain in self._recent:
            window += gain
        return {
            "since": self._since.isoformat(), "until": self._until.isoformat(), "dead": self._dead,
            "oldest_at": None if self._oldest is None else self._oldest.isoformat(),
            "latency": _quantiles(window),
            "minute": None if self._point is None else chronicle.as_json(
                replace(self._point, **_quantiles(self._minute))),
            "instances": [doing.as_dict() for doing in self._doings],
            "today": {"day": self._today.day, "images": self._today.images, "failed": self._today.failed,
                      "instance_seconds": round(self._today.instance_seconds, 4)},
            "decisions": [{"at": d.at.isoformat(), "text": d.text} for d in reversed(self._decisions)],
            "workers": counting.as_json(self._known),
        }

    def _count_today(self, now: datetime, last: datetime, paid: Mapping[str, datetime], gain: Gain) -> None:
        day = f"{now:%Y-%m-%d}"
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if day != self._today.day:
            self._today = Today(day=day)
        self._today.instance_seconds += _billed(now, {key: max(at, midnight) for key, at in paid.items()})
        # What was done in a pause around midnight may have been yesterday's.
        if last >= midnight or now - last <= PAUSE:
            self._today.images += gain.images
            self._today.failed += gain.failed

    def _add(self, seen: Look, gain: Gain, seconds: float) -> None:
        states = [doing.state for doing in seen.doings]
        age = 0.0 if self._oldest is None else max(0.0, (seen.now - self._oldest).total_seconds())
        one = Point(
            at=chronicle.floor(seen.now, self._step), epoch=self._epoch, visible=seen.visible,
            in_flight=seen.in_flight, oldest_seconds=round(age, 1), dead=self._dead,
            **{state: float(states.count(state)) for state in STATES},
            images=gain.images, failed=gain.failed, instance_seconds=seconds,
            launched=len(seen.active - self._active), ended=len(self._active - seen.active))
        self._minute += gain
        self._point = one if self._point is None else one.together(self._point)


def _billed(now: datetime, paid: Mapping[str, datetime]) -> float:
    """Seconds of instances since they were counted last."""
    return sum(max(0.0, (now - at).total_seconds()) for at in paid.values())


def _quantiles(gain: Gain) -> dict[str, float | None]:
    return {f"{name}_{label}": _short(latency.percentile(counts, share))
            for name, counts in (("wait", gain.waits), ("infer", gain.infers))
            for label, share in (("p50", 0.5), ("p95", 0.95))}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
