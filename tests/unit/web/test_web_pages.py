from __future__ import annotations

import base64
import re

import pytest

from irs import __version__, errors
from irs.domain.jobs import Failure
from tests.unit.web.webkit import done, failed, picture

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/upload"])
def test_the_form_works_without_scripts(service, path):
    page = service.client.get(path)
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert 'enctype="multipart/form-data"' in page.text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL) == [""]  # ours, and none within
    assert "style=" not in page.text


def test_the_results_page_shows_labels_errors_and_places(service):
    service.work = lambda job: None if job.image == "late.jpg" else done(job)
    page = service.post(("fish.jpg", picture()), ("bad.jpg", bytes(50)), ("late.jpg", picture()),
                        headers={**HTML, "Prefer": "wait=0"})
    assert page.status_code == 202
    assert "<h2>tench</h2>" in page.text
    assert "90.0 %" in page.text
    assert page.text.count('class="card refused"') == 1
    assert "Still in the queue" in page.text
    assert "style=" not in page.text


def test_what_was_uploaded_is_not_sent_back(service):
    for kind in ("JPEG", "PNG", "GIF"):
        body = picture(kind)
        for accept in ("text/html", "application/json", "text/plain"):
            answer = service.post((f"a.{kind}", body), headers={"Accept": accept})
            assert answer.status_code == 200
            assert "data:" not in answer.text
            assert base64.b64encode(body)[:40].decode() not in answer.text
            assert "img-src 'self' blob:;" in answer.headers["Content-Security-Policy"]


def test_a_job_that_may_not_have_been_sent_can_be_asked_for(service):
    service.send_fails = errors.Unreachable("no queue")
    page = service.post(("a.jpg", picture()), headers=HTML)
    (key,) = service.objects.stored
    assert (page.status_code, page.headers["Location"]) == (503, f"/v1/images/{key.split('/')[0]}")
    assert f'<a href="{page.headers["Location"]}">' in page.text


def test_names_and_messages_are_escaped(service):
    service.work = lambda job: failed(job, message="<b>no</b>")
    evil = '"><script>alert(1)</script>.jpg'
    page = service.post((evil, picture()), headers=HTML)
    assert page.status_code == 422
    assert "<script" not in page.text
    assert "<b>no" not in page.text


@pytest.mark.parametrize("path", ["/nothing", "/static/nothing"])
def test_a_browser_gets_errors_as_a_page(service, path):
    page = service.client.get(path, headers=HTML)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "No such page" in page.text


def test_everybody_else_gets_one_line(service):
    answer = service.client.get("/nothing")
    assert (answer.status_code, answer.text) == (404, "error: no such page\n")
    answer = service.client.delete("/upload")
    assert (answer.status_code, answer.text) == (405, "error: DELETE is not allowed here\n")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/v1/images/x", "/metrics"])
def test_security_headers_are_everywhere(service, path):
    headers = service.client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_static_files(service):
    with service.client.get("/static/style.css") as answer:
        assert answer.status_code == 200
        assert answer.mimetype == "text/css"
        assert "max-age" in answer.headers["Cache-Control"]


# -- health and metrics ----------------------------------------------------------------------
def test_healthz_asks_nobody(service):
    service.unready = errors.Unreachable("down")
    answer = service.client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, f"alive {__version__}\n")


def test_readyz(make):
    service = make()
    assert service.client.get("/readyz").text == "ready\n"
    service = make()
    service.unready = errors.Unreachable("SQS queue in: refused")
    answer = service.client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: SQS queue in: refused\n")
    assert "Retry-After" in answer.headers


def test_readyz_says_no_while_stopping(service):
    service.app.extensions["irs"].drain.begin(10)
    assert service.client.get("/readyz").status_code == 503
    assert service.client.get("/healthz").status_code == 200
    assert service.post(("a.jpg", picture())).status_code == 503


def test_metrics(service):
    service.post(("a.jpg", picture()), ("b.jpg", bytes(50)))
    service.client.get("/random/path/1")
    service.client.open("/healthz", method="BREW")
    text = service.client.get("/metrics").text
    for line in ('irs_uploads_total{outcome="done"} 1.0', 'irs_uploads_total{outcome="refused"} 1.0',
                 "irs_waiting_clients 0.0",
                 'irs_upload_seconds_count{outcome="done"} 1.0', "irs_http_requests_running 1.0",
                 'irs_http_requests_total{code="200",method="POST",route="/upload"} 1.0',
                 'irs_http_requests_total{code="404",method="GET",route="unmatched"} 1.0',
                 f'irs_build_info{{version="{__version__}"}} 1.0'):
        assert line in text.splitlines()
    assert 'method="other"' in text
    assert "random" not in text
    assert "BREW" not in text


def test_no_label_has_a_name_from_a_client(service):
    """A failure's code comes from a stored object; it is in no metric."""
    service.work = lambda job: failed(job, code=Failure(code="odd", message="x").code)
    service.post(("a.jpg", picture()))
    assert "odd" not in service.client.get("/metrics").text
