"""Celery's own monitors over SNS and SQS: `celery events`, Flower, and what they leave behind."""

from __future__ import annotations

import collections
import http.client
import signal
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from irs.aws import clients, temporary
from irs.broker import outbox
from irs.broker.events import HEARTBEAT
from irs.domain import tasks
from irs.testing import proxy as proxying
from irs.testing.proxy import Answer as Refusal
from irs.testing.proxy import ErrorCode, Exchange, Hang, Rule
from tests.integration.conftest import ROOT, START, Answer, Process, environment, until
from tests.integration.test_broker import Bench, make_bench

__all__ = ["make_bench"]

pytestmark = pytest.mark.integration


class Monitor(Process):
    """A monitor beside a deployment's workers."""

    def __init__(self, bench: Bench, directory: Path, *arguments: str, **env: str) -> None:
        super().__init__([sys.executable, "-m", "celery", "-A", "irs", *arguments],
                         environment(bench.settings, **env), directory)


class Flower(Monitor):
    """Flower on a free port, as `docs/operations.md` starts it."""

    def __init__(self, bench: Bench, directory: Path, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__(
            bench, directory, "flower", f"--port={self.port}", f"--conf={ROOT / 'flowerconfig.py'}",
            *arguments, FLOWER_UNAUTHENTICATED_API="true")

    def call(self, path: str, method: str = "GET") -> Answer:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, data=b"" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, exc.headers, exc.read())

    def up(self) -> bool:
        try:
            return self.said("Visit me") and self.call("/healthcheck").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def online(self) -> dict[str, bool]:
        """Workers by name, as the heartbeats have it."""
        return self.call("/api/workers?status=1").json

    def states(self) -> dict[str, str]:
        return {task_id: task["state"] for task_id, task in self.call("/api/tasks").json.items()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``start(kind, bench, *arguments)``: a monitor that has its queue; killed with the test."""
    started: list[Monitor] = []

    def begin(kind: type[Monitor], bench: Bench, *arguments: str) -> Any:
        before = len(event_queues(bench))
        monitor = kind(bench, tmp_path, *arguments)
        started.append(monitor)
        until(lambda: monitor.said("Connected to") and len(event_queues(bench)) > before
              and len(event_subscriptions(bench)) > before, START, "listening")
        return monitor

    yield begin
    for monitor in started:
        if monitor.popen.poll() is None:
            monitor.popen.kill()
        monitor.popen.wait(10)


def event_queues(bench: Bench) -> list[str]:
    return [url for url in bench.control_queues() if "ctl-celeryev_" in url]


def event_subscriptions(bench: Bench) -> list[str]:
    return [arn for arn in bench.subscriptions() if f"{bench.settings.cluster}ev:" in arn]


def dumped(monitor: Monitor, what: str) -> bool:
    return any(what in line for line in monitor.output.splitlines())


def test_events_are_dumped_from_a_workers_start_to_its_end(
        make_bench: Callable[..., Bench], start: Callable[..., Any]) -> None:
    bench = make_bench(task_events=True)
    dump = start(Monitor, bench, "events", "--dump")
    worker = bench.worker("one")
    until(lambda: dumped(dump, "started:"), START, "online")
    (job_id,) = bench.send()
    for what in ("task received", "task started", "task succeeded"):
        until(lambda what=what: dumped(dump, f"{what}: {tasks.CLASSIFY}({job_id})"), 20, what)
    assert dumped(dump, "result='done'") or dumped(dump, "result=done")
    assert "a.jpg" not in dump.output, "a user's file name in an event"
    assert "py.warnings" not in dump.output, "a warning that no user can heed"
    # What is not fetched lives a minute; what was is not deleted, and must not come back.
    found = clients.client(bench.settings, "sqs").get_queue_attributes(
        QueueUrl=event_queues(bench)[0], AttributeNames=["All"])["Attributes"]
    assert int(found["MessageRetentionPeriod"]) == 60 < int(found["VisibilityTimeout"])
    # A monitor that begins later has a heartbeat at once, and with the true interval in it:
    # with another it would take the worker for gone before the next one.
    second = start(Monitor, bench, "events", "--dump")
    until(lambda: dumped(second, "freq=20"), START, "a heartbeat")
    assert worker.stop() == 0
    until(lambda: dumped(dump, "shutdown:") and dumped(second, "shutdown:"), START, "offline")
    for monitor, number in ((dump, signal.SIGTERM), (second, signal.SIGINT)):
        monitor.popen.send_signal(number)
        assert monitor.popen.wait(START) == 0
        assert "Traceback" not in monitor.output
    assert bench.control_queues() == []
    assert bench.subscriptions() == []


def test_without_task_events_a_worker_says_nothing_and_says_so(
        make_bench: Callable[..., Bench], start: Callable[..., Any]) -> None:
    bench = make_bench()
    dump = start(Monitor, bench, "events", "--dump")
    bench.hold.touch()
    worker = bench.worker("one", "-E", "--heartbeat-interval", "1")
    (job_id,) = bench.send()
    until(bench.reached.exists, START, "begun")
    told = bench.celery("inspect", "active", "--timeout", "5", "-d", "one@here")
    assert job_id in told.stdout
    assert "a.jpg" not in told.stdout, "a user's file name on the screen"
    told = bench.celery("control", "--timeout", "5", "-d", "one@here", "enable_events")
    assert "IRS_TASK_EVENTS is off" in told.stdout + told.stderr
    # Shut down while it works, it finishes and settles what it has.
    bench.celery("control", "shutdown")
    until(lambda: worker.said("worker.draining"), START, "draining")
    bench.hold.unlink()
    assert worker.popen.wait(START) == 0
    assert bench.done(job_id)
    assert bench.empty(), "its message would come back"
    assert "one@here [" not in dump.output


def test_flower_shows_workers_and_tasks_and_shuts_a_worker_down(
        make_bench: Callable[..., Bench], start: Callable[..., Any], tmp_path: Path) -> None:
    bench = make_bench(task_events=True)
    first = bench.worker("one")
    flower = start(Flower, bench, "--persistent=true", f"--db={tmp_path / 'flower'}")
    other = start(Flower, bench)
    for each in (flower, other):
        until(each.up, START, "flower")
        until(lambda each=each: each.online() == {"one@here": True}, START, "online")
    (job_id,) = bench.send()
    for each in (flower, other):
        until(lambda each=each: each.states() == {job_id: "SUCCESS"}, START, "succeeded")
    task = flower.call(f"/api/task/info/{job_id}").json
    assert task["received"] <= task["started"] <= task["succeeded"]
    assert (task["name"], task["worker"]) == (tasks.CLASSIFY, "one@here")
    assert "a.jpg" not in flower.call("/api/tasks").text
    found = until(lambda: flower.call("/api/workers?refresh=1&workername=one%40here").json.get("one@here"))
    assert found["stats"]["pool"]["max-concurrency"] == 2 * bench.settings.max_batch
    assert found["registered"] == [tasks.CLASSIFY]
    assert [queue["name"] for queue in found["active_queues"]] == [bench.settings.input_queue]
    # Asked again and again, it makes no queue a question: a reply queue a thread, of which it has few.
    for _ in range(3):
        flower.call("/api/workers?refresh=1&workername=one%40here")
    replies = [url for url in bench.control_queues() if "_reply_" in url]
    assert len(replies) <= 2 * 9, replies
    # A revoked task runs all the same (its message would be lost), and nothing breaks.
    assert flower.call(f"/api/task/revoke/{job_id}", "POST").status == 200
    # The pages, and what has no meaning here: Flower reads no queue's length from SQS.
    for page in ("/workers", "/tasks", f"/task/{job_id}", "/worker/one%40here", "/metrics"):
        assert flower.call(page).status == 200, page
    for page in ("/broker", "/api/queues/length"):
        answer = flower.call(page)
        assert answer.status == 404
        assert "not supported" in answer.text
    # Its button ends this worker, and not the next one of the same name.
    assert flower.call("/api/worker/shutdown/one%40here", "POST").status == 200
    assert first.popen.wait(START) == 0
    until(lambda: flower.online() == {"one@here": False}, START, "offline")
    second = bench.worker("one")
    until(lambda: flower.online() == {"one@here": True}, START, "online again")
    assert second.popen.poll() is None
    assert second.stop() == 0
    for each, number in ((flower, signal.SIGTERM), (other, signal.SIGINT)):
        each.popen.send_signal(number)
        assert each.popen.wait(START) == 0
        assert "Traceback" not in each.output
    assert bench.control_queues() == []
    assert bench.subscriptions() == []
    again = start(Flower, bench, "--persistent=true", f"--db={tmp_path / 'flower'}")
    until(again.up, START, "flower")
    assert again.states() == {job_id: "SUCCESS"}, "what it saw is kept"


def test_what_killed_monitors_leave_is_dropped_by_a_worker(
        make_bench: Callable[..., Bench], start: Callable[..., Any]) -> None:
    bench = make_bench()
    dump, flower = start(Monitor, bench, "events", "--dump"), start(Flower, bench)
    until(flower.up, START, "flower")
    for monitor in (dump, flower):
        monitor.popen.kill()
        monitor.popen.wait(10)
    left = bench.control_queues()
    living = start(Monitor, bench, "events", "--dump")
    assert len(event_queues(bench)) == len(event_subscriptions(bench)) == 3
    # As if more than an hour had passed; and of one, the subscription alone is left.
    sqs = clients.client(bench.settings, "sqs")
    for url in left:
        sqs.tag_queue(QueueUrl=url, Tags={
            temporary.SEEN_TAG: str(int(time.time()) - temporary.GONE_AFTER - 60)})
    sqs.delete_queue(QueueUrl=next(url for url in left if "ctl-celeryev_" in url))
    worker = bench.worker("a")  # by its name it comes before the monitor that lives
    until(lambda: len(event_subscriptions(bench)) == 1, START, "swept")
    assert len(event_queues(bench)) == 1
    assert not set(left) & set(bench.control_queues())
    assert worker.stop() == living.stop() == 0
    assert bench.control_queues() == []
    assert bench.subscriptions() == []


def test_a_fault_of_sns_stops_neither_a_worker_nor_a_monitor(
        make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make_bench(task_events=True)
    with proxying.Proxy(bench.settings.aws_endpoint_url) as proxy, ExitStack() as stack:
        topic = f"{bench.settings.cluster}ev"
        published = Rule(service="sns", operations={"Publish"}, target=topic, action=Hang())
        hangs = proxy.add(published)
        denied = proxy.add(Rule(service="sns", operations={"Subscribe"}, target=topic,
                                action=Refusal(403, ErrorCode.DENIED)))
        dump = Monitor(bench, tmp_path, "events", "--dump", IRS_AWS_ENDPOINT_URL=proxy.endpoint)
        stack.callback(dump.popen.wait, 10)
        stack.callback(dump.popen.kill)
        worker = bench.worker("one", IRS_AWS_ENDPOINT_URL=proxy.endpoint)
        # Whoever may not listen says why, and leaves no queue a try.
        until(lambda: dump.said("broker.not_listening"), START, "the refusal")
        assert "AccessDenied" in dump.output
        assert event_queues(bench) == []
        # Whoever cannot tell works on.
        until(lambda: hangs.fired, START, "a publish")
        ids = bench.send(3)
        until(lambda: bench.all_done(ids), START, "done")
        denied.clear()
        until(lambda: event_subscriptions(bench), START, "listening")
        hangs.clear()
        (job_id,) = bench.send()
        until(lambda: dumped(dump, f"task succeeded: {tasks.CLASSIFY}({job_id})"), START, "told")
        # And ends, though its last words go nowhere.
        hangs = proxy.add(published)
        assert worker.stop(20) == 0
        assert hangs.fired
        assert "Traceback" not in worker.output + dump.output
        assert dump.stop() == 0
    assert bench.control_queues() == []
    assert bench.subscriptions() == []


class Counted:
    """A worker of its own deployment, behind a proxy that takes down its calls to SQS and SNS."""

    def __init__(self, bench: Bench, stack: ExitStack, *, queues: int, told: bool, **settings: str) -> None:
        self.bench = bench
        #: that it polls
        self.queues = queues
        #: whether it tells of itself
        self.told = told
        self._calls: list[str] = []
        proxy = stack.enter_context(proxying.Proxy(bench.settings.aws_endpoint_url, heard=self._hear))
        bench.worker("one", IRS_AWS_ENDPOINT_URL=proxy.endpoint, **settings)
        self.begin()

    def _hear(self, exchange: Exchange) -> None:
        if exchange.call.service in ("sqs", "sns"):
            self._calls.append(exchange.call.operation)

    def begin(self) -> None:
        """Count from now on."""
        self._from, self._began = len(self._calls), time.monotonic()

    def found(self) -> collections.Counter[str]:
        """Calls by operation."""
        return collections.Counter(self._calls[self._from:])

    def settled(self) -> bool:
        """Whether the start's own calls are over: two polls of each queue with nothing beside them."""
        found = self.found()
        if set(found) - {"ReceiveMessage", "Publish"}:
            self.begin()
        return found["ReceiveMessage"] >= 2 * self.queues

    def elapsed(self) -> float:
        return time.monotonic() - self._began


def test_what_a_worker_asks_of_sqs_and_sns_at_rest_and_at_work(make_bench: Callable[..., Bench]) -> None:
    """A long poll a queue, a heartbeat each 20 s, and nothing beside them."""
    with ExitStack() as stack:
        workers = [
            Counted(make_bench(), stack, queues=1, told=False, IRS_REMOTE_CONTROL="false"),
            Counted(make_bench(), stack, queues=2, told=False),
            Counted(make_bench(), stack, queues=2, told=True, IRS_TASK_EVENTS="true"),
        ]
        for worker in workers:
            until(worker.settled, START, "at rest")
        for worker in workers:
            worker.begin()
        for worker in workers:
            until(lambda worker=worker: worker.found()["ReceiveMessage"] >= 3 * worker.queues,
                  START, "three polls of each queue")
            found, elapsed = worker.found(), worker.elapsed()
            # A poll lasts as long as it may: where one came back sooner, a minute would have more.
            assert found.pop("ReceiveMessage") <= worker.queues * (
                elapsed / worker.bench.settings.poll_wait + 1)
            assert found.pop("Publish", 0) <= worker.told * (elapsed / HEARTBEAT + 1)
            assert not found
        # At work: what happens within a second is one publish, however many images it is of.
        worker.begin()
        ids = worker.bench.send(12)
        until(lambda: worker.bench.all_done(ids), START, "done")
        until(lambda: worker.found()["Publish"], START, "published")
        assert worker.found()["Publish"] <= worker.elapsed() / outbox.LINGER + 2
