"""What the scaler's journal tells beside its decision, as far as it still says something."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from irs import log
from irs.domain import states
from irs.domain.jobs import stamp
from irs.domain.observing import moment

#: Seconds after which the scaler's looks say nothing about now.
STALE = 60.0
_QUANTILES = ("wait_p50", "wait_p95", "infer_p50", "infer_p95")

_log = log.get("web")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The facts; None where nobody knows."""

    oldest_seconds: float | None = None
    latency: Mapping[str, float | None] = field(default_factory=lambda: dict.fromkeys(_QUANTILES))
    #: as JSON has them
    instances: tuple[Mapping[str, Any], ...] = ()
    #: of this UTC day
    instance_seconds: float | None = None
    images: int | None = None
    #: the newest first
    decisions: tuple[Mapping[str, str], ...] = ()


def read(raw: Mapping[str, Any], now: datetime) -> Told:
    """The facts of a journal; nothing known where there are none, or none that can be read."""
    if not raw:
        return Told()
    try:
        return _read(raw, now)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        _log.warning("web.facts_unreadable", why=repr(exc))
        return Told()


def _read(raw: Mapping[str, Any], now: datetime) -> Told:
    fresh = (now - _aware(raw["until"])).total_seconds() <= STALE
    oldest, today = raw["oldest_at"], raw["today"]
    of_today = today["day"] == f"{now:%Y-%m-%d}"
    return Told(
        oldest_seconds=None if not fresh else 0.0 if oldest is None else _age(_aware(oldest), now),
        latency={name: _number(raw["latency"][name]) if fresh else None for name in _QUANTILES},
        instances=tuple(_instance(doing, now) for doing in raw["instances"]),
        instance_seconds=_number(today["instance_seconds"]) if of_today else None,
        images=int(today["images"]) if of_today else None,
        decisions=tuple({"at": stamp(_aware(d["at"])), "text": str(d["text"])} for d in raw["decisions"]))


def _instance(doing: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    if doing["state"] not in states.STATES:
        raise ValueError(f"an instance that is {doing['state']!r}")
    launched, reported = _aware(doing["launched_at"]), moment(doing["reported_at"])
    return {"id": str(doing["id"]), "name": str(doing["name"]), "state": doing["state"],
            "launched_at": stamp(launched), "age_seconds": _age(launched, now),
            "images": int(doing["images"]), "running": int(doing["running"]),
            "reported_at": None if reported is None else stamp(reported)}


def _aware(text: Any) -> datetime:
    found = moment(text)
    if found is None or found.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return found


def _age(since: datetime, now: datetime) -> float:
    return round(max(0.0, (now - since).total_seconds()), 1)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no figure")
    return float(value)
