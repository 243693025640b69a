"""DetectLabels for clients of Amazon Rekognition."""

from __future__ import annotations

import base64
import json
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from irs import errors
from irs.testing import MemoryForeign, MemoryObjects
from tests.unit.web.webkit import failed, picture

KIND = "application/x-amz-json-1.1"
TARGET = "RekognitionService.DetectLabels"
SECRET = "a-secret-of/ours+x"


def bytes_of(data=None):
    return {"Bytes": base64.b64encode(picture() if data is None else data).decode()}


def detect(service, document=None, target=TARGET, **headers):
    document = {"Image": bytes_of(), "MinConfidence": 0} if document is None else document
    data = document if isinstance(document, bytes) else json.dumps(document)
    return service.client.post("/", data=data, content_type=KIND,
                               headers={"X-Amz-Target": target, **headers})


def told(answer):
    return json.loads(answer.text)


def refusal(answer):
    """Status and type of an error; checked for the form that AWS's clients read."""
    assert answer.content_type == KIND
    assert told(answer)["__type"] == answer.headers["x-amzn-ErrorType"]
    assert told(answer)["message"]
    assert uuid.UUID(answer.headers["x-amzn-RequestId"])
    return answer.status_code, told(answer)["__type"]


def tries(number, call="0f6e1f4e-3f34-4d0f-9f0c-0a8b1cb7b9a5"):
    return {"amz-sdk-invocation-id": call, "amz-sdk-request": f"attempt={number}; max=5"}


@pytest.fixture
def photos():
    objects = MemoryObjects("photos")
    objects.put("2026/tiger shark.JPEG", picture())
    return MemoryForeign(objects)


# -- labels ----------------------------------------------------------------------------------
def test_labels_in_rekognitions_shape(service):
    answer = detect(service)
    assert (answer.status_code, answer.content_type) == (200, KIND)
    assert answer.headers["x-amzn-RequestId"] == service.sent[0].id
    assert told(answer)["Labels"][0] == {
        "Name": "tench", "Confidence": 90.0, "Instances": [], "Parents": [], "Aliases": [],
        "Categories": []}
    assert [each["Confidence"] for each in told(answer)["Labels"]] == [90, 22.5, 5.625, 1.4062, 0.3516]
    assert told(answer)["LabelModelVersion"] == "efficientnet_lite0 sha256:0123456789ab"
    assert set(told(answer)) == {"Labels", "LabelModelVersion"}


@pytest.mark.parametrize(("wish", "number"), [
    ({}, 1), ({"MinConfidence": None, "MaxLabels": None}, 1), ({"MinConfidence": 90}, 1),
    ({"MinConfidence": 90.1}, 0), ({"MinConfidence": 100}, 0), ({"MinConfidence": 5}, 3),
    ({"MinConfidence": 0, "MaxLabels": 2}, 2), ({"MinConfidence": 0, "MaxLabels": 0}, 0),
    ({"MinConfidence": 0, "MaxLabels": 100}, 5), ({"MinConfidence": 0, "Features": ["GENERAL_LABELS"]}, 5),
    ({"MinConfidence": 0, "Features": [], "Settings": {}}, 5),
])
def test_how_many_labels_and_how_sure(service, wish, number):
    answer = detect(service, {"Image": bytes_of(), **wish})
    assert (answer.status_code, len(told(answer)["Labels"])) == (200, number)


def test_an_object_in_s3_and_one_version_of_it(make, photos):
    service = make(source_buckets=("photos",), sources={"photos": photos})
    where = {"Bucket": "photos", "Name": "2026/tiger shark.JPEG"}
    assert told(detect(service, {"Image": {"S3Object": where}}))["Labels"][0]["Name"] == "tench"
    assert service.sent[0].image == "tiger shark.JPEG"
    version = photos.objects.stored[where["Name"]].etag
    for wanted, status in ((version, 200), ("another", 400)):
        answer = detect(service, {"Image": {"S3Object": where | {"Version": wanted}}})
        assert answer.status_code == status


# -- refusals --------------------------------------------------------------------------------
@pytest.mark.parametrize(("document", "kind"), [
    (b"", "InvalidParameterException"),
    (b"{", "InvalidParameterException"),
    (b"[]", "InvalidParameterException"),
    ({}, "InvalidParameterException"),
    ({"Image": []}, "InvalidParameterException"),
    ({"Image": {}}, "InvalidParameterException"),
    ({"Image": {"Bytes": ""}}, "InvalidParameterException"),
    ({"Image": {"Bytes": 7}}, "InvalidParameterException"),
    ({"Image": {"Bytes": "not base64"}}, "InvalidParameterException"),
    ({"Image": {"Bytes": "\u00fc"}}, "InvalidParameterException"),
    ({"Image": bytes_of() | {"S3Object": {"Bucket": "photos", "Name": "a"}}}, "InvalidParameterException"),
    ({"Image": {"S3Object": "s3://photos/a"}}, "InvalidParameterException"),
    ({"Image": {"S3Object": {"Bucket": "photos"}}}, "InvalidParameterException"),
    ({"Image": {"S3Object": {"Bucket": "photos", "Name": "../x"}}}, "InvalidParameterException"),
    ({"Image": {"S3Object": {"Bucket": "photos", "Name": "a", "Version": 7}}}, "InvalidParameterException"),
    ({"Image": {"S3Object": {"Bucket": "photos", "Name": "none"}}}, "InvalidS3ObjectException"),
    ({"Image": {"S3Object": {"Bucket": "elsewhere", "Name": "a"}}}, "InvalidS3ObjectException"),
    ({"Image": bytes_of(b"no image")}, "InvalidImageFormatException"),
    ({"Image": bytes_of(bytes(2001))}, "ImageTooLargeException"),
    ({"Image": bytes_of(bytes(100_000))}, "ImageTooLargeException"),
    ({"Image": bytes_of(), "MaxLabels": -1}, "InvalidParameterException"),
    ({"Image": bytes_of(), "MaxLabels": 1.5}, "InvalidParameterException"),
    ({"Image": bytes_of(), "MaxLabels": True}, "InvalidParameterException"),
    ({"Image": bytes_of(), "MinConfidence": 101}, "InvalidParameterException"),
    ({"Image": bytes_of(), "MinConfidence": -1}, "InvalidParameterException"),
    ({"Image": bytes_of(), "MinConfidence": "55"}, "InvalidParameterException"),
    ({"Image": bytes_of(), "Features": ["IMAGE_PROPERTIES"]}, "InvalidParameterException"),
    ({"Image": bytes_of(), "Settings": {"GeneralLabels": {"LabelInclusionFilters": ["x"]}}},
     "InvalidParameterException"),
])
def test_a_refusal_is_one_of_rekognitions(make, photos, document, kind):
    service = make(source_buckets=("photos",), sources={"photos": photos}, max_image_bytes=2000)
    assert refusal(detect(service, document)) == (400, kind)
    assert not service.sent


def test_a_body_of_nothing_but_structure_is_not_built(make):
    service = make(max_image_bytes=1_000_000)
    body = b'{"Image": [' + b"{}," * 300_000 + b"{}]}"
    tracemalloc.start()
    try:
        answer = detect(service, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(answer) == (400, "ImageTooLargeException")
    assert peak < 4 * len(body)


@pytest.mark.parametrize("body", [
    b'{"MinConfidence": 0, "Image": {"Bytes": "%s"}}',
    b'{"Image":{"Bytes":"%s"},"MinConfidence":0}',
    b'{"Image" : {"Bytes"\n:\t"%s" } ,"MinConfidence": 0}',
    # The word alone, in another member's name and value; the same member twice: the last counts.
    b'{"Other": {"Bytes": "x"}, "Image": {"Bytes": "%s"}, "MinConfidence": 0}',
    b'{"Other": "\\"Bytes\\": \\"", "Image": {"Bytes": "%s"}, "MinConfidence": 0}',
    b'{"Image": {"Bytes": "x", "Bytes": "%s"}, "MinConfidence": 0}',
])
def test_however_the_json_is_written(service, body):
    encoded = base64.b64encode(picture())
    assert b"/" in encoded
    for text in (encoded, encoded.replace(b"/", b"\\/")):
        assert detect(service, body % text).status_code == 200
        assert service.objects.stored[service.sent[-1].key].data == picture()


@pytest.mark.parametrize("body", [
    b'{"Image": {"Bytes": "*"}}', b'{"Other": {"Bytes": "eA=="}, "Image": {"Bytes": ""}}',
    b'{"Image": {"Bytes": "eA=="', b'{"Image": {"Bytes": "eA==', b'{"Image": {"Bytes": "', b'"Bytes": "'])
def test_what_is_cut_out_does_not_mend_the_rest(service, body):
    assert refusal(detect(service, body)) == (400, "InvalidParameterException")


def test_numbers_that_are_none_are_refused(service):
    answer = detect(service, b'{"Image": {"Bytes": "eA=="}, "MinConfidence": NaN}')
    assert refusal(answer) == (400, "InvalidParameterException")


@pytest.mark.parametrize("target", ["RekognitionService.DetectFaces", "DynamoDB_20120810.GetItem", ""])
def test_another_operation_is_unknown(service, target):
    assert refusal(detect(service, target=target)) == (400, "UnknownOperationException")


def test_a_post_that_names_no_operation_is_no_call(service):
    answer = service.client.post("/", data=b"{}")
    assert (answer.status_code, answer.content_type) == (405, "text/plain; charset=utf-8")
    assert "GET" in answer.headers["Allow"]
    assert service.client.get("/", headers={"X-Amz-Target": TARGET}).mimetype == "text/html"


def test_the_services_own_troubles(service, monkeypatch):
    service.send_fails = errors.Unreachable("no answer from secret")
    answer = detect(service)
    assert refusal(answer) == (500, "InternalServerError")
    assert "secret" not in answer.text
    assert "Retry-After" in answer.headers
    service.send_fails = None
    service.work = failed
    assert refusal(detect(service)) == (400, "InvalidImageFormatException")
    service.work = lambda job: failed(job, "gave_up", "could not be classified")
    assert refusal(detect(service)) == (500, "InternalServerError")
    monkeypatch.setattr(service.app.extensions["irs"].dispatcher, "classify", None)
    assert refusal(detect(service)) == (500, "InternalServerError")


def test_without_room_it_is_throttled(make):
    service = make(max_waiting=1)
    with service.app.extensions["irs"].gate.enter():
        answer = detect(service)
    assert refusal(answer) == (400, "ThrottlingException")
    assert int(answer.headers["Retry-After"]) >= 1


# -- keys ------------------------------------------------------------------------------------
def signed(key):
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20261125/us-east-1/rekognition/"
                             "aws4_request, SignedHeaders=host;x-amz-date, Signature=0123"}


def test_the_access_keys_id_is_the_api_key(make):
    service = make(api_keys=f"me:{SECRET}", api_rate=0.1)
    assert detect(service, **signed(SECRET)).status_code == 200
    assert refusal(detect(service, **signed(SECRET))) == (400, "ThrottlingException")


@pytest.mark.parametrize("headers", [
    {}, signed("AKIAIOSFODNN7EXAMPLE"), signed(SECRET + "/x"), signed(""),
    {"Authorization": f"AWS4-HMAC-SHA256 Credential={SECRET}"},
    {"Authorization": f"AWS4-HMAC-SHA256 Credential={SECRET}/a/b/c/d/"},
    {"Authorization": "AWS4-HMAC-SHA256"},
])
def test_a_stranger_is_unrecognized(make, headers):
    service = make(api_keys=f"me:{SECRET}")
    assert refusal(detect(service, **headers)) == (400, "UnrecognizedClientException")
    assert not service.sent


# -- a call that is tried again ----------------------------------------------------------------
def test_what_is_not_ready_is_throttled_and_found_by_the_next_try(make):
    service = make(client_wait=0.01)
    service.work = lambda job: None
    first = detect(service, **tries(1))
    assert refusal(first) == (400, "ThrottlingException")
    assert f"/v1/images/{service.sent[0].id}" in told(first)["message"]
    assert refusal(detect(service, **tries(2))) == (400, "ThrottlingException")
    service.finish(failed(service.sent[0], "gave_up"))
    again = detect(service, **tries(3))
    assert refusal(again) == (500, "InternalServerError")
    assert first.headers["x-amzn-RequestId"] == again.headers["x-amzn-RequestId"] == service.sent[0].id
    assert len(service.sent) == 1


def test_a_next_try_whose_first_never_arrived_is_a_first(service):
    assert detect(service, **tries(2)).status_code == 200
    assert len(service.sent) == 1


def test_two_calls_are_two_jobs(service):
    detect(service, **tries(1)), detect(service, **tries(1, str(uuid.uuid4())))
    detect(service), detect(service, **tries(1, "no uuid"))
    assert len({job.id for job in service.sent}) == 4


def test_many_at_once(service):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: detect(service), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-amzn-RequestId"] for answer in answers}) == 24
