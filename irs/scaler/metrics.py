"""The scaler's last decision and its totals, in Prometheus's text form, on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from irs import log
from irs import metrics as serving
from irs.settings import Settings

#: Gauge, the decision's field, help.
_GAUGES = (
    ("irs_scaler_visible_messages", "visible", "Messages that a worker could receive."),
    ("irs_scaler_in_flight_messages", "in_flight", "Messages received and not yet deleted."),
    ("irs_scaler_pending_instances", "pending", "Instances that boot, launches under way among them."),
    ("irs_scaler_running_instances", "running", "Instances that EC2 calls running."),
    ("irs_scaler_stopped_instances", "stopped", "Instances in the warm pool."),
    ("irs_scaler_draining_instances", "draining", "Instances that are to end."),
    ("irs_scaler_service_seconds", "service_seconds", "Seconds that an image takes a busy instance."),
    ("irs_scaler_boot_seconds", "boot_seconds", "Seconds from launch to the first work, median."),
)
#: Counter, total, help.
_COUNTERS = (
    ("irs_scaler_decisions", "decisions", "Rounds in which this process decided."),
    ("irs_scaler_launches", "launch", "Instances that it decided to launch."),
    ("irs_scaler_terminations", "terminate", "Instances that it decided to end."),
)

_log = log.get("scaler")


class Source(Protocol):
    """What is shown of `irs.scaler.loop.Scaler`."""

    @property
    def leads(self) -> bool: ...
    @property
    def decision(self) -> Mapping[str, Any]: ...
    @property
    def totals(self) -> Mapping[str, int]: ...


class Shown(Collector):
    """Read when somebody asks; the rounds know nothing of it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """What there is now; a figure that is not known yet is left out."""
        yield GaugeMetricFamily("irs_scaler_leads", "1 in the scaler that acts, 0 in a standby.",
                                value=float(self._source.leads))
        for name, total, text in _COUNTERS:
            yield CounterMetricFamily(name, text, value=self._source.totals.get(total, 0))
        for name, field, text in _GAUGES:
            value = self._source.decision.get(field)
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)


@contextlib.contextmanager
def served(settings: Settings, source: Source) -> Iterator[int]:
    """``/metrics`` answers on IRS_SCALER_METRICS_PORT; gives the port.

    Raises `errors.SettingsError` where the port cannot be had.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Shown(source))
    with serving.served(registry, settings.host, settings.scaler_metrics_port or 0,
                        "IRS_SCALER_METRICS_PORT") as port:
        _log.info("scaler.metrics", port=port)
        yield port
