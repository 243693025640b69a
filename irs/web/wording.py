"""The present facts in words, for the dashboard without its script.

``static/facts.js`` says the same of the same JSON: a change here is a change there, and a test
of the browser compares them (`tests/browser/test_dashboard.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from irs.web.figures import UNKNOWN, count, dollars, many, percent, seconds

#: States of instances in the order that they are shown.
STATES = ("busy", "idle", "booting", "draining", "stopped")
#: Seconds after which a scaler or a worker that has said nothing does not run.
SILENT = 60.0
#: The last minute that is told of began so long ago at most: it is told of when it is over.
HOUR, LATEST = timedelta(hours=1), timedelta(minutes=3)

#: Share of images without a label that is too much.
MANY = 0.01

Json = Mapping[str, Any]


def facts(now: Json, points: Sequence[Json], at: datetime, *, priced: bool) -> dict[str, str]:
    """Every text of the page by its name.

    ``now`` is what ``/v1/stats`` tells, or empty; ``points`` those of ``/v1/stats/history``;
    ``at`` the present moment.
    """
    minutes = _since(points, at - HOUR)
    return {**_queue(now.get("queue") or {}), **_fleet(now.get("fleet")),
            **_rate(minutes, _since(points, at - LATEST)),
            **_times("wait", now.get("latency") or {}), **_times("infer", now.get("latency") or {}),
            **_errors(minutes), **_cost(now.get("cost"), priced=priced)}


def instance(found: Json, at: datetime) -> dict[str, str]:
    """One instance of the fleet."""
    words = [f"{seconds(found['age_seconds'])} old", f"{count(found['images'])} done"]
    if found["running"]:
        words.append(f"{found['running']} in hand")
    if found["reported_at"] is not None and found["state"] != "stopped":
        silent = (at - datetime.fromisoformat(found["reported_at"])).total_seconds()
        words += [f"silent for {seconds(silent)}"] * (silent > SILENT)
    return {"state": found["state"], "name": found["name"] or found["id"], "note": " · ".join(words)}


def _queue(queue: Json) -> dict[str, str]:
    oldest, dead = queue.get("oldest_seconds"), queue.get("dead")
    words = [] if oldest is None else [f"oldest {seconds(oldest)}"]
    return {
        "queue.value": count(queue.get("visible")), "queue.tone": "",
        "queue.note": " · ".join([*words, f"{count(queue.get('in_flight'))} in hand"]),
        "dead.value": count(dead), "dead.tone": "bad" if dead else "",
        "dead.note": "not known" if dead is None else "what no worker could finish" if dead else "none",
    }


def _fleet(fleet: Json | None) -> dict[str, str]:
    if fleet is None:
        return {"fleet.value": UNKNOWN, "fleet.tone": "", "fleet.note": "no scaler has reported",
                "fleet.scaler": "", "fleet.empty": "No scaler has reported: irs scale is one, and irs up "
                                                   "starts it with everything else."}
    states = [found["state"] for found in fleet.get("instances") or ()]
    words = [f"{states.count(state)} {state}" for state in STATES if state in states]
    silent = fleet["age_seconds"] > SILENT
    return {
        "fleet.value": count(fleet["running"]), "fleet.tone": "warn" if silent else "",
        "fleet.note": " · ".join([*words, f"{fleet['max']} at most"]),
        "fleet.scaler": f"the scaler was last heard of {seconds(fleet['age_seconds'])} ago" if silent
        else f"{fleet['policy']} policy, {fleet['min']} to {fleet['max']}",
        "fleet.empty": "None now. The scaler launches one when work comes.",
    }


def _since(points: Sequence[Json], moment: datetime) -> list[Json]:
    return [point for point in points if datetime.fromisoformat(point["at"]) >= moment]


def _rate(minutes: Sequence[Json], latest: Sequence[Json]) -> dict[str, str]:
    hour = _sum(minutes, "images")
    return {"rate.value": count(latest[-1]["images"] if latest else None), "rate.tone": "",
            "rate.note": "no figures so far" if hour is None else f"{many(hour, 'image')} in the last hour"}


def _times(name: str, latency: Json) -> dict[str, str]:
    p50, p95 = latency.get(f"{name}_p50"), latency.get(f"{name}_p95")
    note = "nothing in the last 5 minutes" if p95 is None else f"95 % within {seconds(p95)}"
    return {f"{name}.value": seconds(p50), f"{name}.tone": "", f"{name}.note": note}


def _errors(minutes: Sequence[Json]) -> dict[str, str]:
    failed, images = _sum(minutes, "failed"), _sum(minutes, "images")
    if not images or failed is None:
        return {"errors.value": count(failed), "errors.tone": "", "errors.note": "no images"}
    share = failed / images
    return {"errors.value": count(failed), "errors.tone": "bad" if share >= MANY else "",
            "errors.note": f"{percent(share)} of {many(images, 'image')}"}


def _cost(cost: Json | None, *, priced: bool) -> dict[str, str]:
    if cost is None or cost.get("today_dollars") is None:
        return {"cost.value": UNKNOWN, "cost.tone": "", "cost.part": "",
                "cost.note": "not known so far" if priced else "no price is set: IRS_INSTANCE_PRICE"}
    today, budget = cost["today_dollars"], cost.get("budget_per_day")
    each = cost.get("dollars_per_1000_images")
    words = [] if each is None else [f"{dollars(each)} per 1,000 images"]
    tone = part = ""
    if budget is None:
        words.append("no budget is set: IRS_BUDGET")
    elif today > budget:
        words.insert(0, f"over the budget of {dollars(budget)} by {dollars(today - budget)}")
        tone, part = "bad", "100"
    else:
        words.insert(0, f"{percent(today / budget)} of the budget of {dollars(budget)}")
        part = f"{100 * today / budget:.2f}"
    return {"cost.value": dollars(today), "cost.tone": tone, "cost.part": part,
            "cost.note": " · ".join(words)}


def _sum(minutes: Sequence[Json], name: str) -> float | None:
    known = [minute[name] for minute in minutes if minute.get(name) is not None]
    return sum(known) if known else None
