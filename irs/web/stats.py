"""``/v1/stats``: how the service stands now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from irs import errors, log
from irs.aws.queues import Depth, Queue
from irs.bulk.store import Records
from irs.domain.jobs import stamp
from irs.domain.journal import Journal
from irs.settings import Settings
from irs.web import answers, facts, fleet
from irs.web.describing import describes
from irs.web.facts import Told
from irs.web.services import Services, services

if TYPE_CHECKING:
    from irs.web import schemas

#: Seconds for which one look at the cloud answers everybody who asks.
FRESH = 1.0

_log = log.get("web")

blueprint = Blueprint("stats", __name__, url_prefix="/v1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What of the service is not in this process."""

    #: the input queue's counts
    depth: Depth
    #: the scaler's last one, see `irs.scaler.telling`; empty: there is no scaler
    decision: Mapping[str, Any] = field(default_factory=dict)
    #: the scaler's, see `irs.domain.facts`; empty: there are none
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: messages in the dead-letter queue; None: they cannot be counted
    dead: int | None = None


def look(settings: Settings, records: Callable[[], Records]) -> Sight:
    """Ask SQS for the counts and S3 for the scaler's journal; raises `errors.CloudError`."""
    depth = Queue(settings, settings.input_queue).depth()
    found = fleet.read(settings, records()) or Journal()
    return Sight(depth=depth, decision=found.decision, facts=found.facts, dead=_dead(settings))


def _dead(settings: Settings) -> int | None:
    """Dead letters, those that somebody looks at just now among them."""
    try:
        depth = Queue(settings, settings.dead_letter_queue).depth()
    except errors.CloudError as exc:
        _log.info("web.dead_letters_unknown", why=str(exc))
        return None
    return depth.visible + depth.in_flight


@blueprint.get("/stats")
@describes(
    "How the service stands",
    tag="service",
    about="The queue and the fleet are everybody's, `process` is the web process that answers. "
          "Everybody who asks within a second gets the same look at the cloud.",
    answers={200: ("Now, or up to a second ago.", "Stats")},
)
def stats() -> Response:
    """Queue, fleet, this process, and what the fleet costs."""
    from irs.web import schemas

    web = services()
    sight = web.sights.value()
    now = datetime.now(UTC)
    told = facts.read(sight.facts, now)
    fleet = _fleet(sight.decision, told, now)
    return answers.as_json(schemas.Stats(
        at=stamp(now),
        queue=schemas.QueueStats(
            visible=sight.depth.visible, in_flight=sight.depth.in_flight, delayed=sight.depth.delayed,
            oldest_seconds=told.oldest_seconds, dead=sight.dead),
        fleet=fleet, latency=schemas.LatencyStats(**told.latency), process=_process(web),
        cost=_cost(fleet, told, web.settings),
    ).model_dump())


def _fleet(decision: Mapping[str, Any], told: Told, now: datetime) -> schemas.FleetStats | None:
    """The decision, as far as it is told; None where there is none, or none that can be read."""
    from irs.web import schemas

    if not decision:
        return None
    try:
        at = datetime.fromisoformat(decision["at"])
        return schemas.FleetStats.model_validate({
            **decision, "at": stamp(at), "age_seconds": round(max(0.0, (now - at).total_seconds()), 1),
            "instances": told.instances})
    except (KeyError, TypeError, ValueError) as exc:  # pydantic's is a ValueError
        _log.warning("web.decision_unreadable", why=str(exc))
        return None


def _process(web: Services) -> schemas.ProcessStats:
    from irs.web import schemas

    counts = web.cloud.counts
    return schemas.ProcessStats(
        waiting_clients=web.gate.inside, max_waiting=web.settings.max_waiting,
        pending_jobs=counts.pending, lost_jobs=counts.lost,
        results_per_second=round(web.estimates.throughput(), 3))


def _cost(fleet: schemas.FleetStats | None, told: Told, settings: Settings) -> schemas.CostStats | None:
    """EC2 bills what runs: neither a launch that is pending nor a stopped instance."""
    from irs.web import schemas

    price = settings.instance_price
    if fleet is None or price is None:
        return None
    dollars = None if told.instance_seconds is None else told.instance_seconds / 3600 * price
    return schemas.CostStats(
        dollars_per_hour=round(fleet.running * price, 4), instance_price=price,
        budget_per_day=settings.budget, today_images=told.images,
        today_dollars=None if dollars is None else round(dollars, 4),
        dollars_per_1000_images=round(1000 * dollars / told.images, 4)
        if dollars is not None and told.images else None)
