"""Figures of the service in a few words, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

#: A letter's height in eight steps.
_BARS = "▁▂▃▄▅▆▇█"
#: Words for what an instance does.
DOES = {"booting": "boots", "idle": "waits for work", "busy": "classifies",
        "draining": "finishes what it has", "stopped": "is kept for later"}
#: How long ago the last minute that is over may have begun.
RECENT = timedelta(minutes=4)
#: Seconds without a report after which a worker has fallen silent, on the dashboard too: two were
#: missed, and what the scaler tells of them is late itself.
SILENT = 30.0


def seconds(value: float | None) -> str:
    """``21 ms``, ``3.2 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``; ``-`` for None."""
    if value is None:
        return "-"
    if not value:
        return "0 s"
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    if value < 99.5:
        return f"{value:.2g} s" if value < 9.95 else f"{value:.0f} s"
    whole = round(value)
    for small, large, name, inner in ((60, 3600, "min", "s"), (3600, 86_400, "h", "min")):
        if whole < large:
            return f"{whole // small} {name} {whole % small // (small // 60)} {inner}"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def dollars(value: float | None) -> str:
    """``$3.10``, ``$0.0038``; ``-`` for None."""
    if value is None:
        return "-"
    return f"${value:.2f}" if value >= 0.1 or not value else f"${value:.2g}"


def states(fleet: Mapping[str, Any]) -> str:
    """``3 busy, 1 idle``, in the order of an instance's life; ``no instances``."""
    if fleet.get("instances") is None:  # an older service: EC2's words
        told = [f"{fleet[state]} {state}" for state in ("pending", "running", "draining", "stopped")
                if fleet.get(state)]
    else:
        found = [str(instance.get("state")) for instance in fleet["instances"]]
        told = [f"{found.count(state)} {state}" for state in DOES if state in found]
    return ", ".join(told) or "no instances"


def bars(values: Iterable[float], width: int) -> str:
    """The last ``width`` values as a line of bars, the largest of them full."""
    shown = list(values)[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    return "".join(" " if not value else _BARS[min(7, int(8 * value / most))] for value in shown)


def last_minute(history: Mapping[str, Any], now: str) -> Mapping[str, Any] | None:
    """The minute that was over last at ``now``; None where nobody has written it."""
    points = history.get("points") or ()
    if not points:
        return None
    age = datetime.fromisoformat(now) - datetime.fromisoformat(points[-1]["at"])
    return points[-1] if age <= RECENT else None


def pace(point: Mapping[str, Any], history: Mapping[str, Any]) -> float:
    """Images a second of this minute."""
    return point["images"] / history["step_seconds"]


def line(stats: Mapping[str, Any], history: Mapping[str, Any]) -> str:
    """All of it in one line, for a file."""
    queue, fleet, latency = (stats.get(part) or {} for part in ("queue", "fleet", "latency"))
    cost, point = stats.get("cost") or {}, last_minute(history, stats["at"])
    parts = [
        f"queue {queue.get('visible', '-')} waiting, {queue.get('in_flight', '-')} in flight, oldest "
        f"{seconds(queue.get('oldest_seconds'))}",
        states(fleet) if fleet else "no scaler",
        "-" if point is None else f"{pace(point, history):.1f} images/s",
        f"wait p95 {seconds(latency.get('wait_p95'))}, model p95 {seconds(latency.get('infer_p95'))}",
        f"dead letters {_known(queue.get('dead'))}"]
    if cost:
        parts.append(f"{dollars(cost.get('today_dollars'))} today")
    return " · ".join(parts)


def _known(value: object) -> object:
    return "-" if value is None else value
