"""``DELETE /v1/images/<id>``: what it ends, what it finds ended, and what those who wait are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Job
from tests.unit.web.webkit import Service, done, failed, picture

ME = "0123456789abcdef"


def queued(service: Service) -> Job:
    service.work = lambda job: None
    service.client.post("/v1/images", data=picture(), content_type="image/jpeg",
                        query_string={"name": "a.jpg"})
    return service.sent[-1]


def cancel(service: Service, job_id: str, **kwargs: Any) -> Any:
    return service.client.delete(f"/v1/images/{job_id}", **kwargs)


def waiting(service: Service, pool: ThreadPoolExecutor, call: Callable[[], Any]) -> Any:
    """``call`` under way, and waiting for a result."""
    answer = pool.submit(call)
    while not service.listener.waiting:
        assert not answer.done()
        threading.Event().wait(0.005)
    return answer


def test_a_queued_job_ends_as_cancelled_and_its_upload_is_gone(service: Service) -> None:
    job = queued(service)
    answer = cancel(service, job.id)
    assert (answer.status_code, answer.json["status"], answer.json["id"]) == (200, "cancelled", job.id)
    assert answer.json["result"] == "(a, error: cancelled)"
    assert not service.objects.stored
    assert len(service.app.extensions["irs"].cloud.upkeep.pending) == 0
    again = cancel(service, job.id.upper())
    assert (again.status_code, again.json) == (200, answer.json)
    assert service.client.get(f"/v1/images/{job.id}").json == answer.json


@pytest.mark.parametrize("of", [done, failed])
def test_what_has_finished_stays_finished(service: Service, of: Callable[[Job], Any]) -> None:
    job = queued(service)
    service.finish(of(job))
    answer = cancel(service, job.id)
    assert (answer.status_code, answer.json) == (200, of(job).as_dict())
    assert job.key in service.objects.stored


@pytest.mark.parametrize("text", ["4c1b761c-07f4-4ba6-902c-23274fdd951a", "x", "0" * 36])
def test_an_unknown_id_is_404(service: Service, text: str) -> None:
    answer = cancel(service, text)
    assert (answer.status_code, answer.json["code"]) == (404, "unknown")
    assert not service.results.stored


def test_who_waits_is_told_at_once(service: Service) -> None:
    service.work = lambda job: None
    with ThreadPoolExecutor(1) as pool:
        answer = waiting(service, pool, lambda: service.post(("a.jpg", picture()), ("b.gif", b"no image")))
        cancel(service, service.sent[0].id)
        told = answer.result(4)  # before the first look at the store would end, and the wait of 5 s
    assert told.status_code == 410
    assert told.text.splitlines()[0] == "(a, error: cancelled)"
    assert 'irs_uploads_total{outcome="cancelled"} 1.0' in service.client.get("/metrics").text


def test_of_several_files_the_others_have_their_labels(service: Service) -> None:
    service.work = lambda job: None if job.image == "a.jpg" else done(job)
    with ThreadPoolExecutor(1) as pool:
        answer = waiting(service, pool, lambda: service.post(("a.jpg", picture()), ("b.jpg", picture())))
        while len(service.sent) < 2:
            threading.Event().wait(0.005)
        cancel(service, next(job.id for job in service.sent if job.image == "a.jpg"))
        told = answer.result(4)
    assert (told.status_code, told.text) == (200, "(a, error: cancelled)\n(b, tench)\n")


def test_a_browser_reads_that_it_was_cancelled(service: Service) -> None:
    service.work = lambda job: None
    with ThreadPoolExecutor(1) as pool:
        answer = waiting(service, pool,
                         lambda: service.post(("a.jpg", picture()), headers={"Accept": "text/html"}))
        cancel(service, service.sent[0].id)
        told = answer.result(4)
    assert told.status_code == 410
    assert "<h2>Cancelled</h2>" in told.text


def test_on_v1_who_waits_has_a_problem_with_the_id(service: Service) -> None:
    service.work = lambda job: None
    with ThreadPoolExecutor(1) as pool:
        answer = waiting(service, pool, lambda: service.client.post(
            "/v1/images", data=picture(), content_type="image/jpeg", headers={"Prefer": "wait=5"}))
        job_id = service.sent[0].id
        cancel(service, job_id)
        told = answer.result(4)
    assert (told.status_code, told.json["code"], told.json["id"]) == (410, "cancelled", job_id)


def test_a_repeat_under_its_key_is_the_cancelled_job(service: Service) -> None:
    service.work = lambda job: None

    def submit() -> Any:
        return service.client.post("/v1/images", data=picture(), content_type="image/jpeg",
                                   headers={"Idempotency-Key": "k"})

    job_id = submit().json["id"]
    cancel(service, job_id)
    again = submit()
    assert (again.status_code, again.json["code"], again.json["id"]) == (410, "cancelled", job_id)
    assert len(service.sent) == 1


def test_a_storage_that_fails_is_503_with_the_id(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queued(service)

    def away(_key: str) -> None:
        raise errors.Unreachable("S3 DELETE in secret: reset")

    with monkeypatch.context() as patch:
        patch.setattr(service.objects, "delete", away)
        answer = cancel(service, job.id)
    assert (answer.status_code, answer.json["id"]) == (503, job.id)
    assert "Retry-After" in answer.headers
    assert "secret" not in answer.text
    assert cancel(service, job.id).json["status"] == "cancelled"
    assert not service.objects.stored


def test_another_sites_page_cannot_cancel_with_a_browsers_password(make: Callable[..., Service]) -> None:
    import base64

    service = make(api_keys=f"me:{ME}")
    told = "Basic " + base64.b64encode(f"x:{ME}".encode()).decode()
    answer = cancel(service, keys.new_id(), headers={"Authorization": told, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert cancel(service, keys.new_id()).status_code == 401
