"""``/v1/stats``: how the service stands now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from irs import log
from irs.aws.queues import Depth, Queue
from irs.bulk.store import Records
from irs.domain.jobs import stamp
from irs.settings import Settings
from irs.web import answers, fleet
from irs.web.describing import describes
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


def look(settings: Settings, records: Callable[[], Records]) -> Sight:
    """Ask SQS for the counts and S3 for the scaler's journal; raises `errors.CloudError`."""
    depth = Queue(settings, settings.input_queue).depth()
    found = fleet.read(settings, records())
    return Sight(depth=depth, decision=found.decision if found is not None else {})


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
    fleet = _fleet(sight.decision, now)
    return answers.as_json(schemas.Stats(
        at=stamp(now),
        queue=schemas.QueueStats(visible=sight.depth.visible, in_flight=sight.depth.in_flight,
                                 delayed=sight.depth.delayed),
        fleet=fleet, process=_process(web), cost=_cost(fleet, web.settings.instance_price),
    ).model_dump())


def _fleet(decision: Mapping[str, Any], now: datetime) -> schemas.FleetStats | None:
    """The decision, as far as it is told; None where there is none, or none that can be read."""
    from irs.web import schemas

    if not decision:
        return None
    try:
        at = datetime.fromisoformat(decision["at"])
        return schemas.FleetStats.model_validate({
            **decision, "at": stamp(at), "age_seconds": round(max(0.0, (now - at).total_seconds()), 1)})
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


def _cost(fleet: schemas.FleetStats | None, price: float | None) -> schemas.CostStats | None:
    """EC2 bills what runs: neither a launch that is pending nor a stopped instance."""
    from irs.web import schemas

    if fleet is None or price is None:
        return None
    return schemas.CostStats(dollars_per_hour=round(fleet.running * price, 4), instance_price=price)
