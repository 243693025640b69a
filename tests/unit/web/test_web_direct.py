"""Images that clients put into S3 themselves."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from irs import errors
from irs.domain import keys
from tests.unit.web.webkit import done, failed, picture

PROBLEM = "application/problem+json"


def sign(key, *, size, content_type, seconds):
    assert seconds == 900
    return f"http://s3/{key}?size={size}&type={content_type}"


@pytest.fixture
def service(make):
    return make(sign=sign, max_image_bytes=2000)


def post(service, path, document, **headers):
    return service.client.post(path, data=json.dumps(document), content_type="application/json",
                               headers=headers)


def announce(service, data=None, name="tiger shark.JPEG", kind="image/jpeg"):
    data = picture() if data is None else data
    return post(service, "/v1/uploads", {"name": name, "size": len(data), "content_type": kind})


def staged(service, data=None, name="tiger shark.JPEG"):
    """An upload whose bytes are there; its id."""
    answer = announce(service, data, name)
    service.objects.put(key_of(answer), picture() if data is None else data)
    return answer.json["id"]


def key_of(answer):
    return answer.json["url"].removeprefix("http://s3/").partition("?")[0]


def submit(service, upload_id, **headers):
    return post(service, "/v1/images", {"upload": upload_id}, **{"Prefer": "wait=5", **headers})


def left(service):
    return [key for key in service.objects.stored if key.startswith("uploads/")]


# -- announcing ------------------------------------------------------------------------------
def test_an_announced_upload_has_an_address(service):
    answer = announce(service)
    told = answer.json
    assert (answer.status_code, told["method"]) == (201, "PUT")
    assert told["url"] == (f"http://s3/uploads/{told['id']}/tiger_shark.JPEG"
                           f"?size={len(picture())}&type=image/jpeg")
    assert told["headers"] == {"Content-Type": "image/jpeg"}
    assert told["location"] == answer.headers["Location"] == f"/v1/images/{told['id']}"
    left_to_send = datetime.fromisoformat(told["expires"]) - datetime.now(UTC)
    assert timedelta(seconds=890) < left_to_send <= timedelta(seconds=900)
    assert service.client.get(told["location"]).status_code == 404
    service.objects.put(key_of(answer), picture())
    assert service.client.get(told["location"]).status_code == 404
    assert service.app.extensions["irs"].cloud.counts.pending == 0
    assert not service.sent


def test_a_name_is_no_path_and_a_type_is_not_needed(service):
    answer = post(service, "/v1/uploads", {"size": 10})
    assert answer.json["headers"] == {"Content-Type": "application/octet-stream"}
    assert key_of(answer) == f"uploads/{answer.json['id']}/image"
    assert key_of(announce(service, name="../../x/../y.jpg")).endswith("/y.jpg")


@pytest.mark.parametrize(("document", "status", "code"), [
    ({}, 400, "bad_request"),
    ({"size": "10"}, 400, "bad_request"),
    ({"size": 0}, 400, "bad_request"),
    ({"size": -1}, 400, "bad_request"),
    ({"size": True}, 400, "bad_request"),
    ({"size": 1.5}, 400, "bad_request"),
    ({"size": 1e400}, 400, "bad_request"),
    ({"size": 2001.0}, 413, "too_large"),
    ({"size": 2001}, 413, "too_large"),
    ({"size": 10, "name": 7}, 400, "bad_request"),
    ({"size": 10, "content_type": 7}, 400, "bad_request"),
    ({"size": 10, "content_type": "text/html"}, 415, "unsupported_format"),
    ({"size": 10, "content_type": "image/png\r\nX-Evil: 1"}, 415, "unsupported_format"),
    ([], 400, "bad_request"),
])
def test_a_refused_announcement_says_why(service, document, status, code):
    answer = post(service, "/v1/uploads", document)
    assert (answer.status_code, answer.json["code"], answer.content_type) == (status, code, PROBLEM)
    assert not service.objects.stored


def test_an_announcement_that_cannot_be_stored_is_503(service, monkeypatch):
    def away(*args, **kwargs):
        raise errors.Unreachable("S3 PUT to secret: reset")

    monkeypatch.setattr(service.objects, "put", away)
    answer = announce(service)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert "secret" not in answer.text


# -- the job ---------------------------------------------------------------------------------
def test_an_upload_becomes_the_job_of_its_id_and_leaves_nothing_behind(service):
    upload_id = staged(service)
    answer = submit(service, upload_id)
    (job,) = service.sent
    assert (answer.status_code, answer.json["id"], job.id) == (200, upload_id, upload_id)
    assert answer.json["result"] == "(tiger shark, tench)"
    stored = service.objects.stored[f"{upload_id}/tiger_shark.JPEG"]
    assert (stored.data, stored.content_type, stored.metadata) == (
        picture(), "image/jpeg", {"name": "tiger shark.JPEG", "reply-to": service.listener.address})
    assert not left(service)
    assert service.client.get(f"/v1/images/{upload_id}").json["label"] == "tench"


def test_a_second_time_is_the_same_job(service):
    upload_id = staged(service)
    first, second = submit(service, upload_id), submit(service, upload_id.upper())
    assert first.json == second.json
    assert len(service.sent) == 1


def test_a_second_time_before_the_result_is_the_same_job_too(service):
    service.work = lambda job: None
    upload_id = staged(service)
    for _ in range(2):
        answer = submit(service, upload_id, Prefer="wait=0")
        assert (answer.status_code, answer.json["id"], answer.json["image"]) == (
            202, upload_id, "tiger shark.JPEG")
        assert answer.headers["Location"] == f"/v1/images/{upload_id}"
    assert len(service.sent) == 1


def test_who_asks_a_second_time_may_wait_for_the_result(service):
    service.work = lambda job: None
    upload_id = staged(service)
    submit(service, upload_id, Prefer="wait=0")
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(submit, service, upload_id, Prefer="wait=60")
        while not service.listener.waiting:
            assert not again.done()
            threading.Event().wait(0.005)
        service.finish(done(service.sent[0]))
        assert again.result(5).json["label"] == "tench"


def test_a_job_that_failed_stays_failed(service):
    service.work = failed
    upload_id = staged(service)
    first, second = submit(service, upload_id), submit(service, upload_id)
    assert (first.status_code, first.json["code"], first.json["id"]) == (422, "undecodable", upload_id)
    assert second.json == first.json


def test_of_two_at_once_both_have_the_one_job(service, monkeypatch):
    """The second has found the bytes, and stores them after the first has made the job of them."""
    upload_id = staged(service)
    get, inside = service.objects.get, []

    def slow(key, **kwargs):
        data = get(key, **kwargs)
        if key.endswith("tiger_shark.JPEG") and not inside:
            inside.append(key)
            assert submit(service, upload_id).status_code == 200
        return data

    monkeypatch.setattr(service.objects, "get", slow)
    answer = submit(service, upload_id)
    assert (answer.status_code, answer.json["id"]) == (200, upload_id)
    assert {job.id for job in service.sent} == {upload_id}
    assert not left(service)


@pytest.mark.parametrize("gone", ["tiger_shark.JPEG", ".json"])
def test_the_second_finds_the_job_though_the_bytes_have_gone_meanwhile(service, monkeypatch, gone):
    upload_id = staged(service)
    get, inside = service.objects.get, []

    def late(key, **kwargs):
        if key.endswith(gone) and not inside:
            inside.append(key)
            assert submit(service, upload_id).status_code == 200
        return get(key, **kwargs)

    monkeypatch.setattr(service.objects, "get", late)
    answer = submit(service, upload_id)
    assert (answer.status_code, answer.json["id"], len(service.sent)) == (200, upload_id, 1)


def test_other_bytes_at_the_address_afterwards_change_nothing(service):
    answer = announce(service)
    upload_id = answer.json["id"]
    service.objects.put(key_of(answer), picture())
    submit(service, upload_id)
    service.objects.put(key_of(answer), bytes(len(picture())))
    assert submit(service, upload_id).json["label"] == "tench"
    assert service.objects.stored[f"{upload_id}/tiger_shark.JPEG"].data == picture()


def test_a_process_that_ended_in_between_left_everything_to_begin_again(service):
    service.send_fails = errors.Unreachable("the process ends here")
    upload_id = staged(service)
    answer = submit(service, upload_id)
    assert (answer.status_code, answer.json["id"]) == (503, upload_id)
    assert len(left(service)) == 2
    service.send_fails = None
    assert submit(service, upload_id).status_code == 200
    assert not left(service)


def test_a_write_whose_answer_was_lost_is_sent_all_the_same(service, monkeypatch):
    put = service.objects.put

    def written_twice(key, data, **options):
        put(key, data, **options)
        if options.get("create"):
            put(key, data, **options)  # as a client does that tries again

    upload_id = staged(service)
    monkeypatch.setattr(service.objects, "put", written_twice)
    assert submit(service, upload_id).json["label"] == "tench"
    assert len(service.sent) == 1
    assert not left(service)


def test_what_cannot_be_removed_costs_nobody_the_label(service, monkeypatch, events):
    def stuck(key):
        raise errors.Unreachable("no answer")

    upload_id = staged(service)
    monkeypatch.setattr(service.objects, "delete", stuck)
    assert submit(service, upload_id).json["label"] == "tench"
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["staging.left"]


@pytest.mark.parametrize(("data", "status", "code"), [
    (None, 409, "not_uploaded"),
    (bytes(10), 400, "bad_request"),
    (bytes(1999), 413, "too_large"),
])
def test_what_was_announced_and_has_not_come_is_named(service, data, status, code):
    answer = announce(service)
    if data is not None:
        service.objects.put(key_of(answer), data)
    refused = submit(service, answer.json["id"])
    assert (refused.status_code, refused.json["code"], refused.content_type) == (status, code, PROBLEM)
    service.objects.put(key_of(answer), picture())
    assert submit(service, answer.json["id"]).status_code == 200


def test_what_is_no_image_is_refused_and_may_be_sent_once_more(service):
    answer = announce(service)
    service.objects.put(key_of(answer), bytes(len(picture())))
    assert submit(service, answer.json["id"]).json["code"] == "unsupported_format"
    service.objects.put(key_of(answer), picture())
    assert submit(service, answer.json["id"]).status_code == 200


def test_an_upload_that_never_came_is_forgotten_in_time(service, monkeypatch):
    monkeypatch.setattr("irs.web.staging.EXPIRES", -1)
    monkeypatch.setattr(service.app.extensions["irs"].cloud, "sign",
                        lambda key, **rest: sign(key, **rest | {"seconds": 900}))
    answer = announce(service)
    refused = submit(service, answer.json["id"])
    assert (refused.status_code, refused.json["code"]) == (404, "no_such_upload")
    # It came in time, and was asked for later.
    service.objects.put(key_of(answer), picture())
    assert submit(service, answer.json["id"]).status_code == 200


@pytest.mark.parametrize(("document", "status", "code"), [
    ({"upload": "4c1b761c-07f4-4ba6-902c-23274fdd951a"}, 404, "no_such_upload"),
    ({"upload": "../x"}, 400, "bad_request"),
    ({"upload": None}, 400, "bad_request"),
    ({"upload": ["x"]}, 400, "bad_request"),
    ({"upload": "4c1b761c-07f4-4ba6-902c-23274fdd951a", "s3": "s3://a/b"}, 400, "bad_request"),
])
def test_what_was_never_announced_is_refused(service, document, status, code):
    answer = post(service, "/v1/images", document)
    assert (answer.status_code, answer.json["code"], answer.content_type) == (status, code, PROBLEM)


def test_a_ticket_that_is_none_is_no_upload(service):
    upload_id = keys.new_id()
    service.objects.put(keys.ticket_key(upload_id), b"{}")
    assert submit(service, upload_id).json["code"] == "no_such_upload"
