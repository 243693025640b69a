"""Counters of the web tier, in Prometheus's text form; every label has few values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from irs import __version__
from irs.audit.upkeep import Counts
from irs.bulk import feeder
from irs.callbacks.upkeep import Counts as Calls
from irs.web.describing import TEXT, describes
from irs.web.services import services

#: Seconds: a warm answer, a queue, a cold fleet, the longest default wait.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
#: Methods that a label may carry; a client may send any token.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

blueprint = Blueprint("metrics", __name__)


class Metrics:
    """One registry an application, so that several may live in one process."""

    def __init__(self, *, waiting: Callable[[], int], streams: Callable[[], int],
                 heard: Callable[[], float | None], upkeep: Callable[[], Counts],
                 bulk: Callable[[], feeder.Counts], callbacks: Callable[[], Calls]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Upkeep(upkeep))
        self.registry.register(_Bulk(bulk))
        self.registry.register(_Callbacks(callbacks))
        ProcessCollector(registry=self.registry)
        self.uploads = Counter(
            "irs_uploads_total", "Files by what became of them within their request.",
            ["outcome"], registry=self.registry)
        self.reuse = Counter(
            "irs_reuse_total", "Files by whether the same bytes had been classified before.",
            ["outcome"], registry=self.registry)
        for outcome in ("hit", "miss", "coalesced"):  # a rate needs all of them from the start
            self.reuse.labels(outcome)
        self.seconds = Histogram(
            "irs_upload_seconds", "From an upload's whole body to its answer.",
            buckets=BUCKETS, registry=self.registry)
        self.overloads = Counter(
            "irs_overloads_total", "Requests refused because too many wait or the queue is too long.",
            registry=self.registry)
        self.requests = Counter(
            "irs_http_requests_total", "Requests by route, method and status code.",
            ["route", "method", "code"], registry=self.registry)
        self.connections = Gauge("irs_connections", "Open connections of clients.",
                                 registry=self.registry)
        self.ended = Counter(
            "irs_connections_ended_total", "Connections that the server ended before their request "
            "had arrived, or their answer been read.", ["reason"], registry=self.registry)
        Gauge("irs_waiting_clients", "Requests that wait for a result now.",
              registry=self.registry).set_function(waiting)
        Gauge("irs_event_streams", "Clients that follow their jobs on a stream of events.",
              registry=self.registry).set_function(streams)
        Gauge("irs_announcement_age_seconds",
              "Since the reply queue last answered; -1 before it was asked.",
              registry=self.registry).set_function(lambda: _age(heard()))
        Gauge("irs_build_info", "Always 1.", ["version"],
              registry=self.registry).labels(__version__).set(1)

    def request(self, route: str | None, method: str, code: int) -> None:
        """Count one answered request; ``route`` is the rule, never the path."""
        self.requests.labels(route or "unmatched", method if method in METHODS else "other",
                             str(code)).inc()


class _Upkeep:
    """The figures of `irs.audit.upkeep`, read when they are asked for."""

    def __init__(self, read: Callable[[], Counts]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Prometheus's own protocol."""
        counts = self._read()
        yield GaugeMetricFamily("irs_pending_jobs", "Jobs that this process accepted, without a "
                                "result so far.", value=counts.pending)
        yield GaugeMetricFamily("irs_lost_jobs", "Those of them that fell out of the queue and "
                                "could not be sent again so far.", value=counts.lost)
        yield CounterMetricFamily("irs_requeued", "Jobs sent again because the queue had lost them.",
                                  value=counts.requeued)
        yield CounterMetricFamily("irs_forgotten_jobs", "Jobs that are looked after no more for want "
                                  "of room.", value=counts.forgotten)
        yield CounterMetricFamily("irs_dead_letters", "Failures written for dead letters.",
                                  value=counts.dead_letters)


class _Bulk:
    """The figures of `irs.bulk.feeder`, read when they are asked for."""

    def __init__(self, read: Callable[[], feeder.Counts]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Prometheus's own protocol."""
        counts = self._read()
        yield GaugeMetricFamily("irs_batches", "Batches that this process feeds.", value=counts.batches)
        yield GaugeMetricFamily("irs_batch_window", "Messages of batches that this process may have "
                                "outstanding.", value=counts.window)
        yield GaugeMetricFamily("irs_batch_outstanding", "Messages of batches that it has outstanding.",
                                value=counts.outstanding)
        yield CounterMetricFamily("irs_batch_sent", "Images of batches sent to the queue.",
                                  value=counts.sent)
        yield CounterMetricFamily("irs_batch_heard", "Results of batches heard of.", value=counts.heard)


class _Callbacks:
    """The figures of `irs.callbacks.upkeep`, read when they are asked for."""

    def __init__(self, read: Callable[[], Calls]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Prometheus's own protocol."""
        calls = self._read()
        made = CounterMetricFamily("irs_callbacks", "Attempts at callbacks by what became of them.",
                                   labels=["outcome"])
        for outcome, number in calls.outcomes.items():
            made.add_metric([outcome], number)
        yield made
        yield GaugeMetricFamily("irs_queued_callbacks", "Callbacks in this process's memory that are "
                                "due or will be.", value=calls.queued)


def _age(heard: float | None) -> float:
    return -1.0 if heard is None else time.monotonic() - heard


@blueprint.get("/metrics")
@describes("This process's figures", tag="service", answers={
    200: ("Prometheus's text form.", {"text/plain": TEXT})})
def metrics() -> Response:
    """This process's figures."""
    return Response(generate_latest(services().metrics.registry), content_type=CONTENT_TYPE_LATEST)
