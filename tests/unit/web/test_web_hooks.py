"""``callback_url`` on a request, and what a client is told about it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.callbacks import Answer
from tests.unit.callbacks.callkit import URL, World
from tests.unit.web.webkit import picture

SECRET = "k" * 24
PROBLEM = "application/problem+json"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def service(make: Any, world: World) -> Any:
    service = make(callback_secret=SECRET, callbacks=world.process())
    service.work = lambda job: None
    return service


def submit(service: Any, url: str | None = URL, **more: Any) -> Any:
    query = {} if url is None else {"callback_url": url}
    return service.client.post("/v1/images", data=picture(), content_type="image/jpeg",
                               query_string=query, **more)


def form(service: Any, *urls: str, query: str = "", field: str = "callback_url") -> Any:
    return service.client.post("/v1/images" + query, data={
        field: list(urls), "myfile": (io.BytesIO(picture()), "a.jpg")})


def promised(world: World) -> list[str]:
    return [json.loads(item.data)["url"] for item in world.objects.stored.values()]


def test_a_callback_is_promised_before_the_task_is_sent(service, world):
    sent = service.send
    service.app.extensions["irs"].cloud._made["send"] = lambda job, **more: (
        sent(job, **more) if promised(world) == [URL] else pytest.fail("sent before it was promised"))
    answer = submit(service)
    assert answer.status_code == 202
    (job,) = service.sent
    assert world.stored(job.id).url == URL


def test_in_a_form(service, world):
    assert form(service, URL).status_code == 202
    assert promised(world) == [URL]


def test_other_fields_of_a_form_are_still_ignored(service, world):
    assert form(service, "a", "b", field="callback").status_code == 202
    assert promised(world) == []


def test_without_one_nothing_is_written(service, world):
    assert submit(service, None).status_code == 202
    assert form(service).status_code == 202
    assert world.faults.calls == {}


@pytest.mark.parametrize(("url", "says"), [
    ("", "must be https://host"), ("http://example.com/", "must be https"),
    ("https://127.0.0.1/", "not public"), ("https://user:geheim@example.com/", "without user name"),
    ("https://169.254.169.254/latest/meta-data/", "not public"), ("ftp://example.com/", "must be https://"),
    ("https://example.com/" + "a" * 3000, "longer than 2048")])
@pytest.mark.parametrize("where", [submit, form])
def test_a_url_that_may_not_be_called_is_refused_and_nothing_kept(service, world, url, says, where):
    answer = where(service, url)
    assert (answer.status_code, answer.content_type, answer.json["code"]) == (400, PROBLEM, "bad_request")
    assert answer.json["detail"].startswith("callback_url ")
    assert says in answer.json["detail"]
    assert "geheim" not in answer.text
    assert (service.sent, service.objects.stored, promised(world)) == ([], {}, [])


@pytest.mark.parametrize("twice", [
    lambda service: form(service, URL, URL),
    lambda service: service.client.post(f"/v1/images?callback_url={URL}&callback_url={URL}", data=picture(),
                                        content_type="image/jpeg")])
def test_one_url_a_job(service, twice):
    answer = twice(service)
    assert (answer.status_code, answer.json["detail"]) == (400, "callback_url is given twice")
    assert service.sent == []


def test_the_forms_counts_before_the_querys(service, world):
    assert form(service, URL, query="?callback_url=https://other.example/").status_code == 202
    assert promised(world) == [URL]


def test_an_allowed_network(make, world):
    service = make(callback_secret=SECRET, callback_networks="127.0.0.0/8", callbacks=world.process())
    assert submit(service, "http://127.0.0.1:9000/").status_code == 200
    assert submit(service, "http://10.0.0.1/").status_code == 400


@pytest.mark.parametrize("where", [submit, form])
def test_without_a_secret_there_are_none(make, where):
    service = make()
    answer = where(service, URL)
    assert (answer.status_code, answer.json["code"]) == (403, "callbacks_off")
    assert "IRS_CALLBACK_SECRET" in answer.json["detail"]
    assert service.sent == []
    for method in ("GET", "POST"):
        answer = service.client.open(f"/v1/images/{keys.new_id()}/callback", method=method)
        assert (answer.status_code, answer.json["code"]) == (403, "callbacks_off")


def test_what_cannot_be_promised_is_not_sent(service, world):
    world.faults.fail("put", 1, errors.Unreachable("S3 PUT to secret-bucket: down"))
    answer = submit(service)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert "secret" not in answer.text
    assert service.sent == []


def test_a_result_in_time_is_answered_and_called_back(make, world):
    process = world.process()
    service = make(callback_secret=SECRET, callbacks=process)
    answer = submit(service, headers={"Prefer": "wait=5"})
    assert answer.status_code == 200
    world.payloads[answer.json["id"]] = b"{}"
    assert process.call() == 1


# -- what became of it -----------------------------------------------------------------------
def test_the_state_from_promise_to_end(make, world):
    process = world.process()
    service = make(callback_secret=SECRET, callbacks=process)
    world.answer = lambda: Answer(status=503)
    job_id = submit(service, headers={"Prefer": "wait=5"}).json["id"]
    where = f"/v1/images/{job_id.upper()}/callback"
    assert service.client.get(where).json == {"id": job_id, "state": "pending", "attempts": 0}
    world.payloads[job_id] = b"{}"
    process.call()
    told = service.client.get(where)
    assert "hooks.example.com" not in told.text
    assert told.json == {"id": job_id, "state": "pending", "attempts": 1, "last_status": 503,
                         "last_error": "answered 503", "next_at": "2026-01-01T12:00:05.000Z"}
    assert service.client.post(where).json == told.json  # goes on as it is
    world.answer = lambda: Answer(status=410)
    world.clock.advance(5)
    process.call()
    assert service.client.get(where).json["state"] == "failed"
    world.answer = lambda: Answer(status=200)
    anew = service.client.post(where)
    assert (anew.status_code, anew.json["state"], anew.json["attempts"]) == (202, "pending", 0)
    process.call()
    assert service.client.get(where).json == {"id": job_id, "state": "delivered", "attempts": 1,
                                              "last_status": 200}


@pytest.mark.parametrize("text", ["8d1ea6cc-7a04-40f4-bcc3-658d2dcdd311", "x", "..%2f..%2fsecret"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_none(service, text, method):
    answer = service.client.open(f"/v1/images/{text}/callback", method=method)
    assert (answer.status_code, answer.content_type) == (404, PROBLEM)


def test_what_is_no_images_is_none_here(make, world):
    process = world.process()
    service = make(callback_secret=SECRET, callbacks=process)
    process.begin(other := keys.new_id(), URL, about="batch")
    assert service.client.get(f"/v1/images/{other}/callback").status_code == 404


def test_a_kind_that_this_version_does_not_know_is_left_for_one_that_does(world):
    process = world.process()
    process.begin(other := keys.new_id(), URL, about="batch")
    world.payloads[other] = b"{}"
    process.told(other)
    process.call()
    assert world.posts == []
    assert world.stored(other).attempts == 0


def test_a_storage_that_cannot_be_read_is_503_and_names_the_job(service, world):
    world.faults.fail_randomly("get_tagged", 1, errors.Unreachable("down"))
    job_id = keys.new_id()
    answer = service.client.get(f"/v1/images/{job_id}/callback")
    assert (answer.status_code, answer.json["id"]) == (503, job_id)
    assert "Retry-After" in answer.headers


def test_the_metrics(make, world):
    process = world.process()
    service = make(callback_secret=SECRET, callbacks=process)
    job_id = submit(service, headers={"Prefer": "wait=5"}).json["id"]
    assert "irs_queued_callbacks 1.0" in service.client.get("/metrics").text
    world.payloads[job_id] = b"{}"
    process.call()
    figures = service.client.get("/metrics").text
    assert 'irs_callbacks_total{outcome="delivered"} 1.0' in figures
    assert "irs_queued_callbacks 0.0" in figures
