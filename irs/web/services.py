"""What the views use, made once by the application's factory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from irs.settings import Settings
    from irs.web.admission import Admission
    from irs.web.bulk import Bulk
    from irs.web.cloud import Cloud
    from irs.web.desk import Desk
    from irs.web.dispatch import Dispatcher
    from irs.web.document import Document
    from irs.web.estimates import Estimates
    from irs.web.history import Shelf
    from irs.web.metrics import Metrics
    from irs.web.probe import Probe
    from irs.web.sources import Sources
    from irs.web.staging import Staging
    from irs.web.stats import Sight
    from irs.web.streams import Streams
    from irs.web.targets import Target
    from irs.web.thumbnails import Thumbnails
    from irs.web.waiting import Drain, Gate, Waiting

#: The key in ``app.extensions``.
KEY = "irs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """One of each, shared by the process's threads."""

    settings: Settings
    admission: Admission
    bulk: Bulk
    cloud: Cloud
    desk: Desk
    dispatcher: Dispatcher
    document: Document
    drain: Drain
    estimates: Estimates
    gate: Gate
    #: the last day's
    history: Shelf
    metrics: Metrics
    #: raises `irs.errors.CloudError` while the endpoint cannot be used
    ready: Probe[None]
    #: the same of whoever looks at queue and fleet
    sights: Probe[Sight]
    sources: Sources
    staging: Staging
    streams: Streams
    #: who has metrics, of the fleet; raises the same
    targets: Probe[list[Target]]
    thumbnails: Thumbnails
    waiting: Waiting


def services() -> Services:
    """The current application's."""
    return cast("Services", current_app.extensions[KEY])
