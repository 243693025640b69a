"""Jobs that the queue has lost, as clients see them."""

from __future__ import annotations

import time
from typing import Any

from irs import errors
from tests.unit.web.webkit import Service, done, picture


def _lose(service: Service, monkeypatch: Any) -> None:
    monkeypatch.setattr(service.app.extensions["irs"].cloud.upkeep.pending, "is_lost", lambda job_id: True)


def pending(service: Service) -> Any:
    return service.app.extensions["irs"].cloud.upkeep.pending


def test_accepted_jobs_are_looked_after_until_they_have_their_results(service: Service) -> None:
    service.work = lambda job: None
    service.post(("a.jpg", picture()), headers={"Prefer": "wait=0"})
    assert len(pending(service)) == 1
    (job,) = service.sent
    service.finish(done(job))
    assert service.client.get(f"/v1/images/{job.id}").json["status"] == "done"
    assert len(pending(service)) == 0
    service.work = done
    service.post(("b.jpg", picture()))
    assert len(pending(service)) == 0


def test_a_job_whose_send_failed_is_looked_after_as_it_may_have_been_sent(service: Service) -> None:
    service.send_fails = errors.Unreachable("timeout")
    assert service.post(("a.jpg", picture())).status_code == 503
    assert len(pending(service)) == 1


def test_whoever_is_asked_for_a_job_adopts_it(service: Service, make: Any) -> None:
    service.work = lambda job: None
    service.post(("a.jpg", picture()), headers={"Prefer": "wait=0"})
    (job,) = service.sent
    other = make()
    other.objects.stored.update(service.objects.stored)
    assert other.client.get(f"/v1/images/{job.id}").json["status"] == "queued"
    assert len(pending(other)) == 1
    assert other.client.get("/v1/images/00000000-0000-4000-8000-000000000000").status_code == 404
    assert len(pending(other)) == 1


def test_a_lost_job_is_504_with_its_id_and_when_to_ask(service: Service, monkeypatch: Any) -> None:
    service.work = lambda job: None
    _lose(service, monkeypatch)
    answer = service.post(("a.jpg", picture()), headers={"Prefer": "wait=0"})
    (job,) = service.sent
    assert answer.status_code == 504
    assert job.id in answer.text
    assert answer.headers["Location"] == f"/v1/images/{job.id}"
    assert int(answer.headers["Retry-After"]) > 0
    for method in ("get", "post"):
        answer = service.client.get(f"/v1/images/{job.id}") if method == "get" else service.client.post(
            "/v1/images", data=picture(), content_type="image/jpeg")
        assert answer.status_code == 504
        assert answer.json["code"] == "lost"
        assert answer.json["id"] == service.sent[-1].id
        assert int(answer.headers["Retry-After"]) > 0
    assert 'irs_uploads_total{outcome="lost"} 2.0' in service.client.get("/metrics").text


def test_a_result_wins_over_being_lost(service: Service, monkeypatch: Any) -> None:
    _lose(service, monkeypatch)
    assert service.post(("a.jpg", picture())).status_code == 200


def test_the_figures_are_there(service: Service) -> None:
    service.work = lambda job: None
    service.post(("a.jpg", picture()), headers={"Prefer": "wait=0"})
    text = service.client.get("/metrics").text
    assert "irs_pending_jobs 1.0" in text
    (since,) = [float(line.split()[1]) for line in text.splitlines()
                if line.startswith("irs_oldest_pending_job_timestamp_seconds ")]
    assert 0 <= time.time() - since < 60
    assert "irs_requeued_jobs_total 0.0" in text
