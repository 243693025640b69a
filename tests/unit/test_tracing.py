"""The seam that is off, and the one that sends to a receiver of the test's own."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from irs import errors, log, settings, tracing
from irs.audit import sending, uploads
from irs.aws.queues import Message
from irs.broker import envelope
from irs.domain.callbacks import Answer
from irs.domain.jobs import Failure, Job, Result, Status
from irs.model.batcher import Batcher
from irs.testing import MemoryObjects
from irs.tracing import otel
from irs.tracing.export import Exporter
from irs.worker import traced
from tests.collector import Collector, Span, collecting, tree
from tests.unit.callbacks import callkit
from tests.unit.model.test_model_batcher import HeldEngine, image
from tests.unit.scaler.test_loop import Rig

#: A client's.
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=opaque"}

Start = Callable[..., Collector]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(role, **settings)`` records to a receiver until the test's end."""
    with contextlib.ExitStack() as stack:
        def begin(role: str = "web", **values: Any) -> Collector:
            collector = stack.enter_context(collecting())
            tracing.start(settings.build({"traces": collector.url, **values}), role)
            return collector

        stack.callback(tracing.stop)
        yield begin
        tracing.stop()


def sent(collector: Collector) -> list[Span]:
    """Everything, in the order of its begin."""
    tracing.stop()
    return collector.spans


# -- off --------------------------------------------------------------------------------------
def test_off_nothing_is_recorded_carried_or_kept() -> None:
    tracing.start(settings.build(), "web")
    assert not tracing.on()
    with tracing.span("a") as span, tracing.s3("GetObject", "b"), tracing.within(None):
        span.set({"x": 1})
        span.fail("no")
        tracing.note({"x": 1})
        assert span is tracing.NOWHERE
        assert (tracing.place(), tracing.carried(), tracing.read(CLIENT)) == (None, {}, None)
    tracing.remember("id", object())
    tracing.hear("id", CLIENT)
    assert tracing.recall("id") is None
    assert tracing.answering(["id"]) is tracing.together("b", [None]) is tracing.NOWHERE
    assert tracing.carrying(print) is print
    tracing.stop()


def test_off_a_message_has_no_headers_of_a_trace() -> None:
    message = Message(id="m", body="{}", receipt="r", receives=1, sent_ms=0)

    class Source:
        url = "u"

    assert envelope.read(message, Source()).get("headers") == {
        "irs_receives": 1, "irs_sent": 0}


# -- on ---------------------------------------------------------------------------------------
def test_spans_find_the_one_around_them_and_what_fails_is_a_code(start: Start) -> None:
    collector = start()
    with tracing.span("outer", "server", {"a": 1, "b": None}) as outer:
        with pytest.raises(errors.Undecodable), tracing.span("inner"):
            raise errors.Undecodable("Mrs Fox's photograph.jpg")
        with contextlib.suppress(KeyError), tracing.span("other"):
            raise KeyError("Mrs Fox's photograph.jpg")
        assert outer.recorded
    outer, inner, other = sent(collector)
    assert tree([outer, inner, other]) == ["irs-web outer", "  irs-web inner", "  irs-web other"]
    assert dict(outer.attributes) == {"a": 1}
    assert (inner.failed, dict(inner.attributes)) == (True, {"error.type": "undecodable"})
    assert (other.failed, dict(other.attributes)) == (True, {"error.type": "KeyError"})
    assert not outer.failed
    assert "Fox" not in str(collector.receiver.calls)


def test_inner_spans_are_only_below_others(start: Start) -> None:
    collector = start()
    with tracing.s3("GetObject", "alone"):
        pass
    with tracing.span("a"), tracing.s3("GetObject", "bucket"):
        pass
    assert tree(sent(collector)) == ["irs-web a", "  irs-web S3.GetObject"]


def test_a_place_goes_to_other_threads_and_processes(start: Start) -> None:
    collector = start()
    with tracing.span("request", at=tracing.read(CLIENT)) as request:
        carried = tracing.carried()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(tracing.carrying(lambda n: tracing.span(f"file {n}").end()), range(3)))
            pool.submit(lambda: tracing.span("nobody's").end()).result()
        place = request.place
    with tracing.within(tracing.read(carried)), tracing.span("elsewhere"):
        pass
    tracing.span("late", at=place).end()
    assert carried["tracestate"] == "vendor=opaque"
    spans = {span.name: span for span in sent(collector)}
    assert (spans["request"].trace, spans["request"].parent) == (TRACE, PARENT)
    for name in ("file 0", "file 1", "file 2", "elsewhere", "late"):
        assert (spans[name].trace, spans[name].parent) == (TRACE, spans["request"].id), name
    assert spans["nobody's"].trace != TRACE


@pytest.mark.parametrize("headers", [
    {}, {"traceparent": None}, {"traceparent": 7}, {"traceparent": "nonsense"}, {"traceparent": ""},
    {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}, {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
    {"traceparent": f"ff-{TRACE}-{PARENT}-01"}, {"traceparent": f"00-{TRACE}-{PARENT}"},
    {"traceparent": "x" * 100_000}, {"traceparent": f"00-{TRACE}\n-{PARENT}-01"},
    {"tracestate": "vendor=opaque"}, {"traceparent": ["00"]}, {"baggage": "name=Mrs Fox"},
])
def test_what_is_no_place_is_nowhere(headers: dict[str, Any], start: Start) -> None:
    start()
    assert tracing.read(headers) is None


def test_a_vendor_s_own_nonsense_does_not_lose_the_place(start: Start) -> None:
    start()
    assert tracing.read({**CLIENT, "tracestate": "=" * 5000}) is not None


def test_a_client_may_leave_a_request_out_and_not_bring_it_in(start: Start) -> None:
    collector = start(trace_share=0.0)
    with tracing.span("asked for", at=tracing.read(CLIENT)) as span:
        assert not span.recorded
        assert tracing.carried()["traceparent"].split("-")[1] == TRACE
        assert int(tracing.carried()["traceparent"][-2:], 16) & 1 == 0
    assert sent(collector) == []


def test_what_our_own_processes_decided_is_decided(start: Start) -> None:
    collector = start("worker", trace_share=0.0)
    tracing.span("theirs", at=tracing.read(CLIENT)).end()
    tracing.span("mine").end()
    assert [(span.service, span.name) for span in sent(collector)] == [("irs-worker", "theirs")]


def test_half_of_them_is_half_of_them(start: Start) -> None:
    start(trace_share=0.5)
    recorded = sum(tracing.span("a").recorded for _ in range(2000))
    assert 850 < recorded < 1150


# -- the engine -------------------------------------------------------------------------------
def test_a_batch_is_below_one_of_its_images_and_linked_with_the_others(start: Start) -> None:
    collector = start("worker")
    engine = HeldEngine(held=True)
    with Batcher(engine, max_batch=4) as batcher:
        def infer(number: int) -> Any:
            with tracing.span(f"image {number}"):
                return batcher.submit(image(number))

        alone = infer(0)
        engine.wait_entered()
        futures = [infer(n) for n in (1, 2)] + [batcher.submit(image(9))]
        engine.go.set()
        for future in (alone, *futures):
            future.result(10)
    spans = sent(collector)
    first, second = [span for span in spans if span.name == "irs.engine"]
    by_name = {span.name: span for span in spans}
    assert (first.parent, first.attributes["irs.batch.size"], first.links) == (by_name["image 0"].id, 1, ())
    assert (second.parent, second.attributes["irs.batch.size"]) == (by_name["image 1"].id, 3)
    assert second.links == ((by_name["image 2"].trace, by_name["image 2"].id),)
    assert second.attributes["irs.model.name"] == "held"


# -- jobs -------------------------------------------------------------------------------------
@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is handed to Celery to be sent."""
    from irs.celery import app

    found: list[dict[str, Any]] = []
    monkeypatch.setattr(app, "send_task", lambda *_, **options: found.append(options))
    return found


def test_a_job_that_is_sent_again_goes_on_where_it_was_sent(
        start: Start, messages: list[dict[str, Any]]) -> None:
    collector = start()
    send = sending.celery_sender()
    with tracing.span("submit"):
        send(JOB, reply_to="q")
    send(JOB, reply_to="q")  # by the audit, in a thread of its own
    submit, one, again = sent(collector)
    assert one.parent == again.parent == submit.id
    assert [message["headers"]["traceparent"].split("-")[1:3] for message in messages] == [
        [span.trace, span.id] for span in (one, again)]
    assert (one.kind, one.attributes["messaging.system"], one.attributes["irs.job.id"]) == (
        "producer", "aws_sqs", JOB.id)


def test_off_a_job_is_sent_without_headers(messages: list[dict[str, Any]]) -> None:
    sending.celery_sender()(JOB, reply_to="q")
    assert messages[0]["headers"] == {}


def test_another_process_finds_a_job_s_place_in_its_upload(start: Start) -> None:
    start()
    inputs = MemoryObjects("in")
    job_id = "7f3c0a52-0f3a-4d0e-9c39-1a2b3c4d5e6f"
    inputs.put(f"{job_id}/a.jpg", b"x", metadata={uploads.NAME: "a.jpg", **CLIENT})
    assert uploads.find(inputs, job_id).id == job_id
    tracing.span("send", at=tracing.recall(job_id)).end()
    with tracing.within(tracing.recall(job_id)):
        assert tracing.carried()["traceparent"].split("-")[1:3] == [TRACE, PARENT]


def test_what_is_remembered_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "JOBS", 3)
    start()
    for number in range(5):
        tracing.remember(str(number), tracing.read(CLIENT))
    assert [n for n in range(5) if tracing.recall(str(n)) is not None] == [2, 3, 4]


def test_the_last_span_begins_when_the_last_result_was_heard(start: Start) -> None:
    collector = start()
    tracing.hear("a", CLIENT)
    between = time.time_ns()
    tracing.hear("b", {})
    with tracing.span("request"):
        tracing.answering(["a", "b", "never heard"]).end()
    tracing.answering(["a"]).end()  # outside of any request
    answer, request = sent(collector)
    assert between <= answer.began <= request.began
    assert (answer.parent, answer.links) == (request.id, ((TRACE, PARENT),))


def test_a_message_tells_when_it_came(start: Start) -> None:
    start("worker")
    body = json.dumps({"body": "", "properties": {}, "headers": {**CLIENT, "irs_received": "forged"}})

    class Source:
        url = "u"

    message = Message(id="m", body=body, receipt="r", receives=2, sent_ms=0)
    headers = envelope.read(message, Source())["headers"]
    assert headers["traceparent"] == CLIENT["traceparent"]
    assert headers[envelope.MESSAGE_HEADER] == "m"
    assert abs(headers[envelope.RECEIVED_HEADER] - time.time_ns()) < 60e9


# -- the other rooms --------------------------------------------------------------------------
class Request:
    """Celery's, as far as it is asked: what a message's headers hold."""

    def __init__(self, **headers: Any) -> None:
        self.get = headers.get


JOB = Job(id="7f3c0a52-0f3a-4d0e-9c39-1a2b3c4d5e6f", image="secret.jpg",
          key="7f3c0a52-0f3a-4d0e-9c39-1a2b3c4d5e6f/secret.jpg", received=datetime.now(UTC))


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": 7}])
def test_a_message_without_a_trace_begins_one(headers: dict[str, Any], start: Start) -> None:
    collector = start("worker")
    with traced.processing(JOB, Request(**headers, irs_message="m-1", irs_received=time.time_ns()), 1):
        pass
    (only,) = sent(collector)
    assert (only.name, only.parent) == (f"process {settings.build().input_queue}", "")
    assert only.attributes["messaging.message.id"] == "m-1"


def test_a_failure_of_the_service_s_own_is_an_error(start: Start) -> None:
    collector = start("worker")
    for code in ("undecodable", "gave_up"):
        with traced.processing(JOB, Request(), 5) as span:
            traced.finished(span, Result(id=JOB.id, image=JOB.image, status=Status.FAILED,
                                         error=Failure(code=code, message="of Mrs Fox")))
    refused, broken = sent(collector)
    assert (refused.failed, refused.attributes["error.type"]) == (False, "undecodable")
    assert (broken.failed, broken.attributes["error.type"]) == (True, "gave_up")
    assert "Fox" not in str(collector.receiver.calls)


def test_a_callback_is_below_its_job_and_tells_the_receiver(start: Start) -> None:
    collector = start()
    world = callkit.World()
    process = world.process()
    with tracing.span("submit") as submit:
        job_id = process.job()
        tracing.remember(job_id, submit.place)
    world.payloads[job_id] = b"{}"
    world.answer = lambda: Answer(status=500)
    process.told(job_id)
    assert process.call() == 1
    (_, _, headers), = world.posts
    one, call = sent(collector)
    assert (call.name, call.kind, call.parent, call.failed) == ("POST", "client", one.id, True)
    assert headers["traceparent"].split("-")[1:3] == [call.trace, call.id]
    assert call.attributes == {
        "http.request.method": "POST", "server.address": "hooks.example.com", "irs.job.id": job_id,
        "http.response.status_code": 500, "error.type": "500"}


def test_a_round_of_the_scaler_that_acts_has_a_trace(start: Start) -> None:
    collector = start("scaler")
    rig = Rig(max_instances=1)
    rig.fill(3)
    rig.rounds(5)
    (only,) = sent(collector)
    assert (only.service, only.name) == ("irs-scaler", "irs.scale")
    assert (only.attributes["irs.scaler.launch"], only.attributes["irs.scaler.terminate"]) == (1, 0)


# -- logs -------------------------------------------------------------------------------------
def test_lines_within_a_span_name_its_trace(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start()
    log.configure("INFO", "json")
    with tracing.span("a", at=tracing.read(CLIENT)):
        log.get("web").info("x.y")
        logging.getLogger("celery").warning("theirs")
    log.get("web").info("x.z")
    tracing.stop()
    with tracing.span("b"):
        log.get("web").info("x.off")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("trace_id") for line in lines] == [TRACE, TRACE, None, None]


def test_without_opentelemetry_the_service_works(
        monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    monkeypatch.setitem(sys.modules, "irs.tracing.otel", None)
    tracing.start(settings.build({"traces": "http://127.0.0.1:9"}), "worker")
    assert not tracing.on()
    assert [event["event"] for event in events] == ["tracing.not_installed"]


# -- receivers that fail ----------------------------------------------------------------------
def test_a_receiver_that_fails_is_told_once_and_once_more_when_it_is_well(events: list[Any]) -> None:
    now = [0.0]
    with collecting() as collector:
        collector.receiver.answer = lambda number: 200 if number == 4 else 400
        exporter = Exporter(f"{collector.url}/", clock=lambda: now[0])
        for _ in range(4):
            exporter.export([])
        now[0] = 5.0
        exporter.export([])
        assert [event["event"] for event in events] == ["tracing.export_failed", "tracing.export_recovered"]
        now[0] = 601.0
        exporter.export([])
        exporter.shutdown()
        exporter.export([])
    assert [event["event"] for event in events[2:]] == ["tracing.export_failed"]
    assert "400" in events[0]["why"]
    assert {event["to"] for event in events} == {f"127.0.0.1:{collector.receiver.port}"}


@pytest.mark.parametrize(("given", "asked"), [
    ("", "/v1/traces"), ("/", "/v1/traces"), ("/otlp/v1/traces", "/otlp/v1/traces")])
def test_an_address_without_a_path_gets_otlp_s_own(given: str, asked: str) -> None:
    with collecting() as collector:
        exporter = Exporter(collector.url + given)
        exporter.export([])
        exporter.shutdown()
        assert [call.path for call in collector.receiver.calls] == [asked]


def test_the_end_waits_for_no_receiver_that_hangs(
        monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    monkeypatch.setattr(otel, "GRACE", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        tracing.start(settings.build({"traces": f"http://127.0.0.1:{server.getsockname()[1]}"}), "web")
        tracing.span("a").end()
        began = time.monotonic()
        tracing.stop()
        assert time.monotonic() - began < 5
        (last,) = [thread for thread in threading.enumerate() if thread.name == "tracing-last"]
        connection, _ = server.accept()
        connection.close()
        last.join(20)
    assert events == []  # nobody is left to read it


def test_more_spans_than_can_wait_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    monkeypatch.setattr(otel, "GRACE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        tracing.start(settings.build({"traces": f"http://127.0.0.1:{server.getsockname()[1]}"}), "web")
        began = time.monotonic()
        for _ in range(2000):
            tracing.span("a").end()
        assert time.monotonic() - began < 5
        tracing.stop()
        threads = [thread for thread in threading.enumerate() if thread.name == "tracing-last"]
        connection, _ = server.accept()
        connection.close()
        for thread in threads:
            thread.join(20)
