"""Images that come otherwise than in the body, on the embedded cloud, with AWS's own client."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from irs.audit import account
from irs.audit.account import Books
from irs.aws import clients
from irs.aws.objects import Objects
from irs.results.store import ResultStore
from tests.integration.conftest import Answer, Service, Web
from tests.integration.served import picture, serving, until

pytestmark = pytest.mark.integration

KEY = "a-secret-of-ours/with+signs"


@pytest.fixture(scope="module")
def service(cloud, make_service, photos) -> Service:
    name = cloud.settings.input_bucket.replace("in-", "photos-")
    service = make_service(cloud, source_buckets=f"{name},no-such-bucket", api_keys=f"test:{KEY}")
    s3 = clients.client(service.settings, "s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="2026//coffee (1).jpg", Body=photos["coffee"])
    s3.put_object(Bucket=name, Key="notes.txt", Body=b"no image")
    s3.put_object(Bucket=name, Key="huge.jpg", Body=bytes(service.settings.max_image_bytes + 1))
    service.worker()
    return service


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web()


@pytest.fixture
def bucket(service: Service) -> str:
    return service.settings.source_buckets[0]


def post(web: Web, path: str, document: Any, **headers: str) -> Answer:
    return web.call("POST", path, json.dumps(document).encode(), {
        "Content-Type": "application/json", "X-API-Key": KEY, "Prefer": "wait=30", **headers})


def put(url: str, data: bytes, kind: str = "image/jpeg") -> int:
    request = urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code


def staged(service: Service) -> list[str]:
    return list(Objects(service.settings, service.settings.input_bucket).keys("uploads/"))


# -- by address ------------------------------------------------------------------------------
def test_an_address_gets_its_label(web, service, bucket):
    answer = post(web, "/v1/images", {"s3": f"s3://{bucket}/2026//coffee (1).jpg"})
    assert (answer.status, answer.json["result"]) == (200, "(coffee (1), espresso)")
    stored = Objects(service.settings, service.settings.input_bucket)
    assert list(stored.keys(f"{answer.json['id']}/")) == [f"{answer.json['id']}/coffee_1_.jpg"]


@pytest.mark.parametrize(("key", "status", "code"), [
    ("none.jpg", 404, "no_such_object"), ("huge.jpg", 413, "too_large"),
    ("notes.txt", 415, "unsupported_format")])
def test_an_object_that_is_refused(web, bucket, key, status, code):
    answer = post(web, "/v1/images", {"s3": f"s3://{bucket}/{key}"})
    assert (answer.status, answer.json["code"]) == (status, code)


@pytest.mark.parametrize(("name", "code"), [
    ("never-named", "bucket_not_allowed"), ("no-such-bucket", "no_such_object")])
def test_a_bucket_that_is_refused(web, name, code):
    assert post(web, "/v1/images", {"s3": f"s3://{name}/a.jpg"}).json["code"] == code


# -- past the web tier -----------------------------------------------------------------------
def test_an_image_that_its_client_puts_there(web, service, photos):
    data = photos["coffee"]
    told = post(web, "/v1/uploads", {"name": "coffee.jpg", "size": len(data),
                                     "content_type": "image/jpeg"}).json
    assert post(web, "/v1/images", {"upload": told["id"]}).json["code"] == "not_uploaded"
    # What was signed is what is taken: no more, no less, nothing else, nowhere else.
    assert put(told["url"], data + b"x") == put(told["url"], data[:-1]) == 403
    assert put(told["url"], data, "text/html") == 403
    assert put(told["url"].replace("coffee.jpg", "other.jpg"), data) == 403
    assert put(told["url"], data) == 200
    answers = []
    with ThreadPoolExecutor(4) as pool:
        answers += pool.map(lambda _: post(web, "/v1/images", {"upload": told["id"]}), range(4))
    answers.append(post(web, "/v1/images", {"upload": told["id"]}))
    assert [(each.status, each.json["id"], each.json["result"]) for each in answers] == [
        (200, told["id"], "(coffee, espresso)")] * 5
    assert staged(service) == []
    assert ResultStore(service.settings).read(told["id"]).label == "espresso"


def test_what_nobody_comes_back_for_is_in_no_account(web, service, bucket, photos):
    assert post(web, "/v1/images", {"s3": f"s3://{bucket}/2026//coffee (1).jpg"}).status == 200
    told = post(web, "/v1/uploads", {"size": len(photos["coffee"])}).json
    assert put(told["url"], photos["coffee"], "application/octet-stream") == 200
    assert len(staged(service)) == 2
    found = account.audit(Books.of(service.settings))
    assert (found.balanced, found.foreign_objects, found.missing) == (True, 0, [])
    assert found.uploads == found.done > 0


# -- Rekognition -----------------------------------------------------------------------------
def rekognition(settings: Any, url: str, key: str = KEY) -> Any:
    """boto3's client, with the API key where a user of it has the access key."""
    return clients.client(settings.model_copy(update={
        "aws_endpoint_url": url, "aws_access_key_id": key}), "rekognition")


def test_rekognitions_client_detects_labels(web, service, bucket, photos):
    client = rekognition(service.settings, web.url)
    answer = client.detect_labels(Image={"Bytes": photos["coffee"]}, MaxLabels=3, MinConfidence=1)
    best, *others = answer["Labels"]
    assert (best["Name"], best["Instances"], best["Parents"]) == ("espresso", [], [])
    assert 100 >= best["Confidence"] > max([1, *(each["Confidence"] for each in others)])
    assert answer["LabelModelVersion"].startswith("efficientnet_lite0 sha256:")
    job = web.call("GET", f"/v1/images/{answer['ResponseMetadata']['RequestId']}",
                   headers={"X-API-Key": KEY}).json
    assert job["label"] == "espresso"
    there = client.detect_labels(Image={"S3Object": {"Bucket": bucket, "Name": "2026//coffee (1).jpg"}},
                                 MinConfidence=1, MaxLabels=3)
    assert there["Labels"] == answer["Labels"]


@pytest.mark.parametrize(("wanted", "kind"), [
    ({"Image": {"Bytes": b"no image"}}, "InvalidImageFormatException"),
    ({"Image": {"Bytes": bytes(20_000_001)}}, "ImageTooLargeException"),
    ({"Image": {"Bytes": bytes(21_000_000)}}, "ImageTooLargeException"),
    ({"Image": {"S3Object": {"Bucket": "never-named", "Name": "a"}}}, "InvalidS3ObjectException"),
    ({"Image": {"S3Object": {"Bucket": "no-such-bucket", "Name": "a"}}}, "InvalidS3ObjectException"),
    ({"Image": {}}, "InvalidParameterException"),
])
def test_rekognitions_client_knows_the_refusals(web, service, wanted, kind):
    client = rekognition(service.settings, web.url)
    with pytest.raises(getattr(client.exceptions, kind)):
        client.detect_labels(**wanted)


def test_rekognitions_client_without_our_key_is_a_stranger(web, service):
    client = rekognition(service.settings, web.url, "another-access-key-id")
    with pytest.raises(client.exceptions.ClientError, match="UnrecognizedClientException"):
        client.detect_labels(Image={"Bytes": picture()})


def test_rekognitions_client_comes_back_by_itself_when_it_is_throttled(cloud):
    with serving() as start:
        served = start(max_waiting=1)
        client = rekognition(cloud.settings, served.server.url)
        with ThreadPoolExecutor(1) as pool:
            with served.services.gate.enter():
                call = pool.submit(client.detect_labels, Image={"Bytes": picture()}, MinConfidence=1)
                until(lambda: served.services.metrics.overloads._value.get() == 1)
            answer = call.result(20)
    assert answer["Labels"][0]["Name"] == "label image"
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(served.sent) == 1


def test_a_call_that_is_not_ready_is_tried_again_and_stays_one_job(cloud):
    with serving() as start:
        served = start(held=True, client_wait=0.1)
        client = rekognition(cloud.settings, served.server.url)
        began = time.monotonic()
        with pytest.raises(client.exceptions.ThrottlingException, match="not ready yet"):
            client.detect_labels(Image={"Bytes": picture()})
        assert time.monotonic() - began < 20
    assert len(served.sent) == 1
