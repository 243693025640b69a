"""The same bytes are classified once: real processes, answers shared in the output bucket.

The tests come in this order because the first two need a queue that nobody empties.
"""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from irs.audit.account import Books, audit
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import reuse
from irs.testing.proxy import Exchange, Proxy
from tests.integration.conftest import Answer, Service, Web, Worker, until

pytestmark = pytest.mark.integration

AT_ONCE = 20


class Calls:
    """What a web process asks of AWS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()

    def hear(self, exchange: Exchange) -> None:
        with self._lock:
            self._counts[exchange.call.operation] += 1

    def of(self, *operations: str) -> list[int]:
        with self._lock:
            return [self._counts[name] for name in operations]


@pytest.fixture(scope="module")
def service(cloud: Any, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud, reuse="shared")


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest.fixture(scope="module")
def web(service: Service, calls: Calls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process whose calls are counted."""
    with Proxy(service.settings.aws_endpoint_url or "", heard=calls.hear) as proxy:
        settings = service.settings.model_copy(update={"aws_endpoint_url": proxy.endpoint})
        web = Web(settings, tmp_path_factory.mktemp("web"))
        try:
            until(web.ready, what="web ready")
            yield web
        finally:
            web.stop()


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    return service.worker()


def upload(web: Web, name: str, data: bytes, **headers: str) -> Answer:
    return web.upload((name, data), Accept="application/json", **headers)


def one(answer: Answer) -> Any:
    (result,) = answer.json["results"]
    return result


def figure(web: Web, line: str) -> float:
    text = web.call("GET", "/metrics").text
    return float(text.split(f"\n{line} ")[1].split("\n")[0])


def waiting(web: Web, count: int) -> None:
    until(lambda: figure(web, "irs_waiting_clients") == count, what=f"{count} clients wait")


def stored(service: Service) -> set[str]:
    uploads = Objects(service.settings, service.settings.input_bucket)
    return {entry.key.split("/")[0] for entry in uploads.entries()}


def messages(service: Service) -> int:
    depth = Queue(service.settings, service.settings.input_queue).depth()
    return depth.visible + depth.in_flight


def test_a_process_that_is_killed_leaves_no_job_that_nobody_works_on(service, photos):
    doomed = Web(service.settings, Path.cwd())
    try:
        until(doomed.ready, what="web ready")
        with ThreadPoolExecutor(3) as pool:
            lost = [pool.submit(upload, doomed, "lead.jpg", photos["chelsea"])]
            until(lambda: messages(service) == 1, what="the first is sent")
            lost += [pool.submit(upload, doomed, f"f{n}.jpg", photos["chelsea"]) for n in range(2)]
            waiting(doomed, 3)
            # One whose wait has ended was told an id, so it has a message of its own.
            told = one(upload(doomed, "told.jpg", photos["chelsea"], Prefer="wait=1"))
            doomed.popen.kill()
            for request in lost:
                with pytest.raises(OSError):
                    request.result(10)
    finally:
        doomed.popen.kill()
        doomed.popen.wait(10)
    assert told["status"] == "queued"
    assert told["id"] in stored(service)
    assert len(stored(service)) == messages(service) == 2


def test_many_at_once_are_classified_once_and_each_has_its_own_answer(web, service, request, photos):
    before = messages(service)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(upload, web, f"c{n}.jpg", photos["coffee"]) for n in range(AT_ONCE)]
        waiting(web, AT_ONCE)
        until(lambda: messages(service) > before, what="the first is sent")
        assert messages(service) == before + 1
        worker = request.getfixturevalue("worker")
    answers = [one(each.result()) for each in sent]
    assert [answer["result"] for answer in answers] == [f"(c{n}, espresso)" for n in range(AT_ONCE)]
    assert len({answer["id"] for answer in answers}) == AT_ONCE
    assert sum("reused" not in answer for answer in answers) == 1
    until(lambda: worker.output.count('"job.finished"') == before + 1, 10, "the queue is empty")
    until(lambda: messages(service) == 0, 10, "what is done is deleted")
    assert figure(web, 'irs_reuse_total{outcome="coalesced"}') == AT_ONCE - 1


def test_the_second_is_answered_without_a_task_and_announced(web, worker, service, calls, photos):
    first = one(upload(web, "first.jpg", photos["rocket"]))
    index = Objects(service.settings, service.settings.output_bucket)
    until(lambda: index.exists(reuse.index_key(first["input"]["sha256"])), what="it is shared")
    finished = worker.output.count('"job.finished"')
    sends, puts, gets = calls.of("SendMessage", "PutObject", "GetObject")
    second = one(upload(web, "second.jpg", photos["rocket"]))
    assert (second["result"], second["reused"]) == ("(second, missile)", True)
    assert second["predictions"] == first["predictions"]
    assert calls.of("PutObject", "GetObject") == [puts + 2, gets]
    assert web.call("GET", f"/v1/images/{second['id']}").json == second

    queue = Queue(service.settings, service.settings.output_queue)
    until(lambda: any(json.loads(m.body)["id"] == second["id"] for m in queue.receive(wait=1)), 15,
          "the second is announced in public")
    assert calls.of("SendMessage") == [sends], "no task"
    assert worker.output.count('"job.finished"') == finished


def test_another_process_knows_it_too(web, worker, service, photos):
    one(upload(web, "first.jpg", photos["astronaut"]))
    finished = worker.output.count('"job.finished"')
    later = service.web()
    until(lambda: one(upload(later, "later.jpg", photos["astronaut"])).get("reused"), 10,
          "the first answer is in the index")
    assert worker.output.count('"job.finished"') == finished
    assert figure(later, 'irs_reuse_total{outcome="hit"}') >= 1


def test_in_the_end_in_is_out(web, worker, service, photos):
    upload(web, "last.jpg", photos["coffee"])
    found = until(lambda: (a := audit(Books.of(service.settings))).balanced and not a.queued and a, 30)
    assert found.uploads == found.done
    assert found.foreign_objects == 0
