"""``/dashboard``: how the service stands, for whoever runs it.

The page has the present facts in itself, as they are when it is asked for; its script asks
for them again every two seconds, and for the last hours.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from irs import errors, log
from irs.web import figures, stats
from irs.web.describing import TEXT, describes
from irs.web.preferences import HTML
from irs.web.services import services

_log = log.get("web")

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/dashboard")
@describes(
    "The dashboard", tag="pages",
    about="An operator's page: queue, fleet, throughput, waits, cost, dead letters.",
    answers={200: ("A page. Without JavaScript it has the present facts.", {HTML: TEXT})},
)
def dashboard() -> Response:
    """The page; also where the cloud does not answer."""
    settings = services().settings
    return Response(render_template(
        "dashboard.html", now=_now(), figures=figures, priced=settings.instance_price is not None,
        receives=settings.max_receive_count,
        closed=services().admission.closed(lambda name: request.headers.get(name, ""))))


def _now() -> dict[str, Any]:
    """What ``/v1/stats`` tells; empty while it cannot."""
    try:
        told: dict[str, Any] = stats.stats().get_json()
    except errors.CloudError as exc:
        _log.warning("web.dashboard_blind", why=str(exc))
        return {}
    return told
