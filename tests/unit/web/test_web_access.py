"""One line a request, and what it may say; and its span."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs import errors, settings, tracing
from tests.collector import Collector, collecting
from tests.unit.web.test_web_reuse import Worker
from tests.unit.web.webkit import Service, failed, picture


def lines(events: list[Any]) -> list[dict[str, Any]]:
    """Those of requests, without what a clock says."""
    found = [dict(event) for event in events if event["event"] == "web.answered"]
    for line in found:
        assert line.pop("seconds") >= 0
        line.pop("event")
    return found


def test_one_file_s_line_has_its_id(service: Service, events: list[Any]) -> None:
    service.post(("secret.jpg", picture()))
    (job,) = service.sent
    assert lines(events) == [
        {"log_level": "info", "route": "/upload", "method": "POST", "status": 200, "id": job.id}]
    assert [e["id"] for e in events if e["event"] == "job.accepted"] == [job.id]
    assert "secret" not in str(events)


def test_several_files_have_a_line_each(service: Service, events: list[Any]) -> None:
    service.work = lambda job: failed(job) if job.image == "b.jpg" else None
    service.post(("a.jpg", picture()), ("b.jpg", picture()), ("c.txt", b"none"),
                 headers={"Prefer": "wait=0"})
    outcomes = {e["id"]: e["outcome"] for e in events if e["event"] == "job.answered"}
    assert {job.image: outcomes[job.id] for job in service.sent} == {"a.jpg": "queued", "b.jpg": "failed"}
    assert [(line["jobs"], "id" in line) for line in lines(events)] == [(2, False)]


def test_a_key_is_told_by_its_name_and_never_itself(
        make: Callable[..., Service], events: list[Any]) -> None:
    service = make(api_keys="ours:a-secret-of-sixteen-letters")
    service.client.get("/v1/stats", headers={"X-API-Key": "a-secret-of-sixteen-letters"})
    service.client.get("/v1/stats", headers={"X-API-Key": "some-other-secret-of-theirs"})
    assert [(line.get("key"), line["status"]) for line in lines(events)] == [("ours", 200), (None, 401)]
    assert "secret" not in str(events)


def test_whoever_asks_for_a_job_is_found_by_its_id(service: Service, events: list[Any]) -> None:
    service.post(("a.jpg", picture()))
    (job,) = service.sent
    for method in ("GET", "DELETE"):
        service.client.open(f"/v1/images/{job.id.upper()}", method=method)
    assert [line["id"] for line in lines(events)] == [job.id] * 3
    assert [line["route"] for line in lines(events)[1:]] == ["/v1/images/<text>"] * 2


def test_a_batch_s_line_has_the_batch(service: Service, events: list[Any]) -> None:
    made = service.client.post("/v1/batches", data={"files": [(io.BytesIO(picture()), "a.jpg")]})
    service.client.get(f"/v1/batches/{made.json['id']}")
    assert [line["batch"] for line in lines(events)] == [made.json["id"]] * 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/style.css"])
def test_probes_are_told_at_debug(path: str, service: Service, events: list[Any]) -> None:
    service.client.get(path).close()
    assert [(line["log_level"], line["status"]) for line in lines(events)] == [("debug", 200)]


def test_a_path_is_its_sender_s_own_words(service: Service, events: list[Any]) -> None:
    service.client.open("/secret?secret=1", method="SECRET")
    service.client.get("/v1/images/secret")
    assert [(line["route"], line["method"], line["status"]) for line in lines(events)] == [
        (None, "_OTHER", 404), ("/v1/images/<text>", "GET", 404)]
    assert "secret" not in str(events).lower()


def test_what_is_refused_or_breaks_has_its_line(make: Callable[..., Service], events: list[Any]) -> None:
    service = make(api_keys="alice:a-long-secret-of-hers")
    assert service.client.get("/v1/stats").status_code == 401
    key = {"Authorization": "Bearer a-long-secret-of-hers"}
    service.sight = errors.Unreachable("no")
    service.send_fails = errors.Unreachable("no")
    assert service.post(("a.jpg", picture()), headers=key).status_code == 503
    assert [line["status"] for line in lines(events)] == [401, 503]
    assert [e["id"] for e in events if e["event"] == "job.not_accepted"] == [lines(events)[1]["id"]]
    assert "long-secret" not in str(events)


# -- spans ------------------------------------------------------------------------------------
@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        tracing.start(settings.build({"traces": collector.url}), "web")
        yield collector
        tracing.stop()


def test_off_no_header_names_a_trace(service: Service) -> None:
    assert "traceresponse" not in service.post(("a.jpg", picture())).headers


def test_a_request_s_span(service: Service, collector: Collector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = service.post(("secret.jpg", picture()), headers={
        "traceparent": f"00-{trace}-00f067aa0ba902b7-01", "baggage": "name=secret"})
    version, told, span_id, flags = answer.headers["traceresponse"].split("-")
    answer.close()
    for path in ("/healthz", "/metrics", "/static/style.css"):
        probe = service.client.get(path)
        assert "traceresponse" not in probe.headers
        probe.close()
    tracing.stop()
    request, submit, wait, last = collector.spans
    assert [span.name for span in collector.spans] == [
        "POST /upload", "irs.submit", "irs.wait", "irs.answer"]
    assert (version, told, span_id, int(flags, 16) & 1) == ("00", trace, request.id, 1)
    assert request.attributes == {
        "http.request.method": "POST", "http.route": "/upload", "url.scheme": "http",
        "http.response.status_code": 200, "irs.job.id": service.sent[0].id}
    assert {span.parent for span in (submit, wait, last)} == {request.id}
    assert last.ended <= request.ended


def test_what_breaks_is_an_error_and_what_is_refused_is_none(
        service: Service, collector: Collector) -> None:
    service.post(("a.jpg", b"no image")).close()
    service.send_fails = errors.Unreachable("queue of Mrs Fox")
    service.post(("a.jpg", picture())).close()
    tracing.stop()
    refused, broken = [span for span in collector.spans if span.name == "POST /upload"]
    assert (refused.failed, refused.attributes["http.response.status_code"]) == (False, 415)
    assert (broken.failed, broken.attributes["error.type"]) == (True, "503")
    assert [span.attributes["error.type"] for span in collector.spans if span.name == "irs.submit"] == [
        "unsupported_format", "unavailable"]
    assert "Fox" not in str(collector.receiver.calls)


def test_the_same_bytes_again_point_at_the_first_job(
        make: Callable[..., Service], collector: Collector) -> None:
    service = make(reuse="process")
    service.work = Worker(service).result
    first = service.post(("a.jpg", picture()), headers={"Accept": "application/json"})
    again = service.post(("b.jpg", picture()), headers={"Accept": "application/json"})
    assert again.json["results"][0]["reused"]
    first.close()
    again.close()
    tracing.stop()
    one, two = [span for span in collector.spans if span.name == "irs.submit"]
    assert two.attributes["irs.reuse"] == "hit"
    assert two.attributes["irs.reuse.of"] == one.attributes["irs.job.id"] == service.sent[0].id


def test_a_repeat_of_a_key_says_so(service: Service, collector: Collector) -> None:
    service.work = lambda job: None
    for _ in range(2):
        service.client.post("/v1/images", data=picture(), content_type="image/jpeg",
                            headers={"Idempotency-Key": "k"}).close()
    tracing.stop()
    one, two = [span for span in collector.spans if span.name == "irs.submit"]
    assert "irs.repeat" not in one.attributes
    assert two.attributes["irs.repeat"] is True
    assert one.attributes["irs.job.id"] == two.attributes["irs.job.id"]
