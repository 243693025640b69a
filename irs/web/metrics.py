"""Counters of the web tier, in Prometheus's text form; every label has few values."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from irs import __version__
from irs.web.services import services

#: Seconds: a warm answer, a queue, a cold fleet, the longest default wait.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
#: Methods that a label may carry; a client may send any token.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

blueprint = Blueprint("metrics", __name__)


class Metrics:
    """One registry an application, so that several may live in one process."""

    def __init__(self, *, waiting: Callable[[], int], heard: Callable[[], float | None]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.uploads = Counter(
            "irs_uploads_total", "Files by what became of them within their request.",
            ["outcome"], registry=self.registry)
        self.seconds = Histogram(
            "irs_upload_seconds", "From an upload's whole body to its answer.",
            buckets=BUCKETS, registry=self.registry)
        self.overloads = Counter(
            "irs_overloads_total", "Requests refused because too many were waiting.",
            registry=self.registry)
        self.requests = Counter(
            "irs_http_requests_total", "Requests by route, method and status code.",
            ["route", "method", "code"], registry=self.registry)
        Gauge("irs_waiting_clients", "Requests that wait for a result now.",
              registry=self.registry).set_function(waiting)
        Gauge("irs_announcement_age_seconds",
              "Since the reply queue last answered; -1 before it was asked.",
              registry=self.registry).set_function(lambda: _age(heard()))
        Gauge("irs_build_info", "Always 1.", ["version"],
              registry=self.registry).labels(__version__).set(1)

    def request(self, route: str | None, method: str, code: int) -> None:
        """Count one answered request; ``route`` is the rule, never the path."""
        self.requests.labels(route or "unmatched", method if method in METHODS else "other",
                             str(code)).inc()


def _age(heard: float | None) -> float:
    return -1.0 if heard is None else time.monotonic() - heard


@blueprint.get("/metrics")
def metrics() -> Response:
    """This process's figures."""
    return Response(generate_latest(services().metrics.registry), content_type=CONTENT_TYPE_LATEST)
