"""Images that come by their address."""

from __future__ import annotations

import json

import pytest

from irs import errors
from irs.domain.jobs import Status
from irs.testing import MemoryForeign, MemoryObjects
from tests.unit.web.webkit import picture

PROBLEM = "application/problem+json"


@pytest.fixture
def photos():
    """A bucket of others."""
    objects = MemoryObjects("photos")
    objects.put("2026/tiger shark.JPEG", picture())
    return MemoryForeign(objects)


@pytest.fixture
def service(make, photos):
    return make(source_buckets=("photos",), sources={"photos": photos}, max_image_bytes=2000)


def post(service, document, **headers):
    data = document if isinstance(document, bytes) else json.dumps(document)
    return service.client.post("/v1/images", data=data, content_type="application/json",
                               headers={"Prefer": "wait=5", **headers})


def test_an_address_goes_the_way_of_an_upload(service):
    answer = post(service, {"s3": "s3://photos/2026/tiger shark.JPEG"})
    (job,) = service.sent
    assert (answer.status_code, answer.json["result"]) == (200, "(tiger shark, tench)")
    stored = service.objects.stored[f"{job.id}/tiger_shark.JPEG"]
    assert (stored.data, stored.content_type, stored.metadata) == (
        picture(), "image/jpeg", {"name": "tiger shark.JPEG", "reply-to": service.listener.address})


def test_without_a_wait_it_is_a_job(service):
    service.work = lambda job: None
    answer = post(service, {"s3": "s3://photos/2026/tiger shark.JPEG"}, Prefer="wait=0")
    assert (answer.status_code, answer.json["status"]) == (202, Status.QUEUED)
    assert answer.headers["Location"] == f"/v1/images/{service.sent[0].id}"


@pytest.mark.parametrize(("name", "shown"), [
    ("mine.jpg", "mine.jpg"), ("../../etc/passwd", "passwd"), ("", "image"), (None, "tiger shark.JPEG")])
def test_a_name_of_the_clients_own(service, name, shown):
    assert post(service, {"s3": "s3://photos/2026/tiger shark.JPEG", "name": name}).status_code == 200
    assert service.sent[0].image == shown


@pytest.mark.parametrize(("document", "status", "code"), [
    (b"{", 400, "bad_request"),
    (b"\xff\xfe", 400, "bad_request"),
    (b"", 400, "bad_request"),
    (b"[" * 50_000, 400, "bad_request"),
    (b'{"s3": "' + b"x" * 70_000 + b'"}', 413, "too_large"),
    (["s3://photos/a"], 400, "bad_request"),
    ({}, 400, "bad_request"),
    ({"s3": 7}, 400, "bad_request"),
    ({"s3": "photos/a.jpg"}, 400, "bad_request"),
    ({"s3": "s3://photos/../secrets/a.jpg"}, 400, "bad_request"),
    ({"s3": "s3://photos/2026/tiger shark.JPEG", "name": 7}, 400, "bad_request"),
    ({"s3": "s3://photos/none.jpg"}, 404, "no_such_object"),
    ({"s3": "s3://photos/large.jpg"}, 413, "too_large"),
    ({"s3": "s3://photos/text.jpg"}, 415, "unsupported_format"),
    ({"s3": "s3://elsewhere/a.jpg"}, 403, "bucket_not_allowed"),
    ({"s3": "s3://PHOTOS/2026/tiger shark.JPEG"}, 403, "bucket_not_allowed"),
])
def test_a_refusal_says_what_is_wrong(service, photos, document, status, code):
    photos.objects.put("large.jpg", bytes(2001))
    photos.objects.put("text.jpg", b"not an image")
    answer = post(service, document)
    assert (answer.status_code, answer.json["code"], answer.content_type) == (status, code, PROBLEM)
    assert answer.json["detail"]
    assert not service.sent
    assert not service.objects.stored


def test_our_own_buckets_are_as_foreign_as_any(service):
    for bucket in (service.settings.input_bucket, service.settings.output_bucket):
        answer = post(service, {"s3": f"s3://{bucket}/a.jpg"})
        assert answer.json["code"] == "bucket_not_allowed"


def test_no_bucket_is_allowed_unless_it_is_named(make, photos):
    answer = post(make(sources={"photos": photos}), {"s3": "s3://photos/2026/tiger shark.JPEG"})
    assert answer.json["code"] == "bucket_not_allowed"


@pytest.mark.parametrize(("fault", "status", "code"), [
    (errors.AccessDenied("S3 GET from photos: Access Denied"), 403, "object_denied"),
    (errors.Permanent("S3 GET from photos: archived", code="InvalidObjectState"), 403, "object_denied"),
    (errors.NoBucket("S3 GET from photos"), 404, "no_such_object"),
    (errors.Unreachable("S3 GET from photos: reset"), 503, "unavailable"),
    (errors.Throttled("S3 GET from photos: slow down"), 503, "unavailable"),
])
def test_what_s3_says_is_told_apart(service, photos, fault, status, code):
    photos.fails = fault
    answer = post(service, {"s3": "s3://photos/2026/tiger shark.JPEG"})
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert "photos" not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 503)
    assert "id" not in answer.json
