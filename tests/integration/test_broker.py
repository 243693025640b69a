"""Celery over our transport: real worker processes, the real emulator, a proxy that breaks things."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from irs.aws import clients, provision
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import canary, keys, tasks
from irs.domain.jobs import Result
from irs.local.emulator import bind
from irs.results.store import ResultStore
from irs.settings import Settings
from irs.testing import proxy as proxying
from irs.worker import hearing
from tests.collector import collecting
from tests.integration.conftest import Process, environment, until

pytestmark = pytest.mark.integration

WORKER = Path(__file__).with_name("broker_worker.py")
STAMP = "2026-01-01T12:00:00.000Z"


class Bench:
    """One deployment: its queues, and as many workers as a test wants."""

    def __init__(self, settings: Settings, directory: Path, photo: bytes, stack: ExitStack) -> None:
        self.settings = settings
        self.hold = directory / "hold"
        self.reached = directory / "hold.reached"
        self.input = Queue(settings, settings.input_queue)
        self.dead = Queue(settings, settings.dead_letter_queue)
        self.results = ResultStore(settings)
        self._directory = directory
        self._photo = photo
        self._stack = stack
        self._objects = Objects(settings, settings.input_bucket)

    def worker(self, name: str = "worker", *options: str, **overrides: str) -> Process:
        """A worker that takes tasks."""
        process = Process(
            [sys.executable, str(WORKER), "worker", "--hostname", f"{name}@here", "--without-mingle",
             "--without-gossip", "--without-heartbeat", "--loglevel", "INFO", *options],
            environment(self.settings, HOLD=str(self.hold), **overrides), self._directory)
        self._stack.callback(_kill, process)
        until(lambda: process.said("worker.ready"), what="worker ready")
        return process

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``celery -A irs …`` in a process of its own."""
        return self._run("-m", "celery", "-A", "irs", *arguments)

    def broadcast(self, command: str) -> str:
        """A command that `celery control` does not know; returns the answers."""
        return self._run("-c", "import sys; from irs.celery import app; "
                         "print(app.control.broadcast(sys.argv[1], reply=True, timeout=5, "
                         "destination=['worker@here']))",  # who asks nobody by name waits to the end
                         command).stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True,
            env=environment(self.settings), cwd=self._directory, timeout=60, check=False)

    def send(self, count: int = 1) -> list[str]:
        """Jobs for real photographs, as the web tier sends them; returns their ids."""
        ids = [keys.new_id() for _ in range(count)]
        for job_id in ids:
            self.input.send(self.task(job_id))
        return ids

    def task(self, job_id: str) -> str:
        """The message of a job whose photograph is stored."""
        key = keys.input_key(job_id, "a.jpg")
        self._objects.put(key, self._photo)
        return envelope(tasks.CLASSIFY, [[job_id, key], {"name": "a.jpg", "received": STAMP}, {}], job_id)

    def done(self, job_id: str) -> Result | None:
        return self.results.read(job_id)

    def all_done(self, ids: list[str]) -> bool:
        return all(self.done(job_id) for job_id in ids)

    def empty(self) -> bool:
        depth = self.input.depth()
        return not (depth.visible or depth.in_flight or depth.delayed)

    def control_queues(self) -> list[str]:
        sqs = clients.client(self.settings, "sqs")
        return sqs.list_queues(QueueNamePrefix=f"{self.settings.cluster}-ctl-").get("QueueUrls", [])

    def subscriptions(self) -> list[str]:
        sns = clients.client(self.settings, "sns")
        return [s["SubscriptionArn"] for s in sns.list_subscriptions()["Subscriptions"]
                if f":{self.settings.cluster}-ctl-" in s["TopicArn"]]


def envelope(task: str, arguments: Any, task_id: str, **changes: Any) -> str:
    """kombu's envelope, as a sender without kombu would write it."""
    return json.dumps({
        "body": json.dumps(arguments), "content-type": "application/json", "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": task, "id": task_id, "retries": 0},
        "properties": {"correlation_id": task_id, "delivery_mode": 2, "delivery_tag": "x",
                       "delivery_info": {"exchange": "", "routing_key": "x"}, "priority": 0},
        **changes})


def _kill(process: Process) -> None:
    if process.popen.poll() is None:
        process.popen.kill()
    process.popen.wait(10)


@pytest.fixture
def make_bench(cloud: Any, photos: dict[str, bytes], tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """``make_bench(**settings)``; the processes end with the test."""
    with ExitStack() as stack:
        def make(**overrides: Any) -> Bench:
            settings = cloud.fresh(**{"visibility_timeout": 10, "max_batch": 2} | overrides)
            provision.ensure(settings)
            return Bench(settings, tmp_path, photos["rocket"], stack)

        yield make


# -- remote control ------------------------------------------------------------------------
def test_remote_control_names_the_worker(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.worker("one")
    for question, answer in (
            (("inspect", "ping"), "pong"), (("inspect", "active"), "empty"),
            (("inspect", "stats"), "threads"), (("inspect", "registered"), tasks.CLASSIFY)):
        told = bench.celery(*question, "--timeout", "5", "-d", "one@here")
        assert told.returncode == 0, told.stderr
        assert "one@here" in told.stdout
        assert answer in told.stdout
    report = bench.celery("report")
    assert report.returncode == 0
    assert "irs.broker.transport:Transport" in report.stdout


def test_a_worker_without_the_rights_for_remote_control_works(
        make_bench: Callable[..., Bench], cloud: Any) -> None:
    bench = make_bench()
    with proxying.Proxy(cloud.endpoint) as between:
        between.add(proxying.Rule(service="sns",
                                  action=proxying.Answer(403, proxying.ErrorCode.DENIED)))
        worker = bench.worker(IRS_AWS_ENDPOINT_URL=between.endpoint, IRS_TASK_EVENTS="true")
        ids = bench.send(3)
        until(lambda: bench.all_done(ids), 20, "done without remote control")
        until(bench.empty, 10, "nothing left")
        assert worker.stop() == 0
    assert worker.output.count("worker.no_remote_control") == 1
    assert "Traceback" not in worker.output


def test_a_worker_takes_images_while_sns_does_not_answer(
        make_bench: Callable[..., Bench], cloud: Any) -> None:
    """Its tries, each longer than an image may take, are beside the loop that hands images on."""
    bench = make_bench()
    with proxying.Proxy(cloud.endpoint) as between:
        fault = between.add(proxying.Rule(service="sns", action=proxying.Hang()))
        worker = bench.worker(IRS_AWS_ENDPOINT_URL=between.endpoint, SNS="1")
        until(lambda: worker.said("worker.no_remote_control"), 20, "done without")
        tried = fault.fired
        waits = []
        while fault.fired < tried + 2:
            began = time.monotonic()
            ids = bench.send(1)
            until(lambda ids=ids: bench.all_done(ids), 20, "an image")
            waits.append(time.monotonic() - began)
        assert max(waits) < 1.5, waits
        fault.clear()
        until(lambda: "pong" in bench.celery("inspect", "ping", "--timeout", "2").stdout, 30, "it is back")
        assert worker.stop() == 0


def test_purge_empties_the_task_queue(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.send(3)
    told = bench.celery("purge", "-f")
    assert "3" in told.stdout
    assert bench.empty()


def test_shutdown_by_remote_control_spares_the_next_worker_of_that_name(
        make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    first = bench.worker("same")
    bench.celery("control", "shutdown")
    first.popen.wait(20)
    second = bench.worker("same")
    assert "pong" in bench.celery("inspect", "ping", "--timeout", "5", "-d", "same@here").stdout
    assert second.popen.poll() is None


# -- what cannot be run --------------------------------------------------------------------
GARBAGE = {
    "text": "hello",
    "base64 of no text": "/////w==",
    "a JSON list": "[1, 2]",
    "no task": json.dumps({"body": "{}", "headers": {}, "properties": {}}),
    "nested too deep": "[" * 100_000,
    "odd properties": json.dumps({"body": 5, "headers": [], "properties": {"delivery_info": 7}}),
    "body that is not base64": json.dumps({
        "body": "*", "headers": {}, "properties": {"body_encoding": "base64"}}),
    "unknown task": envelope("no.such.task", [[], {}, {}], "x"),
    "unknown task without id": envelope("x", [[], {}, {}], "x", headers={"task": "no.such.task"}),
    "body is not JSON": envelope(tasks.CLASSIFY, None, "x", body="{"),
    "body is no argument list": envelope(tasks.CLASSIFY, [1], "x"),
    "body is an object": envelope(tasks.CLASSIFY, {"a": 1}, "x"),
    "pickled": envelope(tasks.CLASSIFY, None, "x", **{"content-type": "application/x-python-serialize"}),
    "pickled, no task": envelope("x", None, "x", headers={},
                                 **{"content-type": "application/x-python-serialize"}),
    "arguments missing": envelope(tasks.CLASSIFY, [[], {}, {}], "x"),
    "arguments of odd types": envelope(tasks.CLASSIFY, [[1, {}], {"name": 3, "received": []}, {}], "x"),
    "too many arguments": envelope(tasks.CLASSIFY, [[1, 2, 3], {"x": 1}, {}], "x"),
    "an id that is no text": envelope(tasks.CLASSIFY, [[], {}, {}], {"not": "text"}),
    "another schema": envelope(tasks.CLASSIFY, [[keys.new_id()], {"schema": 2, "image": {}}, {}], "x"),
    "Celery's first protocol": envelope("x", {"task": tasks.CLASSIFY, "id": "x", "args": [], "kwargs": {},
                                              "expires": STAMP, "callbacks": []}, "x", headers={}),
    "another job's key": envelope(tasks.CLASSIFY, [
        [keys.new_id(), f"{keys.new_id()}/a.jpg"], {"name": "a", "received": STAMP}, {}], "x"),
}


def test_garbage_ends_in_the_dead_letter_queue_and_the_worker_goes_on(
        make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(max_receive_count=1)
    worker = bench.worker()
    for body in GARBAGE.values():
        bench.input.send(body)
    until(lambda: bench.dead.depth().visible >= len(GARBAGE), 40, "garbage dead-lettered")
    (good,) = bench.send()
    until(lambda: bench.done(good), 20, "a job after the garbage")
    until(bench.empty, 10, "nothing left")
    assert worker.popen.poll() is None
    assert "Traceback" not in worker.output
    # More of it than the prefetch has places: none may be lost to any of them.
    assert len(GARBAGE) > 2 * 2 * bench.settings.max_batch


def test_a_foreign_message_makes_the_worker_send_nothing(make_bench: Callable[..., Bench]) -> None:
    """A job like ours that wants other tasks sent after it, to a queue that its sender names."""
    bench = make_bench()
    worker = bench.worker()
    (plain,) = bench.send()
    until(lambda: bench.done(plain), 20, "a plain job")
    message = json.loads(bench.task(job_id := keys.new_id()))
    link = {"task": tasks.CLASSIFY, "args": [], "kwargs": {}, "subtask_type": None, "immutable": False,
            "options": {"queue": bench.settings.output_queue, "task_id": keys.new_id()}}
    args, kwargs, _ = json.loads(message["body"])
    message["body"] = json.dumps([args, kwargs, {
        "callbacks": [link], "errbacks": [link], "chain": [link], "chord": link}])
    message["properties"]["reply_to"] = bench.settings.dead_letter_queue
    bench.input.send(json.dumps(message))
    result = until(lambda: bench.done(job_id), 20, "the job itself")
    assert result.label == "tench"
    until(bench.empty, 10, "deleted")
    told = Queue(bench.settings, bench.settings.output_queue)
    bodies = [m.body for _ in range(3) for m in told.receive(wait=1)]
    assert sorted(json.loads(body)["id"] for body in bodies) == sorted([plain, job_id])
    assert bench.dead.depth().visible == 0
    assert "Traceback" not in worker.output


# -- ends ------------------------------------------------------------------------------------
def test_sigterm_drains(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.hold.touch()
    worker = bench.worker()
    assert bench.control_queues()
    assert bench.subscriptions()
    ids = bench.send(12)
    until(bench.reached.exists, 20, "a task begun")
    worker.popen.terminate()
    until(lambda: worker.said("worker.draining"), 10, "draining")
    bench.hold.unlink()
    assert worker.popen.wait(20) == 0
    begun = [job_id for job_id in ids if bench.done(job_id)]
    assert begun
    depth = bench.input.depth()
    assert depth.in_flight == 0, "a message was left invisible"
    assert depth.visible == len(ids) - len(begun), "a message was lost, or done and not deleted"
    assert bench.control_queues() == []
    assert bench.subscriptions() == []
    assert "Traceback" not in worker.output
    assert "a.jpg" not in worker.output, "a user's file name in the log"


def test_a_drain_that_takes_too_long_is_cut_and_its_messages_come_back_at_once(
        make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(visibility_timeout=600, drain_grace=1)
    bench.hold.touch()
    worker = bench.worker()
    ids = bench.send(3)
    until(bench.reached.exists, 20, "a task begun")
    worker.popen.terminate()
    assert worker.popen.wait(20) == 0
    assert "worker.drain_cut" in worker.output
    assert bench.input.depth().in_flight == 0
    bench.hold.unlink()
    bench.worker("second")
    until(lambda: bench.all_done(ids), 20, "done by another")


def test_a_second_signal_stops_at_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(visibility_timeout=600, drain_grace=600)
    bench.hold.touch()
    worker = bench.worker()
    bench.send(3)
    until(bench.reached.exists, 20, "a task begun")
    worker.popen.send_signal(signal.SIGINT)
    until(lambda: worker.said("worker.draining"), 10, "draining")
    worker.popen.send_signal(signal.SIGINT)
    assert worker.popen.wait(20) == 0
    assert bench.input.depth().in_flight == 0


def test_a_worker_that_lost_its_gpu_ends_and_others_do_its_jobs(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(visibility_timeout=600, max_receive_count=2)
    bench.hold.touch()
    worker = bench.worker(LOST="1")
    ids = bench.send(3)
    until(bench.reached.exists, 20, "a task begun")
    bench.hold.unlink()
    assert worker.popen.wait(20) == 0
    assert worker.output.count("worker.device_lost") == 1
    assert "Traceback" not in worker.output
    assert not any(bench.done(job_id) for job_id in ids), "nothing is said about the images"
    bench.worker("second")
    until(lambda: bench.all_done(ids), 20, "done by another")


def test_a_killed_workers_jobs_are_finished_by_another(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.hold.touch()
    first = bench.worker("first")
    ids = bench.send(3)
    until(bench.reached.exists, 20, "a task begun")
    os.kill(first.pid, signal.SIGKILL)
    first.popen.wait(10)
    bench.hold.unlink()
    bench.worker("second")
    until(lambda: bench.all_done(ids), 30, "done after the visibility timeout")
    assert {bench.done(job_id).attempts for job_id in ids} == {2}
    until(bench.empty, 10, "queue empty")


def test_a_task_longer_than_the_visibility_timeout_runs_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.hold.touch()
    bench.worker()
    (job_id,) = bench.send()
    until(bench.reached.exists, 20, "the task begun")
    late = time.monotonic() + bench.settings.visibility_timeout + 3
    until(lambda: time.monotonic() > late or bench.input.depth().visible, 20)
    assert bench.input.depth().in_flight == 1
    bench.hold.unlink()
    assert until(lambda: bench.done(job_id), 10).attempts == 1


def test_with_all_that_watches_on_nothing_is_lost_and_the_end_is_in_time(
        make_bench: Callable[..., Bench]) -> None:
    """Events, traces, metrics and a canary at once, and a scrape that goes on while the worker drains."""
    bench = make_bench(max_batch=8)
    ids = bench.send(120)
    with bind(0) as free:
        port = free.getsockname()[1]
    scraped: list[dict[str, float]] = []
    with collecting() as collector:
        worker = bench.worker(
            IRS_TASK_EVENTS="true", IRS_TRACES=collector.url, IRS_WORKER_METRICS_PORT=str(port),
            IRS_CANARY_MODEL="resnet18", IRS_CANARY_SHARE="0.5")
        until(lambda: bench.all_done(ids), 60, "all done")
        bench.hold.touch()
        late = bench.send(20)
        until(lambda: bench.input.depth().in_flight, 20, "more of them begun")
        worker.popen.terminate()
        until(lambda: worker.said("worker.draining"), 10, "draining")
        scraped.append(scrape(port))
        bench.hold.unlink()
        assert worker.popen.wait(20) == 0
        kinds = {span.name.split()[0] for span in collector.spans}
        traced = {s.attributes["irs.job.id"] for s in collector.spans if s.name.startswith("process ")}
    assert {"process", "irs.decode", "irs.infer"} <= kinds
    assert traced <= {*ids, *late}
    assert len(traced) > len(ids) / 2, "spans that are dropped where many wait are few"
    results = [bench.done(job_id) for job_id in ids]
    assert {r.model.canary for r in results} == {True, False}
    assert [r.model.canary for r in results] == [canary.takes(r.id, share=0.5, attempt=1) for r in results]
    assert scraped[0]["irs_worker_images_total"] == scraped[0]["irs_worker_queue_wait_seconds_count"] - \
        scraped[0]["irs_worker_running_images"] == len(ids)
    depth = bench.input.depth()
    begun = sum(bench.done(job_id) is not None for job_id in late)
    assert (depth.in_flight, depth.visible) == (0, len(late) - begun)
    assert "Traceback" not in worker.output


def scrape(port: int) -> dict[str, float]:
    """A worker's figures by name, those of all labels together."""
    found: dict[str, float] = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


# -- faults ------------------------------------------------------------------------------------
def test_a_lost_main_loop_consumes_again(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    worker = bench.worker()
    before = bench.send()
    until(lambda: bench.all_done(before), 20, "before")
    assert "breaking" in bench.broadcast("break")
    until(lambda: worker.said("broken on purpose"), 10, "broken")
    ids = bench.send(3)
    until(lambda: bench.all_done(ids), 20, "after")
    assert "pong" in bench.celery("inspect", "ping", "--timeout", "5", "-d", "worker@here").stdout


def test_a_control_queue_deleted_under_a_worker_is_made_anew(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    worker = bench.worker()
    (url,) = bench.control_queues()
    clients.client(bench.settings, "sqs").delete_queue(QueueUrl=url)
    until(lambda: bench.control_queues() == [url], 20, "made anew")
    until(lambda: "pong" in bench.celery("inspect", "ping", "--timeout", "2", "-d", "worker@here").stdout,
          20, "answers again")
    assert worker.stop() == 0
    assert bench.control_queues() == []
    assert bench.subscriptions() == []


class Proxy(ThreadingHTTPServer):
    """Between a worker and the emulator; ``fault`` says what befalls the next ReceiveMessages."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.fault: str | None = None
        self.faults = 0
        self.healed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        receives = self.headers.get("X-Amz-Target", "").endswith("ReceiveMessage")
        fault = self.server.fault
        if receives and fault is not None:
            self.server.faults += 1
            self._fail(fault)
            return
        upstream = http.client.HTTPConnection(
            self.server.upstream.hostname, self.server.upstream.port, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        self._answer(answer.status, data, {
            name: value for name, value in answer.headers.items()
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server")})

    do_PUT = do_GET = do_HEAD = do_DELETE = do_POST

    def _fail(self, fault: str) -> None:
        if fault == "reset":
            self.connection.shutdown(2)
            self.close_connection = True
        elif fault == "stall":
            self.server.healed.wait(60)
            self.close_connection = True
        elif fault == "403":
            self._answer(403, b'{"__type": "AccessDeniedException", "message": "no"}',
                         {"Content-Type": "application/x-amz-json-1.0"})
        else:
            self._answer(int(fault), b"<html>Service Unavailable</html>",
                         {"Content-Type": "text/html"})

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def proxy(cloud: Any) -> Iterator[Proxy]:
    server = Proxy(cloud.endpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.healed.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("fault", ["reset", "503", "403", "stall"])
def test_after_faults_of_receiving_the_worker_consumes_again(
        make_bench: Callable[..., Bench], proxy: Proxy, fault: str) -> None:
    bench = make_bench()
    worker = bench.worker(IRS_AWS_ENDPOINT_URL=proxy.url)
    before = bench.send()
    until(lambda: bench.all_done(before), 20, "before the fault")
    proxy.fault = fault
    # A stalled poll is given up after its wait and 5 s; each of the others twice at once.
    until(lambda: proxy.faults >= (1 if fault == "stall" else 3), 20, "the faults")
    if fault == "stall":
        until(lambda: worker.said("broker.receive_retry"), 20, "the stall noticed")
    ids = bench.send(2)
    proxy.fault = None
    until(lambda: bench.all_done(ids), 30, "after the fault")
    assert "pong" in bench.celery("inspect", "ping", "--timeout", "5", "-d", "worker@here").stdout
    assert worker.popen.poll() is None
    assert "Traceback" not in worker.output


def test_a_worker_that_hears_nothing_of_its_queue_ends_itself(
        make_bench: Callable[..., Bench], proxy: Proxy) -> None:
    bench = make_bench()
    worker = bench.worker(IRS_AWS_ENDPOINT_URL=proxy.url, DEAF="6")
    quiet = time.monotonic() + 8
    until(lambda: time.monotonic() > quiet, 20)
    assert worker.popen.poll() is None, "an idle worker whose polls are answered is not deaf"
    proxy.fault = "503"
    assert worker.popen.wait(40) == hearing.EXIT
    assert "worker.deaf" in worker.output


@pytest.mark.parametrize(("status", "code"), [
    (503, "SlowDown"), (403, "AccessDenied"), (404, "NoSuchBucket")])
def test_a_bucket_that_is_away_costs_no_receive_and_fails_no_job(
        make_bench: Callable[..., Bench], cloud: Any, status: int, code: str) -> None:
    bench = make_bench()
    with proxying.Proxy(cloud.endpoint) as between:
        worker = bench.worker(IRS_AWS_ENDPOINT_URL=between.endpoint)
        away = between.add(proxying.Rule(service="s3", target=bench.settings.input_bucket,
                                         action=proxying.Answer(status, code)))
        ids = bench.send(3)
        until(lambda: worker.output.count('"job.waits"') >= 9, 60, "tried again and again")
        assert bench.input.depth().in_flight == 3
        away.clear()
        until(lambda: bench.all_done(ids), 30, "done when it is back")
        assert [(bench.done(i).label, bench.done(i).attempts) for i in ids] == [("tench", 1)] * 3
        until(bench.empty, 10, "nothing left")
        assert "Traceback" not in worker.output
