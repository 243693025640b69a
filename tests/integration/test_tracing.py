"""Traces of real uploads through a real web tier and worker, read back as a receiver gets them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.collector import Collector, Span, collecting, tree
from tests.integration.conftest import Service, Web, Worker, form, until

pytestmark = pytest.mark.integration

#: So that a test need not wait for the usual five seconds.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
#: What a client says of its own trace.
THEIRS, ITS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENT = {"traceparent": f"00-{THEIRS}-{ITS_SPAN}-01", "tracestate": "vendor=opaque"}
#: A file's name that must be in no span.
NAME = "Lovers in Room 7.jpg"


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
    # Its first image breaks it: a test's first upload is a job of two attempts.
    return service.worker("failing_worker.py", **SOON)


def one(spans: list[Span], name: str, **attributes: object) -> Span:
    (found,) = [s for s in spans if s.name == name and attributes.items() <= s.attributes.items()]
    return found


def names(service: Service) -> tuple[str, str, str, str]:
    """Of the queues' spans: the send, its receive and process, and the announcement."""
    queue = service.settings.input_queue
    return (f"send {queue}", f"receive {queue}", f"process {queue}",
            f"send {service.settings.output_queue}-web")


def test_a_job_of_two_attempts_answered_to_a_later_request(web, service, photos, collector, request):
    """In this order: there is no worker yet."""
    send, receive, process, announce = names(service)
    accepted = web.upload((NAME, photos["coffee"]), Prefer="wait=0")
    assert accepted.status == 202
    trace = accepted.headers["traceresponse"].split("-")[1]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(web.call, "GET", accepted.headers["Location"],
                           headers={"Prefer": "wait=60", **CLIENT})
        request.getfixturevalue("worker")
        done = poll.result(90)
    assert (done.status, done.json["label"], done.json["attempts"]) == (200, "espresso", 2)

    spans = collector.whole(trace, "POST /upload", process, process, receive, receive, announce)
    first, second = one(spans, process, **{"irs.attempt": 1}), one(spans, process, **{"irs.attempt": 2})
    sent = one(spans, send)
    assert first.parent == second.parent == sent.id
    assert (first.failed, first.attributes["error.type"]) == (True, "RuntimeError")
    assert (second.failed, second.attributes["irs.status"]) == (False, "done")
    assert first.ended < second.began
    assert {span.parent for span in spans if span.name == "irs.decode"} == {first.id, second.id}

    # The request that was told of it is in the client's own trace, and points here.
    assert done.headers["traceresponse"].split("-")[1] == THEIRS
    theirs = collector.whole(THEIRS, "GET /v1/images/<text>", "irs.wait", "irs.answer")
    server = one(theirs, "GET /v1/images/<text>")
    assert (server.parent, server.kind) == (ITS_SPAN, "server")
    assert server.links == ((trace, one(spans, "irs.submit").id),)
    answer = one(theirs, "irs.answer")
    assert (answer.parent, answer.links) == (server.id, ((trace, one(spans, announce).id),))


def test_one_upload_is_one_trace_from_request_to_answer(web, worker, service, photos, collector):
    send, receive, process, announce = names(service)
    began = time.time_ns()
    answer = web.upload((NAME, photos["rocket"]), Accept="application/json")
    answered = time.time_ns()
    (result,) = answer.json["results"]
    trace = answer.headers["traceresponse"].split("-")[1]
    spans = collector.whole(trace, "POST /upload", process, announce, "irs.engine", "irs.answer")
    assert tree(spans) == [
        "irs-web POST /upload",
        "  irs-web irs.submit",
        "    irs-web S3.PutObject",
        f"    irs-web {send}",
        f"      irs-worker {receive}",
        f"      irs-worker {process}",
        "        irs-worker S3.GetObject",
        "        irs-worker irs.decode",
        "        irs-worker irs.infer",
        "          irs-worker irs.engine",
        "        irs-worker S3.PutObject",
        f"        irs-worker {announce}",
        "  irs-web irs.wait",
        "  irs-web irs.answer",
    ]
    kinds = {span.name: span.kind for span in spans}
    assert kinds == {
        "POST /upload": "server", "irs.submit": "internal", "S3.PutObject": "client", send: "producer",
        receive: "client", process: "consumer", "S3.GetObject": "client", "irs.decode": "internal",
        "irs.infer": "internal", "irs.engine": "internal", announce: "producer", "irs.wait": "internal",
        "irs.answer": "internal"}
    by_id = {span.id: span for span in spans}
    for span in spans:
        # The client may have its answer before those who gave it know that it has.
        assert began <= span.began <= answered, span
        assert span.began <= span.ended <= time.time_ns(), span
        above = by_id.get(span.parent)
        if above is not None and span.name not in (receive, process, announce):
            assert above.began <= span.began <= span.ended <= above.ended, span
        assert not span.failed
    done, server = one(spans, process), one(spans, "POST /upload")
    assert done.attributes["irs.job.id"] == server.attributes["irs.job.id"] == result["id"]
    assert done.attributes["irs.model.version"] == result["model"]["version"]
    assert done.attributes["messaging.message.id"]
    assert server.attributes["http.response.status_code"] == 200
    assert one(spans, "irs.engine").attributes["irs.batch.size"] == 1
    assert one(spans, "irs.answer").links == ((trace, one(spans, announce).id),)
    assert one(spans, "irs.decode").attributes["irs.input.format"] == "JPEG"


def test_a_client_s_trace_goes_on_and_one_that_is_not_recorded_is_not(web, worker, photos, collector):
    mine = "0af7651916cd43dd8448eb211c80319c"
    assert web.upload((NAME, photos["coffee"]), traceparent=f"00-{mine}-b7ad6b7169203331-00").status == 200
    answer = web.upload((NAME, photos["coffee"]), traceparent=f"00-{mine[::-1]}-b7ad6b7169203331-01")
    assert answer.headers["traceresponse"].split("-")[1] == mine[::-1]
    spans = collector.whole(mine[::-1], "POST /upload", "irs.answer", "irs.decode")
    assert one(spans, "POST /upload").parent == "b7ad6b7169203331"
    # It was sent before the other one.
    assert not collector.trace(mine)


def test_an_image_that_fails_is_named_and_no_error_of_the_request(web, worker, service, photos, collector):
    _, _, process, announce = names(service)
    answer = web.upload((NAME, photos["coffee"][:20_000]))
    assert answer.status == 422
    trace = answer.headers["traceresponse"].split("-")[1]
    spans = collector.whole(trace, "POST /upload", process, announce)
    decode, done = one(spans, "irs.decode"), one(spans, process)
    assert (decode.failed, decode.attributes["error.type"]) == (True, "undecodable")
    assert (done.failed, done.attributes["irs.status"], done.attributes["error.type"]) == (
        False, "failed", "undecodable")
    assert not one(spans, "POST /upload").failed


def test_files_of_one_request_are_beside_each_other(web, worker, service, photos, collector):
    _, _, process, _ = names(service)
    answer = web.upload(*[(f"{n} {NAME}", photos["coffee"]) for n in range(3)])
    spans = collector.whole(answer.headers["traceresponse"].split("-")[1],
                            "POST /upload", process, process, process, "irs.answer")
    submits = [span for span in spans if span.name == "irs.submit"]
    assert {span.parent for span in submits} == {one(spans, "POST /upload").id}
    assert len({span.attributes["irs.job.id"] for span in submits}) == 3
    assert len(one(spans, "irs.answer").links) == 3


def test_each_image_of_a_batch_has_a_trace_linked_with_the_request(web, worker, service, photos, collector):
    _, _, process, _ = names(service)
    body, kind = form(("a.jpg", photos["coffee"]), ("b.jpg", photos["rocket"]), field="files")
    answer = web.call("POST", "/v1/batches", body, {"Content-Type": kind})
    request = answer.headers["traceresponse"].split("-")[1]

    def feeds() -> list[Span]:
        found = [s for s in collector.spans if s.attributes.get("irs.batch.id") == answer.json["id"]
                 and s.name == "irs.feed"]
        return found if len(found) == 2 else []

    first, second = until(feeds, 30, "both images fed")
    assert len({first.trace, second.trace, request}) == 3
    assert first.links == second.links == ((request, one(collector.trace(request), "POST /v1/batches").id),)
    spans = collector.whole(first.trace, process)
    assert one(spans, process).attributes["irs.job.id"] == first.attributes["irs.job.id"]


def test_the_log_s_lines_name_the_trace_and_the_job(web, worker, photos):
    answer = web.upload((NAME, photos["coffee"]), Accept="application/json")
    trace = answer.headers["traceresponse"].split("-")[1]
    (result,) = answer.json["results"]
    until(lambda: web.output.count(result["id"]) >= 2)
    for process, events in ((web, ["job.accepted", "web.answered"]), (worker, ["job.finished"])):
        lines = [json.loads(line) for line in process.output.splitlines() if result["id"] in line]
        assert [(line["event"], line["trace_id"]) for line in lines] == [(e, trace) for e in events]


def test_no_span_has_a_file_s_name_or_a_key(web, worker, collector):
    """Of all the spans that the tests before this one have made."""
    assert len(collector.spans) > 50
    told = [text for span in collector.spans for text in (span.name, *map(str, span.attributes.values()))]
    assert not [text for text in told if "Lovers" in text or "Room" in text or ".jpg" in text.lower()]


@pytest.fixture
def silent() -> Iterator[str]:
    """A receiver that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for sock in held:
            sock.close()


@pytest.mark.parametrize("kind", ["nobody there", "never answers"])
def test_a_receiver_that_fails_costs_one_line_and_nothing_else(kind, cloud, make_service, photos, silent):
    # Port 9 of loopback refuses at once.
    traces = silent if kind == "never answers" else "http://127.0.0.1:9"
    service = make_service(cloud, traces=traces)
    soon = {**SOON, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    web, worker = service.web(**soon), service.worker(**soon)
    for _ in range(5):
        assert web.upload(("coffee.jpg", photos["coffee"])).text == "(coffee, espresso)\n"
    for process in (web, worker):
        until(lambda p=process: p.said("tracing.export_failed"), 15)
    # So that each has something to send when it is stopped.
    assert web.upload(("coffee.jpg", photos["coffee"])).status == 200
    for process in (web, worker):
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 8
        assert process.output.count("tracing.export_failed") == 1
        assert "Traceback" not in process.output
