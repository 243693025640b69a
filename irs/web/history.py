"""``/v1/stats/history``: how the service stood, from the hours that the scaler wrote."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request

from irs import errors, log
from irs.bulk.store import Records
from irs.domain import chronicle
from irs.domain.chronicle import Hour, Point
from irs.domain.jobs import stamp
from irs.settings import Settings
from irs.web import answers, facts, health
from irs.web.describing import Param, describes
from irs.web.probe import Probe
from irs.web.services import services

#: Minutes that are told of, unless asked otherwise, and at most.
USUAL, MOST = 180, 1440
#: Decisions that are told of at most.
DECISIONS = 50
#: Seconds for which the hour under way is taken as it was read, and one that is over.
FRESH, OVER = 5.0, 900.0
#: For how long after its end an hour may still be written.
LATE = timedelta(minutes=5)
#: Bytes; an hour has about 15,000.
MAX_HOUR = 1_000_000

_log = log.get("web")

blueprint = Blueprint("history", __name__, url_prefix="/v1")


class Shelf:
    """The hours of the last day, each read again only when it may have changed."""

    def __init__(self, settings: Settings, records: Callable[[], Records], *,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._records, self._now, self._clock = settings, records, now, clock
        self._lock = threading.Lock()
        #: by hour: when it was read, and what it held
        self._read: dict[datetime, tuple[float, Hour]] = {}
        #: raises `errors.CloudError`
        self.hours: Probe[list[Hour]] = Probe(self._look, fresh=FRESH, patience=health.PATIENCE)

    def _look(self) -> list[Hour]:
        """The last day's hours, the oldest first."""
        now = self._now()
        first = chronicle.hour_of(now - timedelta(minutes=MOST))
        wanted = [first + timedelta(hours=number) for number in range(MOST // 60 + 1)]
        found = {start: self._hour(start, now) for start in wanted}
        with self._lock:
            self._read = found
        return [hour for _, hour in found.values()]

    def _hour(self, start: datetime, now: datetime) -> tuple[float, Hour]:
        held, at = self._read.get(start), self._clock()
        over = now - start > timedelta(hours=1) + LATE
        if held is not None and at - held[0] < (OVER if over else 0.0):
            return held
        try:
            data = self._records().get(chronicle.key(self._settings.cluster, start), max_bytes=MAX_HOUR)
            return at, Hour.from_json(data)
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return at, Hour(start=start)
        except (ValueError, errors.TooLarge) as exc:
            _log.warning("web.history_unreadable", hour=start.isoformat(), why=str(exc))
            return at, Hour(start=start)


@blueprint.get("/stats/history")
@describes(
    "How the service stood",
    tag="service",
    about="Minute by minute, as the scaler saw it. What it has not written down yet, a minute at "
          "most, is missing; so is the time in which none ran.",
    params=(Param(name="minutes", where="query", about="How far back.", example=180,
                  schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}),),
    answers={200: ("The last minutes, and what the scaler decided.", "History")},
    refuses=(errors.BadRequest,),
)
def history() -> Response:
    """Points and decisions."""
    web = services()
    since = datetime.now(UTC) - timedelta(minutes=_minutes())
    hours = web.history.hours.value()
    points = [_point(point, web.settings.instance_price)
              for hour in hours for at, point in sorted(hour.points.items()) if at >= since]
    return answers.as_json({
        "step_seconds": chronicle.STEP, "points": points,
        "decisions": _decisions(hours, web.sights.value().facts, since)})


def _minutes() -> int:
    text = request.args.get("minutes", str(USUAL))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST):
        raise errors.BadRequest(f"minutes is a whole number from 1 to {MOST}")
    return int(text)


def _point(point: Point, price: float | None) -> dict[str, Any]:
    return {
        "at": stamp(point.at), "visible": point.visible, "in_flight": point.in_flight,
        "oldest_seconds": point.oldest_seconds, "dead": point.dead,
        **{name: getattr(point, name) for name in ("booting", "idle", "busy", "draining", "stopped",
                                                   "images", "failed", *chronicle.LATENCIES,
                                                   "launched", "ended")},
        "dollars": None if price is None else round(point.instance_seconds / 3600 * price, 6)}


def _decisions(hours: list[Hour], told: Mapping[str, Any], since: datetime) -> list[dict[str, str]]:
    """Those of the hours, and those that are too new to be there."""
    every = [{"at": stamp(d.at), "text": d.text} for hour in hours for d in hour.decisions]
    newest = [dict(d) for d in facts.read(told, datetime.now(UTC)).decisions]
    unlike = {(d["at"], d["text"]): d for d in (*every, *newest) if d["at"] >= stamp(since)}
    return [unlike[key] for key in sorted(unlike, reverse=True)][:DECISIONS]
