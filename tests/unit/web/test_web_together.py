"""Keys, reuse, cancelling, direct uploads and callbacks: each where another one is."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from irs.domain.jobs import Job, Result
from irs.testing import MemoryForeign, MemoryObjects
from tests.unit.callbacks.callkit import World
from tests.unit.web.test_web_reuse import Worker
from tests.unit.web.webkit import Service, failed, picture

GOOD, BAD = picture(), picture(size=(50, 50))
URL = "https://hooks.example.com/x"
SECRET = "s" * 24


def judged(service: Service) -> Callable[[Job], Result | None]:
    """A worker that refuses what begins as `BAD`, as a real one does: without a digest of it."""
    def work(job: Job) -> Result | None:
        worker = Worker(service)
        if service.objects.stored[job.key].data.startswith(BAD):
            return worker.result(job, failed(job))
        return worker.result(job)
    return work


@pytest.fixture
def theirs() -> MemoryObjects:
    return MemoryObjects("theirs")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def service(make: Callable[..., Service], theirs: MemoryObjects, world: World) -> Service:
    service = make(reuse="process", source_buckets=("theirs",), sources={"theirs": MemoryForeign(theirs)},
                   callback_secret=SECRET, callbacks=world.process(),
                   sign=lambda key, **_: f"http://s3/{key}")
    service.work = judged(service)
    return service


def raw(service: Service, data: bytes = GOOD, query: str = "", **headers: str) -> Any:
    return service.client.post(f"/v1/images{query}", data=data, content_type="image/jpeg",
                               headers={k.replace("_", "-"): v for k, v in headers.items()})


def document(service: Service, body: Any, **headers: str) -> Any:
    return service.client.post("/v1/images", data=json.dumps(body), content_type="application/json",
                               headers=headers)


def announced(service: Service, size: int) -> str:
    answer = service.client.post("/v1/uploads", data=json.dumps({"size": size}),
                                 content_type="application/json")
    return str(answer.json["id"])


def put(service: Service, upload_id: str, data: bytes) -> None:
    service.objects.put(f"uploads/{upload_id}/image", data)


def promised(world: World) -> list[str]:
    return [json.loads(item.data)["url"] for item in world.objects.stored.values()]


def test_other_bytes_under_an_uploads_id_poison_nobodys_answer(service: Service) -> None:
    """Both were read under one id, and the first were stored, and judged."""
    size = max(len(GOOD), len(BAD))
    good, bad = GOOD.ljust(size, b"\0"), BAD.ljust(size, b"\0")
    upload = announced(service, size)
    put(service, upload, bad)
    work, service.work = service.work, lambda job: None
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(document, service, {"upload": upload}, Prefer="wait=5")
        assert service.arrived.wait(5)
        put(service, upload, good)
        assert document(service, {"upload": upload}).status_code == 202
        found = work(service.sent[0])
        assert found is not None
        service.finish(found)
        assert first.result().status_code == 422
    service.work = work
    answer = raw(service, good, Prefer="wait=5")
    assert (answer.status_code, answer.json["status"]) == (200, "done")


def test_a_rekognition_call_leads_and_follows_nobody(service: Service) -> None:
    headers = {"X-Amz-Target": "RekognitionService.DetectLabels", "amz-sdk-request": "attempt=1",
               "amz-sdk-invocation-id": "4c1b761c-07f4-4ba6-902c-23274fdd951a"}

    def call(data: bytes) -> Any:
        body = json.dumps({"Image": {"Bytes": base64.b64encode(data).decode()}, "MinConfidence": 1})
        return service.client.post("/", data=body, content_type="application/x-amz-json-1.1",
                                   headers=headers)

    assert call(BAD).status_code == 400
    call(GOOD)
    answer = raw(service, GOOD, Prefer="wait=5")
    assert (answer.status_code, answer.json["status"]) == (200, "done")


@contextmanager
def followed(service: Service, theirs: MemoryObjects) -> Iterator[tuple[Future[Any], Future[Any]]]:
    """An upload that nobody works on, and an object of the same bytes that follows it."""
    theirs.put("a.jpg", GOOD)
    service.work = lambda job: None
    with ThreadPoolExecutor(2) as pool:
        lead = pool.submit(raw, service, GOOD, Prefer="wait=5")
        assert service.arrived.wait(5)
        following = pool.submit(document, service, {"s3": "s3://theirs/a.jpg"}, Prefer="wait=5")
        until(lambda: cloud(service).reuse._followers)
        yield lead, following


def test_an_object_that_changes_while_it_follows_is_another_image(
        service: Service, theirs: MemoryObjects) -> None:
    with followed(service, theirs) as (lead, following):
        theirs.put("a.jpg", BAD)
        service.work = judged(service)
        assert service.client.delete(f"/v1/images/{service.sent[0].id}").status_code == 200
        assert (lead.result().status_code, following.result().status_code) == (410, 422)
    assert raw(service, GOOD, Prefer="wait=5").status_code == 200, "the first bytes are as good as before"


def test_an_object_that_goes_while_it_follows_leaves_no_lead(
        service: Service, theirs: MemoryObjects) -> None:
    with followed(service, theirs) as (lead, following):
        theirs.delete("a.jpg")
        service.work = judged(service)
        service.client.delete(f"/v1/images/{service.sent[0].id}")
        assert (lead.result().status_code, following.result().status_code) == (410, 404)
    assert not cloud(service).reuse._leads, "whoever came now would wait for a job that is none"
    sent = len(service.sent)
    assert raw(service, GOOD, Prefer="wait=5").status_code == 200
    assert len(service.sent) == sent + 1


def test_a_repeat_that_follows_stores_nothing_of_what_was_cancelled(service: Service) -> None:
    service.work = lambda job: None
    with ThreadPoolExecutor(2) as pool:
        lead = pool.submit(raw, service, GOOD, Prefer="wait=5")
        assert service.arrived.wait(5)
        following = pool.submit(raw, service, GOOD, Prefer="wait=5", Idempotency_Key="k")
        until(lambda: cloud(service).reuse._followers)
        mine = raw(service, GOOD, Idempotency_Key="k").json["id"]
        assert service.client.delete(f"/v1/images/{mine}").json["status"] == "cancelled"
        service.client.delete(f"/v1/images/{service.sent[0].id}")
        lead.result()
        assert following.result().status_code == 410
    assert not [key for key in service.objects.stored if key.startswith(mine)]


def test_a_repeat_adds_the_callback_that_is_not_there_and_no_second_one(
        service: Service, world: World) -> None:
    assert raw(service, GOOD, Idempotency_Key="k", Prefer="wait=5").status_code == 200
    assert promised(world) == []
    raw(service, GOOD, f"?callback_url={URL}", Idempotency_Key="k")
    assert promised(world) == [URL]
    raw(service, GOOD, f"?callback_url={URL}2", Idempotency_Key="k")
    assert promised(world) == [URL]


def test_an_upload_that_was_cancelled_is_that_when_it_is_asked_for_again(service: Service) -> None:
    upload = announced(service, len(GOOD))
    put(service, upload, GOOD)
    service.work = lambda job: None
    assert document(service, {"upload": upload}).status_code == 202
    assert service.client.delete(f"/v1/images/{upload}").status_code == 200
    assert document(service, {"upload": upload}).status_code == 410


def test_what_was_cancelled_says_nothing_about_the_pace(service: Service) -> None:
    service.work = lambda job: None
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(raw, service, picture(size=(30 + n, 30)), Prefer="wait=5") for n in range(3)]
        until(lambda: len(service.sent) == 3)
        for job in service.sent:
            service.client.delete(f"/v1/images/{job.id}")
        assert {each.result().status_code for each in waiting} == {410}
    assert service.app.extensions["irs"].estimates.pace() is None


def test_half_a_surrogate_is_no_text(service: Service) -> None:
    answer = service.client.post("/v1/images", data=b'{"s3": "s3://theirs/a", "name": "\\ud800"}',
                                 content_type="application/json")
    assert (answer.status_code, answer.json["detail"]) == (400, "name is not text")


def cloud(service: Service) -> Any:
    return service.app.extensions["irs"].cloud


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
