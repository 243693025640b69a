"""A day of a fleet's life for the dashboard: what `/v1/stats` and its history tell of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Page, Route

#: (state, age in seconds, images, in hand)
FLEET = (("busy", 4210, 5120, 8), ("busy", 3100, 3902, 7), ("busy", 400, 610, 8), ("idle", 200, 12, 0),
         ("booting", 14, 0, 0), ("draining", 9000, 14_020, 2), ("stopped", 20_000, 220, 0))
DECISIONS = ((20, "queue 140, need 5, have 4: launching 1"), (90, "queue 96, need 4, have 3: launching 1"),
             (400, "queue 0, need 2, have 4: ending 2"), (1260, "queue 310, need 4, have 0: launching 4"))
#: Minutes ago in which no scaler looked.
GAP = range(71, 95)


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stats(**more: Any) -> dict[str, Any]:
    """``more``: parts to take the place of these."""
    now = datetime.now(UTC)
    price = 0.08925
    instances = [{
        "id": f"i-0{n}9d2", "name": f"AppTier-Instance-{n + 1}", "state": state,
        "launched_at": stamp(now - timedelta(seconds=age)), "age_seconds": float(age), "images": images,
        "running": running, "reported_at": None if state == "booting" else stamp(now)}
        for n, (state, age, images, running) in enumerate(FLEET)]
    return {
        "at": stamp(now),
        "queue": {"visible": 106, "in_flight": 25, "delayed": 0, "oldest_seconds": 12.4, "dead": 0},
        "fleet": {"at": stamp(now), "age_seconds": 2.1, "policy": "predictive", "reason": "backlog",
                  "running": 5, "pending": 1, "stopped": 1, "draining": 1, "min": 0, "max": 19,
                  "service_seconds": 0.031, "boot_seconds": 51.2, "instances": instances},
        "latency": {"wait_p50": 0.84, "wait_p95": 3.1, "infer_p50": 0.021, "infer_p95": 0.06},
        "process": {"waiting_clients": 3, "max_waiting": 400, "pending_jobs": 16, "lost_jobs": 0,
                    "results_per_second": 8.2},
        "cost": {"dollars_per_hour": 0.4463, "instance_price": price, "budget_per_day": 5.0,
                 "today_dollars": 3.412, "today_images": 81_200, "dollars_per_1000_images": 0.042},
        **more}


def history(minutes: int = 180) -> dict[str, Any]:
    """Waves of work, the same in each run, and a gap in them."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    points = [_minute(now - timedelta(minutes=ago), ago) for ago in range(minutes, 0, -1) if ago not in GAP]
    return {"step_seconds": 60, "points": points, "decisions": [
        {"at": stamp(now - timedelta(seconds=ago)), "text": text} for ago, text in DECISIONS]}


def _minute(at: datetime, ago: int) -> dict[str, Any]:
    chance = random.Random(ago)
    wave = max(0.0, math.sin(ago / 40) + 0.35) * 110 * (1 + chance.random() * 0.25)
    busy = min(19.0, wave / 25)
    works = bool(wave)
    return {
        "at": stamp(at), "visible": wave, "in_flight": min(40.0, wave / 3), "oldest_seconds": wave / 12,
        "dead": 0, "booting": 1.0 if chance.random() < 0.08 else 0.0, "idle": 0.6 if busy < 1 else 0.2,
        "busy": busy, "draining": 0.5 if chance.random() < 0.12 else 0.0, "stopped": 1.0,
        "images": int(busy * 120), "failed": int(chance.random() < 0.05),
        "wait_p50": wave / 90 if works else None, "wait_p95": wave / 22 if works else None,
        "infer_p50": 0.02 + 0.004 * chance.random() if works else None,
        "infer_p95": 0.05 + 0.02 * chance.random() if works else None,
        "launched": 0, "ended": 0, "dollars": round((busy + 1) * 0.08925 / 60, 6)}


def answered(page: Page, told: Callable[[], dict[str, Any]] = stats,
             past: Callable[[int], dict[str, Any]] = history) -> list[str]:
    """From now on the page is told this; returns the addresses that it asks for, as they come."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        minutes = route.request.url.partition("minutes=")[2]
        body = past(int(minutes)) if "/history" in route.request.url else told()
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    page.route("**/v1/stats", answer)
    page.route("**/v1/stats/history*", answer)
    return asked
