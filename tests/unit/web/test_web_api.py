from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from irs import errors
from irs.domain import keys
from tests.unit.web.webkit import done, failed, picture

PROBLEM = "application/problem+json"


def submit(service, body=None, **kwargs):
    return service.client.post("/v1/images", data=picture() if body is None else body,
                               **{"content_type": "image/jpeg", **kwargs})


def test_a_raw_body_is_accepted_at_once(service):
    service.work = lambda job: None
    answer = submit(service, query_string={"name": "../tiger shark.JPEG"})
    (job,) = service.sent
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["location"] == f"/v1/images/{job.id}"
    assert (answer.json["id"], answer.json["status"]) == (job.id, "queued")
    assert answer.json["image"] == job.image == "tiger shark.JPEG"
    assert "Retry-After" in answer.headers


def test_with_prefer_wait_the_result(service):
    answer = submit(service, headers={"Prefer": "wait=5"})
    assert answer.status_code == 200
    assert answer.json["label"] == "tench"
    assert answer.headers["Preference-Applied"] == "wait=5"


def test_a_form_with_one_file(service):
    answer = service.client.post("/v1/images", headers={"Prefer": "wait=5"},
                                 data={"x": (io.BytesIO(picture()), "a.jpg")})
    assert answer.json["result"] == "(a, tench)"


def test_a_form_with_two_files_is_refused(service):
    answer = service.client.post("/v1/images", data={"x": [
        (io.BytesIO(picture()), "a.jpg"), (io.BytesIO(picture()), "b.jpg")]})
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


@pytest.mark.parametrize(("body", "kind", "status", "code"), [
    (bytes(100), "image/jpeg", 415, "unsupported_format"),
    (bytes(3000), "image/jpeg", 413, "too_large"),
    (b"{}", "application/json", 400, "bad_request"),
    (b"{}", "application/xml", 415, "unsupported_format"),
    (b"x", None, 400, "no_file"),
    (b"", "image/png", 400, "no_file"),
    (b"--x", "multipart/form-data; boundary=x", 400, "bad_request"),
])
def test_refusals_are_problem_details(make, body, kind, status, code):
    answer = submit(make(max_image_bytes=2000), body, content_type=kind)
    assert answer.content_type == PROBLEM
    assert (answer.status_code, answer.json["status"], answer.json["code"]) == (status, status, code)
    assert answer.json["title"]
    assert answer.json["detail"]


def test_a_job_that_fails_in_time_is_a_problem_with_its_id(service):
    service.work = failed
    answer = submit(service, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.json["code"]) == (422, "undecodable")
    assert answer.json["id"] == service.sent[0].id


def test_a_failed_send_is_a_503_problem_with_the_id(service):
    service.send_fails = errors.Unreachable("no answer")
    answer = submit(service)
    assert (answer.status_code, answer.content_type) == (503, PROBLEM)
    assert f"{answer.json['id']}/image" in service.objects.stored
    assert "Retry-After" in answer.headers


# -- status ----------------------------------------------------------------------------------
def test_status_done(service):
    submit(service)
    answer = service.client.get(f"/v1/images/{service.sent[0].id}")
    assert (answer.status_code, answer.json["status"], len(answer.json["predictions"])) == (200, "done", 5)


def test_status_failed(service):
    service.work = failed
    submit(service)
    answer = service.client.get(f"/v1/images/{service.sent[0].id.upper()}")
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    assert answer.json["error"]["code"] == "undecodable"


def test_status_queued(service):
    service.work = lambda job: None
    service.depth = 3
    submit(service)
    job_id = service.sent[0].id
    answer = service.client.get(f"/v1/images/{job_id}")
    assert answer.json == {"id": job_id, "status": "queued", "position": 3,
                           "location": f"/v1/images/{job_id}"}
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("text", [
    "4c1b761c-07f4-4ba6-902c-23274fdd951a", "x", "../../etc/passwd", "0" * 36])
def test_an_unknown_id_is_404(service, text):
    answer = service.client.get(f"/v1/images/{text}")
    assert (answer.status_code, answer.content_type) == (404, PROBLEM)


def test_long_poll_ends_with_the_announcement(service):
    service.work = lambda job: None
    submit(service)
    (job,) = service.sent
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(service.client.get, f"/v1/images/{job.id}", headers={"Prefer": "wait=60"})
        while not service.listener.waiting:
            assert not poll.done()
            threading.Event().wait(0.005)
        service.finish(done(job))
        assert poll.result(5).json["label"] == "tench"
    assert service.listener.waiting == 0


def test_long_poll_of_another_processs_job_looks_at_the_store(service, monkeypatch):
    monkeypatch.setattr("irs.web.waiting.LOOK", 0.05)
    service.work = lambda job: None
    submit(service)
    (job,) = service.sent
    service.announcing = False
    read, finished = service.results.read, []

    def late(job_id):
        if finished:
            service.results.write(done(job))
        finished.append(job_id)
        return read(job_id)

    monkeypatch.setattr(service.results, "read", late)
    answer = service.client.get(f"/v1/images/{job.id}", headers={"Prefer": "wait=60"})
    assert answer.json["label"] == "tench"


def test_a_store_that_cannot_be_read_is_503(service, monkeypatch):
    def read(job_id):
        raise errors.Unreachable("S3 GET from secret: reset")

    monkeypatch.setattr(service.results, "read", read)
    answer = service.client.get(f"/v1/images/{keys.new_id()}")
    assert (answer.status_code, answer.content_type) == (503, PROBLEM)
    assert "Retry-After" in answer.headers
    assert "secret" not in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v1/nothing", 404), ("PATCH", "/v1/images", 405), ("GET", "/v1", 404)])
def test_errors_of_the_router_are_problems_too(service, method, path, status):
    answer = service.client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, PROBLEM)


# -- what may have been accepted is named ----------------------------------------------------
@pytest.mark.parametrize("path", ["/upload", "/v1/images"])
def test_a_503_names_the_job_that_may_have_been_sent_and_when_to_come_back(service, path):
    service.send_fails = errors.Unreachable("the reply was lost")
    data = {"myfile": (io.BytesIO(picture()), "a.jpg")}
    answer = service.client.post(path, data=data, headers={"Accept": "application/json"})
    (key,) = service.objects.stored
    job_id = key.split("/")[0]
    told = answer.json["results"][0] if path == "/upload" else answer.json
    assert (answer.status_code, told["id"], told["location"]) == (503, job_id, f"/v1/images/{job_id}")
    assert answer.headers["Location"] == told["location"]
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_503_of_a_job_that_is_asked_for_names_it(service, monkeypatch):
    def away(job_id):
        raise errors.Unreachable("no storage")

    monkeypatch.setattr(service.results, "read", away)
    job_id = keys.new_id()
    answer = service.client.get(f"/v1/images/{job_id}")
    assert (answer.status_code, answer.json["code"], answer.json["id"]) == (503, "unavailable", job_id)
    assert answer.headers["Location"] == answer.json["location"] == f"/v1/images/{job_id}"
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("method", "path", "code"), [
    ("GET", "/v1/nothing", "not_found"), ("DELETE", "/v1/images", "method_not_allowed"),
    ("POST", "/v1/images", "too_large"), ("GET", "/v1/images/x", "unknown")])
def test_codes_are_the_documented_ones(make, method, path, code):
    service = make(max_files=1, max_image_bytes=1000)
    answer = service.client.open(path, method=method, data=bytes(700_000) if method == "POST" else None,
                                 content_type="multipart/form-data; boundary=xyz")
    assert answer.json["code"] == code
    assert f"`{code}`" in (Path(__file__).parents[3] / "docs/http-api.md").read_text("utf-8")
