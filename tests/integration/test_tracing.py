"""Traces of real uploads through a real web tier and worker, read back as a receiver gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.collector import Collector, collecting
from tests.integration.conftest import Service, Web, Worker

pytestmark = pytest.mark.integration

#: So that a test need not wait for the usual five seconds.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service], collector: Collector) -> Service:
    return make_service(cloud, traces=collector.url)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web(**SOON)


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    return service.worker(**SOON)


def test_one_upload_is_one_trace_from_request_to_answer(service, web, worker, photos, collector):
    answer = web.upload(("coffee.jpg", photos["coffee"]), Accept="application/json")
    _version, trace, *_ = answer.headers["traceresponse"].split("-")
    assert collector.whole(trace, "POST /upload", "irs.answer", f"send {service.settings.input_queue}")
