"""``/dashboard``: how the service stands, for whoever runs it.

The page has the present facts in itself, as they are when it is asked for; its script asks
for them again every two seconds, and for the last hours.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, render_template, request

from irs import errors, log
from irs.web import history, stats, wording
from irs.web.describing import TEXT, describes
from irs.web.preferences import HTML
from irs.web.services import services

#: Decisions that the page without its script shows.
DECISIONS = 12

_log = log.get("web")

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/dashboard")
@describes(
    "The dashboard", tag="pages",
    about="An operator's page: queue, fleet, throughput, waits, errors, cost, dead letters.",
    answers={200: ("A page. Without JavaScript it has the present facts.", {HTML: TEXT})},
)
def dashboard() -> Response:
    """The page; also where the cloud does not answer."""
    settings = services().settings
    now, past = _told(stats.stats), _told(history.history)
    priced = settings.instance_price is not None
    fleet = now.get("fleet") or {}
    at = datetime.now(UTC)
    return Response(render_template(
        "dashboard.html", now=now, priced=priced, receives=settings.max_receive_count,
        facts=wording.facts(now, past.get("points", ()), at, priced=priced),
        instances=[wording.instance(one, at) for one in fleet.get("instances", ())],
        decisions=past.get("decisions", ())[:DECISIONS],
        closed=services().admission.closed(lambda name: request.headers.get(name, ""))))


def _told(view: Callable[[], Response]) -> dict[str, Any]:
    """What a view of ``/v1`` tells; empty while it cannot."""
    try:
        told: dict[str, Any] = view().get_json()
    except errors.CloudError as exc:
        _log.warning("web.dashboard_blind", why=str(exc))
        return {}
    return told
