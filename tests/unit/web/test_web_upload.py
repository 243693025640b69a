from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from irs import errors
from irs.domain import keys
from tests.unit.web.webkit import done, failed, picture

JSON = {"Accept": "application/json"}
NOT_AN_IMAGE = bytes(100)


def test_default_answer_is_one_line_of_text(service):
    answer = service.post(("test_0.JPEG", picture()))
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == "(test_0, tench)\n"


def test_the_upload_is_stored_with_its_name_as_metadata(service):
    body = picture()
    service.post(("Ünï.JPEG", body))
    (job,) = service.sent
    stored = service.objects.stored[job.key]
    assert job.key == keys.input_key(job.id, "Ünï.JPEG")
    assert (stored.data, stored.content_type) == (body, "image/jpeg")
    assert stored.metadata == {"name": "Ünï.JPEG", "reply-to": service.listener.address}
    assert service.listener.waiting == 0


@pytest.mark.parametrize(("accept", "kind"), [
    (None, "text/plain"), ("*/*", "text/plain"), ("text/*", "text/plain"),
    ("image/png", "text/plain"), ("application/json", "application/json"),
    ("text/plain;q=0.2, application/json;q=0.9", "application/json"),
    ("application/json;q=0.2, text/plain", "text/plain"),
    ("application/json;q=0, */*", "text/plain"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "text/html"),
])
def test_accept_chooses_the_form(service, accept, kind):
    answer = service.post(("a.jpg", picture()), headers={"Accept": accept} if accept else {})
    assert answer.mimetype == kind
    assert "Accept" in answer.headers["Vary"]


def test_json_answer_is_the_result(service):
    answer = service.post(("test_0.JPEG", picture()), headers=JSON)
    (result,) = answer.json["results"]
    assert result["status"] == "done"
    assert result["label"] == "tench"
    assert result["result"] == "(test_0, tench)"
    assert len(result["predictions"]) == 5


def test_any_field_names_and_several_files_in_order(service):
    answer = service.client.post("/upload", data={
        "a": (io.BytesIO(picture()), "one.jpg"), "note": "a field", "b": [
            (io.BytesIO(picture("PNG")), "two.png"), (io.BytesIO(picture("GIF")), "three.gif")]})
    assert answer.text == "(one, tench)\n(two, tench)\n(three, tench)\n"


def test_a_refused_file_does_not_harm_its_neighbours(service):
    answer = service.post(("a.jpg", picture()), ("b.jpg", NOT_AN_IMAGE), ("c.jpg", picture()))
    first, second, third = answer.text.splitlines()
    assert answer.status_code == 200
    assert (first, third) == ("(a, tench)", "(c, tench)")
    assert second.startswith("(b, error: ")
    assert len(service.sent) == 2


def test_a_job_that_failed_in_the_worker_is_a_refusal(service):
    service.work = failed
    answer = service.post(("a.jpg", picture()))
    assert (answer.status_code, answer.text) == (422, "(a, error: the image is truncated)\n")


def test_a_job_that_failed_for_our_own_reasons_is_a_500(service):
    service.work = lambda job: failed(job, "gave_up", "given up after 5 attempts")
    assert service.post(("a.jpg", picture())).status_code == 500


@pytest.mark.parametrize(("files", "status"), [
    ([("a.jpg", NOT_AN_IMAGE), ("b.jpg", bytes(3000))], 415),
    ([("a.jpg", bytes(3000)), ("b.jpg", NOT_AN_IMAGE)], 413),
    ([("a.png", "big")], 413),
])
def test_all_refused_gives_the_first_refusals_status(make, files, status):
    service = make(max_image_bytes=2000, max_image_pixels=100_000)
    big = picture("GIF", (400, 300))
    answer = service.post(*[(name, big if data == "big" else data) for name, data in files])
    assert answer.status_code == status
    assert len(answer.text.splitlines()) == len(files)
    assert not service.objects.stored


def test_more_files_than_allowed(make):
    service = make(max_files=2)
    answer = service.post(*[("a.jpg", picture())] * 3)
    assert (answer.status_code, answer.text) == (413, "error: more than 2 files in one request\n")
    assert not service.sent


def test_a_request_beyond_the_limit_is_not_read(make):
    service = make(max_files=1, max_image_bytes=1000)
    answer = service.post(("a.jpg", bytes(400_000)))
    assert (answer.status_code, answer.text) == (413, "error: the request is too large\n")


BOUNDARY = "multipart/form-data; boundary=xyz"
PART = b'--xyz\r\nContent-Disposition: form-data; name="myfile"; filename="a.jpg"\r\n\r\n'


@pytest.mark.parametrize(("content_type", "body", "says"), [
    (None, b"", "no file"),
    (BOUNDARY, b"--xyz--\r\n", "no file"),
    (BOUNDARY, PART.replace(b"a.jpg", b"") + b"\r\n--xyz--\r\n", "no file"),
    (BOUNDARY, b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\ntext\r\n--xyz--\r\n', "no file"),
    (BOUNDARY, b"\r\n", "broke off"),
    (BOUNDARY, PART + picture(), "broke off"),
    (BOUNDARY, PART, "broke off"),
    (BOUNDARY, b"--xyz\r\nContent-Disposition", "broke off"),
    (BOUNDARY, b"--xyz\r\nContent-Type: image/jpeg\r\n\r\nabc\r\n--xyz--\r\n", "malformed"),
    ("multipart/form-data", PART + picture() + b"\r\n--xyz--\r\n", "boundary"),
    ("multipart/form-data; boundary=" + "x" * 500, PART, "boundary"),
    ("image/jpeg", picture(), "content type"),
    ("application/x-www-form-urlencoded", b"a=b", "content type"),
    ("multipart/mixed; boundary=xyz", PART, "content type"),
])
def test_what_is_no_form_with_a_file_is_400_and_one_line(service, content_type, body, says):
    answer = service.client.post("/upload", data=body, content_type=content_type)
    assert answer.status_code == 400
    assert says in answer.text
    assert answer.text.count("\n") == 1
    assert not service.objects.stored


@pytest.mark.parametrize("disposition", [
    b'form-data; name="myfile"; filename="caf\xe9.jpg"',
    b"form-data; name=\"myfile\"; filename*=UTF-8''caf%E9.jpg",
    b'form-data; name="myfile"; filename="../../etc/passwd"',
    b'form-data; name="myfile"; filename="a\x00b.jpg"',
    b'form-data; name="myfile"; filename="' + b"n" * 5000 + b'.jpg"',
    b"form-data; filename=x.jpg",
])
def test_odd_file_names_lose_no_file(service, disposition):
    body = (b"--xyz\r\nContent-Disposition: " + disposition + b"\r\nContent-Type: image/jpeg\r\n\r\n"
            + picture() + b"\r\n--xyz--\r\n")
    answer = service.client.post("/upload", data=body, content_type=BOUNDARY)
    assert answer.status_code == 200
    assert answer.text.endswith(", tench)\n")
    assert ".." not in service.sent[0].key


def test_a_part_split_at_every_byte(service):
    """Whatever way the network cuts a body, the file is the same."""
    body = PART + picture() + b"\r\n--xyz--\r\n"

    class Dribble(io.BytesIO):
        def read(self, size=-1):
            return super().read(1)

    answer = service.client.post("/upload", input_stream=Dribble(body), content_type=BOUNDARY,
                                 content_length=len(body))
    assert answer.text == "(a, tench)\n"
    assert service.objects.stored[service.sent[0].key].data == picture()


# -- not ready in time ---------------------------------------------------------------------
def test_202_names_the_job_and_where_to_ask(service):
    service.work = lambda job: None
    service.depth = 7
    answer = service.post(("a.jpg", picture()), headers={"Prefer": "wait=0"})
    (job,) = service.sent
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/images/{job.id}"
    assert answer.headers["Preference-Applied"] == "wait=0"
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.text == f"(a, queued: id {job.id}, about 7 in the queue, ask /v1/images/{job.id})\n"
    assert service.listener.waiting == 0


def test_202_in_json_and_a_depth_that_cannot_be_read(service):
    service.work = lambda job: None
    service.depth = errors.Unreachable("no")
    answer = service.post(("a.jpg", picture()), headers={**JSON, "Prefer": "wait=0"})
    (job,) = service.sent
    line = f"(a, queued: id {job.id}, ask /v1/images/{job.id})"
    assert answer.json == {"results": [{"id": job.id, "image": "a.jpg", "status": "queued", "result": line,
                                        "location": f"/v1/images/{job.id}"}]}


def test_one_file_not_ready_makes_the_request_202(service):
    service.work = lambda job: done(job) if job.image == "a.jpg" else None
    answer = service.post(("a.jpg", picture()), ("b.jpg", picture()), ("c.jpg", NOT_AN_IMAGE),
                          headers={**JSON, "Prefer": "wait=0"})
    assert answer.status_code == 202
    assert [r["status"] for r in answer.json["results"]] == ["done", "queued", "refused"]
    assert answer.headers["Location"] == answer.json["results"][1]["location"]


def test_a_lost_announcement_costs_a_look_at_the_store(service, monkeypatch):
    monkeypatch.setattr("irs.web.waiting.LOOK", 0.05)
    service.announcing = False
    assert service.post(("a.jpg", picture())).text == "(a, tench)\n"


def test_a_store_that_fails_while_we_wait_is_asked_again(service, monkeypatch):
    monkeypatch.setattr("irs.web.waiting.LOOK", 0.05)
    service.announcing = False
    read, faults = service.results.read, [errors.Throttled("slow down"), errors.Unreachable("reset")]

    def flaky(job_id):
        if faults:
            raise faults.pop()
        return read(job_id)

    monkeypatch.setattr(service.results, "read", flaky)
    assert service.post(("a.jpg", picture())).text == "(a, tench)\n"
    assert not faults


def test_a_client_that_has_gone_frees_its_place(make):
    service = make(client_wait=60)
    service.work = lambda job: None
    left = threading.Event()
    environ = {"waitress.client_disconnected": left.is_set}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.post, ("a.jpg", picture()), environ_overrides=environ)
        assert service.arrived.wait(5)
        left.set()
        assert answer.result(5).status_code == 202
    assert service.app.extensions["irs"].gate.inside == 0


# -- trouble -------------------------------------------------------------------------------
def test_a_failed_put_is_503_and_nothing_is_sent(service, monkeypatch):
    def put(*args, **kwargs):
        raise errors.Unreachable("S3 PUT to secret-bucket: reset")

    monkeypatch.setattr(service.objects, "put", put)
    answer = service.post(("a.jpg", picture()))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "secret-bucket" not in answer.text
    assert answer.text.startswith("(a, error: ")
    assert not service.sent
    assert service.listener.waiting == 0


def test_a_failed_send_keeps_the_upload_and_names_the_job(service):
    service.send_fails = errors.Unreachable("no answer")
    answer = service.post(("a.jpg", picture()), headers=JSON)
    (key,) = service.objects.stored
    (result,) = answer.json["results"]
    assert answer.status_code == 503
    assert result["status"] == "unavailable"
    assert key.startswith(result["id"] + "/")
    assert service.listener.waiting == 0


def test_a_listener_that_cannot_start_is_503_and_is_tried_again(service, monkeypatch):
    def start():
        raise errors.Unreachable("no queue")

    with monkeypatch.context() as patch:
        patch.setattr(service.listener, "start", start)
        assert service.post(("a.jpg", picture())).status_code == 503
        assert not service.objects.stored
    monkeypatch.setattr("irs.web.cloud.FAILED_FOR", 0)
    assert service.post(("a.jpg", picture())).status_code == 200


def test_overload_is_refused_at_once_and_stores_nothing(make):
    service = make(max_waiting=1, client_wait=60)
    service.work = lambda job: None
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.post, ("a.jpg", picture()))
        assert service.arrived.wait(5)
        answer = service.post(("b.jpg", picture()))
        service.finish(done(service.sent[0]))
        assert first.result(5).text == "(a, tench)\n"
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.text.count("\n") == 1
    assert len(service.objects.stored) == 1
    assert service.post(("c.jpg", picture()), headers={"Prefer": "wait=0"}).status_code == 202


def test_a_hundred_at_once_each_get_their_own(service):
    service.work = lambda job: done(job, f"label {job.image}")
    body = picture()
    with ThreadPoolExecutor(100) as pool:
        texts = list(pool.map(lambda i: service.post((f"n{i}.jpg", body)).text, range(100)))
    assert texts == [f"(n{i}, label n{i}.jpg)\n" for i in range(100)]


def test_a_bug_is_one_line_and_a_log_entry(service, monkeypatch, capsys):
    monkeypatch.setattr(service.listener, "expect", lambda job_id: 1 / 0)
    answer = service.post(("a.jpg", picture()))
    assert (answer.status_code, answer.text) == (500, "error: something went wrong inside the service\n")
    answer = service.post(("a.jpg", picture()), headers=JSON)
    assert answer.content_type == "application/problem+json"
    assert "ZeroDivision" not in answer.text


def test_whatever_the_name_s3_takes_the_upload_s_metadata(service):
    """AWS answers 400 (MetadataTooLarge) above 2 kB of names and values; the embedded cloud does not."""
    service.post(("🐯" * 196 + ".jpeg", picture()))
    (stored,) = service.objects.stored.values()
    trace = {"traceparent": "00-" + "0" * 52}
    assert sum(len(name) + keys.as_metadata(value)
               for name, value in {**stored.metadata, **trace, "batch": keys.new_id()}.items()) <= 2_048
