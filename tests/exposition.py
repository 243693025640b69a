"""What each tier's `/metrics` shows, in this process: every metric that there may be."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from irs import settings as settings_module
from irs.aws import calls
from irs.domain.jobs import ModelInfo
from irs.scaler import metrics as scaler_metrics

#: Made by Prometheus itself.
ITS_OWN = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"}


def texts() -> dict[str, str]:
    """By job: `irs-web`, `irs-worker`, `irs-scaler`; leaves no threads behind."""
    calls.TALLY.add("s3", "GetObject", calls.OK, 0.01)
    return {"irs-web": _web(), "irs-worker": _worker(), "irs-scaler": _scaler()}


def families(text: str) -> dict[str, Any]:
    """By the name that they are written under; counters with their ``_total``."""
    found = {}
    for family in text_string_to_metric_families(text):
        found[family.name + "_total" if family.type == "counter" else family.name] = family
    return found


def series(text: str) -> set[str]:
    """The names that a query may use."""
    names = set()
    for name, family in families(text).items():
        names |= {name + end for end in ("_bucket", "_sum", "_count")} if family.type == "histogram" else {
            name}
    return names


def _web() -> str:
    from irs.audit.upkeep import Counts
    from irs.bulk.feeder import Counts as Bulk
    from irs.callbacks.upkeep import Counts as Calls
    from irs.web.metrics import Metrics

    made = Metrics(waiting=lambda: 1, streams=lambda: 0, heard=time.monotonic,
                   upkeep=lambda: Counts(oldest=time.monotonic(), letters=0),
                   bulk=Bulk, callbacks=Calls)
    made.request("/upload", "POST", 200)
    return generate_latest(made.registry).decode()


def _worker() -> str:
    from irs.worker.meter import Meter
    from irs.worker.metrics import Metrics

    made = Metrics(Meter(full=2), heard=time.monotonic)
    made.tell([ModelInfo(name="m", version="sha256:1", engine="onnxruntime")],
              engines=SimpleNamespace(depth=0, failures=0),
              announcer=SimpleNamespace(lost=0))
    return generate_latest(made.registry).decode()


def _scaler() -> str:
    decision = {field: 1 for _, field, _ in scaler_metrics._GAUGES} | {"at": "2026-11-25T12:00:00+00:00"}
    source = SimpleNamespace(leads=True, decision=decision, totals={})
    settings = settings_module.build({"scaler_metrics_port": 0, "instance_price": 0.1})
    registry: CollectorRegistry = scaler_metrics.registry(settings, source)
    return generate_latest(registry).decode()
