"""The scaler's last decision and its totals, in Prometheus's text form, on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from irs import log
from irs import metrics as shared
from irs.aws import calls
from irs.metrics import Read, known
from irs.scaler.launches import OUTCOMES
from irs.settings import Settings

#: Gauge, the decision's field, help.
_GAUGES = (
    ("irs_scaler_visible_messages", "visible", "Messages that a worker could receive, and images of "
     "batches that are not on the queue yet."),
    ("irs_scaler_in_flight_messages", "in_flight", "Messages received and not yet deleted."),
    ("irs_scaler_active_instances", "active", "Instances that work or boot, without those that are to "
     "end."),
    ("irs_scaler_wanted_instances", "wanted", "Instances that there are to be, by the decision."),
    ("irs_scaler_ready_instances", "ready", "Instances that take work."),
    ("irs_scaler_pending_instances", "pending", "Instances that boot, launches under way among them."),
    ("irs_scaler_running_instances", "running", "Instances that EC2 calls running."),
    ("irs_scaler_stopped_instances", "stopped", "Instances in the warm pool."),
    ("irs_scaler_draining_instances", "draining", "Instances that are to end."),
    ("irs_scaler_min_instances", "min", "The fewest that there may be."),
    ("irs_scaler_max_instances", "max", "The most."),
    ("irs_scaler_service_seconds", "service_seconds", "Seconds that an image takes a busy instance."),
    ("irs_scaler_boot_seconds", "boot_seconds", "Seconds from launch to the first work, median."),
    ("irs_scaler_count_lag_seconds", "count_lag", "How late the queue's counts are, as measured."),
)
#: Counter, total, help.
_COUNTERS = (
    ("irs_scaler_decisions", "decisions", "Rounds in which this process decided."),
    ("irs_scaler_launches", "launch", "Instances that it decided to launch."),
    ("irs_scaler_terminations", "terminate", "Instances that it decided to end."),
    ("irs_scaler_stillborn_instances", "stillborn", "Instances that ended by themselves before they "
     "worked."),
    ("irs_scaler_troubles", "trouble", "Times that queue, EC2 or S3 did not answer as the round needed."),
)

_log = log.get("scaler")


class Source(Protocol):
    """What is shown of `irs.scaler.brain.Scaler`."""

    @property
    def leads(self) -> bool: ...
    @property
    def decision(self) -> Mapping[str, Any]: ...
    @property
    def totals(self) -> Mapping[str, int]: ...


def shown(source: Source, price: float | None) -> Iterator[Metric]:
    """What there is now; ``price`` is an instance's, dollars an hour."""
    yield GaugeMetricFamily("irs_scaler_leads", "1 in the scaler that acts, 0 in a standby.",
                            value=float(source.leads))
    for name, total, text in _COUNTERS:
        yield CounterMetricFamily(name, text, value=source.totals.get(total, 0))
    came = CounterMetricFamily("irs_scaler_launch_calls", "Calls of RunInstances by what came of them.",
                               labels=["outcome"])
    for outcome in OUTCOMES:
        came.add_metric([outcome], source.totals.get(outcome, 0))
    yield came
    # What one that leads no more decided last is another's business now.
    decision = source.decision if source.leads else {}
    for name, field, text in _GAUGES:
        yield from known(name, text, decision.get(field))
    yield from known("irs_scaler_decision_timestamp_seconds", "When it last decided.",
                     datetime.fromisoformat(decision["at"]).timestamp() if "at" in decision else None)
    if price is not None and "running" in decision:
        yield GaugeMetricFamily("irs_scaler_fleet_dollars_per_hour", "What the running instances cost an "
                                "hour, at IRS_INSTANCE_PRICE.", value=decision["running"] * price)


def registry(settings: Settings, source: Source) -> CollectorRegistry:
    """All that a scaler tells."""
    made = shared.registry()
    made.register(Read(lambda: shown(source, settings.instance_price)))
    made.register(Read(lambda: shared.cloud_calls(calls.TALLY.read(), calls.BOUNDS)))
    return made


@contextlib.contextmanager
def served(settings: Settings, source: Source) -> Iterator[int]:
    """``/metrics`` answers on IRS_SCALER_METRICS_PORT; gives the port.

    Raises `errors.SettingsError` where the port cannot be had.
    """
    with shared.served(registry(settings, source), settings.metrics_host or settings.host,
                       settings.scaler_metrics_port or 0, "IRS_SCALER_METRICS_PORT") as port:
        _log.info("scaler.metrics", port=port)
        yield port
