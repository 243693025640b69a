"""Counters of the web tier, in Prometheus's text form; every label has few values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from flask import Blueprint, Response
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from irs import metrics as shared
from irs.audit.upkeep import Counts
from irs.aws import calls
from irs.bulk import feeder
from irs.callbacks.calling import OUTCOMES as CALLED
from irs.callbacks.upkeep import Counts as Calls
from irs.metrics import Read, known
from irs.web.describing import TEXT, describes
from irs.web.services import services

#: Seconds: a warm answer, a queue, a cold fleet, the longest default wait.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
#: What may become of a file, or of the request that brought it: `irs.web.outcomes.Outcome.kind`.
KINDS = ("done", "failed", "cancelled", "queued", "refused", "unavailable", "lost")
#: Why the server ends a connection.
ENDS = ("late", "incomplete", "evicted", "client_limit", "client_idle", "shed", "unread")
#: Methods that a label may carry; a client may send any token.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

blueprint = Blueprint("metrics", __name__)


class Metrics:
    """One registry an application, so that several may live in one process."""

    def __init__(self, *, waiting: Callable[[], int], streams: Callable[[], int],
                 heard: Callable[[], float | None], upkeep: Callable[[], Counts],
                 bulk: Callable[[], feeder.Counts], callbacks: Callable[[], Calls]) -> None:
        self.registry = registry = shared.registry()
        for read in (lambda: _upkeep(upkeep()), lambda: _bulk(bulk()), lambda: _callbacks(callbacks()),
                     lambda: shared.cloud_calls(calls.TALLY.read(), calls.BOUNDS), shared.disk,
                     lambda: _heard(heard())):
            registry.register(Read(read))
        self.uploads = Counter(
            "irs_uploads_total", "Files by what became of them within their request.",
            ["outcome"], registry=registry)
        self.reuse = Counter("irs_reuse_total", "Files by whether the same bytes had been classified "
                             "before.", ["outcome"], registry=registry)
        self._seconds = Histogram(
            "irs_upload_seconds", "From an upload's whole body to its answer, by what became of its files.",
            ["outcome"], buckets=BUCKETS, registry=registry)
        self.overloads = Counter("irs_overloads_total", "Requests refused because too many wait or the "
                                 "queue is too long.", registry=registry)
        self.requests = Counter(
            "irs_http_requests_total", "Requests by route, method and status code.",
            ["route", "method", "code"], registry=registry)
        #: requests that the application has begun and not ended
        self.running = Gauge("irs_http_requests_running", "Requests that are being answered now.",
                             registry=registry)
        self.connections = Gauge("irs_connections", "Open connections of clients.", registry=registry)
        self.ended = Counter(
            "irs_connections_ended_total", "Connections that the server ended before their request "
            "had arrived, or their answer been read.", ["reason"], registry=registry)
        #: results that were found in S3 and had not been announced
        self.missed = Counter(
            "irs_missed_announcements_total", "Results that a waiting request found in S3, unannounced.",
            registry=registry)
        for name, about, now in (
                ("irs_waiting_clients", "Requests that wait for a result now.", waiting),
                ("irs_event_streams", "Clients that follow their jobs on a stream of events.", streams)):
            Gauge(name, about, registry=registry).set_function(now)
        for family, values in ((self.uploads, KINDS), (self._seconds, KINDS), (self.ended, ENDS),
                               (self.reuse, ("hit", "miss", "coalesced"))):
            for value in values:  # a rate needs all of them from the start
                family.labels(value)

    def answered(self, kinds: Sequence[str], began: float) -> None:
        """A request whose files became this is answered; ``began`` is a `time.monotonic`."""
        kind = next((k for k in ("queued", "done") if k in kinds), kinds[0])
        self._seconds.labels(kind).observe(time.monotonic() - began)

    def request(self, route: str | None, method: str, code: int) -> None:
        """Count one answered request; ``route`` is the rule, never the path."""
        self.requests.labels(route or "unmatched", method if method in METHODS else "other",
                             str(code)).inc()


def _heard(at: float | None) -> Iterator[Metric]:
    """``at`` is a `time.monotonic`."""
    return known("irs_reply_queue_answered_timestamp_seconds", "When the reply queue last answered.",
                 shared.wall(at))


def _upkeep(counts: Counts) -> Iterator[Metric]:
    """The figures of `irs.audit.upkeep`."""
    yield GaugeMetricFamily("irs_pending_jobs", "Jobs that this process accepted, without a "
                            "result so far.", value=counts.pending)
    yield from known("irs_oldest_pending_job_timestamp_seconds", "When the oldest of them was accepted.",
                     shared.wall(counts.oldest))
    yield GaugeMetricFamily("irs_lost_jobs", "Those of them that fell out of the queue and "
                            "could not be sent again so far.", value=counts.lost)
    yield CounterMetricFamily("irs_requeued_jobs", "Jobs sent again because the queue had lost them.",
                              value=counts.requeued)
    yield CounterMetricFamily("irs_forgotten_jobs", "Jobs that are looked after no more for want "
                              "of room.", value=counts.forgotten)
    yield CounterMetricFamily("irs_dead_letter_failures", "Failures written for dead letters.",
                              value=counts.dead_letters)
    yield from known("irs_dead_letter_messages", "Messages in the dead-letter queue, at a look each half "
                     "minute.", counts.letters)


def _bulk(counts: feeder.Counts) -> Iterator[Metric]:
    """The figures of `irs.bulk.feeder`."""
    yield GaugeMetricFamily("irs_batches", "Batches that this process feeds.", value=counts.batches)
    yield GaugeMetricFamily("irs_batch_window", "Messages of batches that this process may have "
                            "outstanding.", value=counts.window)
    yield GaugeMetricFamily("irs_batch_outstanding", "Messages of batches that it has outstanding.",
                            value=counts.outstanding)
    yield CounterMetricFamily("irs_batch_sent", "Images of batches sent to the queue.", value=counts.sent)
    yield CounterMetricFamily("irs_batch_heard", "Results of batches heard of.", value=counts.heard)


def _callbacks(made: Calls) -> Iterator[Metric]:
    """The figures of `irs.callbacks.upkeep`."""
    attempts = CounterMetricFamily("irs_callbacks", "Attempts at callbacks by what became of them.",
                                   labels=["outcome"])
    for outcome in CALLED:
        attempts.add_metric([outcome], made.outcomes.get(outcome, 0))
    yield attempts
    yield GaugeMetricFamily("irs_queued_callbacks", "Callbacks in this process's memory that are "
                            "due or will be.", value=made.queued)


@blueprint.get("/metrics")
@describes("This process's figures", tag="service", answers={
    200: ("Prometheus's text form.", {"text/plain": TEXT})})
def metrics() -> Response:
    """This process's figures."""
    return Response(generate_latest(services().metrics.registry), content_type=CONTENT_TYPE_LATEST)
