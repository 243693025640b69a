"""``/v1/targets``: where the fleet's metrics are, for Prometheus's service discovery over HTTP.

Workers come and go, and on one machine several have ports that nobody knew before. Each says in
its report where it serves (`irs.worker.report`); this lists them.
https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response

from irs import errors, log
from irs.bulk.store import Records
from irs.domain import observing, pacing
from irs.domain.observing import MISSED, Report
from irs.settings import Settings
from irs.web import answers
from irs.web.describing import describes
from irs.web.preferences import JSON
from irs.web.services import services

#: One group of Prometheus's, as JSON.
Target = dict[str, Any]
#: Seconds for which one look answers everybody who asks; Prometheus asks each minute by default.
FRESH = 10.0
#: Seconds that a request waits for a look: a list, and a GET for each worker.
PATIENCE = 10.0
#: Bytes of a report.
MAX_REPORT = 10_000
#: Reports come from a bucket: Prometheus is sent nowhere but to a host and a port.
_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}")

_GROUP = {"type": "object", "required": ["targets", "labels"], "properties": {
    "targets": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
    "labels": {"type": "object", "required": ["instance", "cluster"],
               "additionalProperties": {"type": "string"}}}}

_log = log.get("web")

blueprint = Blueprint("targets", __name__, url_prefix="/v1")


@blueprint.get("/targets")
@describes(
    "Where the workers' metrics are",
    tag="service",
    about="For Prometheus (`http_sd_configs`): one group for each worker that serves metrics "
          "(`IRS_WORKER_METRICS_PORT`), those included that vanished within the last five minutes. "
          "Up to ten seconds old.",
    answers={200: ("One group a worker; none: no worker serves metrics.",
                   {JSON: {"type": "array", "items": _GROUP}})},
)
def targets() -> Response:
    """The workers, each with its address and its name."""
    return answers.as_json(services().targets.value())


def look(settings: Settings, records: Callable[[], Records]) -> list[Target]:
    """One list, and one GET for each that was written of late; raises `errors.CloudError`."""
    now = datetime.now(UTC)
    return [{"targets": [report.metrics],
             "labels": {"cluster": settings.cluster, "instance": report.instance}}
            for report in _reports(settings.cluster, records(), now)
            if report.scraped(now) and _ADDRESS.fullmatch(report.metrics or "")]


def _reports(cluster: str, records: Records, now: datetime) -> Iterator[Report]:
    batches = pacing.backlog_folder(cluster)
    for entry in records.entries(observing.folder(cluster)):
        # S3's clock and ours: a minute is more than they disagree on.
        if entry.key.startswith(batches) or (now - entry.modified).total_seconds() > MISSED + 60:
            continue
        try:
            yield Report.from_json(records.get(entry.key, max_bytes=MAX_REPORT))
        except errors.NoBucket:
            raise
        except errors.NotFound:
            continue  # gone since the list
        except (ValueError, errors.TooLarge) as exc:
            _log.info("web.report_unreadable", key=entry.key, why=str(exc))
