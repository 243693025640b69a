"""What the client asks for, and what it makes of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irs.client import Failed, NotFound, Overloaded, Refused, Status, TimedOut, Unauthorized, Unreachable
from irs.client.repeats import POLL
from irs.client.wire import Reply
from tests.unit.client.scripted import (
    ID,
    LOST,
    Script,
    batch,
    classify,
    done,
    failed,
    problem,
    queued,
    reply,
)


# -- one image --------------------------------------------------------------------------------
def test_an_answer_in_time_is_one_request() -> None:
    script = Script(reply(200, done()))
    assert classify(script).label == "tench"
    (asked,) = script.asked
    assert (asked.method, asked.path, asked.wait) == ("POST", "/v1/images?name=a.jpg", 50)
    assert asked.headers["Prefer"] == "wait=50"
    assert asked.headers["Content-Type"] == "application/octet-stream"
    assert script.bodies == [b"bytes"]


def test_a_job_that_is_not_ready_is_followed_until_it_is() -> None:
    script = Script(reply(202, queued()), reply(200, queued()), reply(200, done()))
    assert classify(script, wait=120).label == "tench"
    assert [(asked.method, asked.path, asked.wait) for asked in script.asked] == [
        ("POST", "/v1/images?name=a.jpg", 50), ("GET", f"/v1/images/{ID}", 50),
        ("GET", f"/v1/images/{ID}", 20)]
    assert script.pauses == []  # each poll took its time


def test_a_service_that_does_not_wait_is_not_asked_at_once_again() -> None:
    def at_once(request: Any) -> Reply:
        script.now -= request.wait  # takes back what `Script` adds
        return reply(200, queued(), retry_after="3")

    script = Script(reply(202, queued()), at_once, at_once, reply(200, done()))
    classify(script, wait=90)
    assert script.pauses == [3, 3]


def test_the_wait_ends_and_the_job_is_named() -> None:
    script = Script(reply(202, queued()))
    with pytest.raises(TimedOut) as late:
        classify(script, wait=0)
    assert (late.value.id, str(late.value)) == (ID, "no result after 0 s, the job goes on")
    assert "Prefer" not in script.asked[0].headers


@pytest.mark.parametrize("answer", [
    reply(202, queued()),  # and then the result of the job
    problem(422, "gave_up", id=ID),
])
def test_a_job_without_a_label_is_an_error_that_names_it(answer: Reply) -> None:
    script = Script(answer, *([reply(200, failed())] if answer.status == 202 else []))
    with pytest.raises(Failed) as raised:
        classify(script)
    assert (raised.value.id, raised.value.code) == (ID, "gave_up")


def test_an_image_in_s3_is_named_and_not_sent() -> None:
    script = Script(reply(200, done()))
    classify(script, "s3://bucket/some key.jpg", name=None)
    assert script.asked[0].path == "/v1/images"
    assert script.asked[0].headers["Content-Type"] == "application/json"
    assert json.loads(script.bodies[0]) == {"s3": "s3://bucket/some key.jpg"}


def test_names_are_quoted() -> None:
    script = Script(reply(200, done()))
    classify(script, name="a&b/ä?.jpg")
    assert script.asked[0].path == "/v1/images?name=a%26b%2F%C3%A4%3F.jpg"


# -- what answers stand for --------------------------------------------------------------------
@pytest.mark.parametrize(("answer", "kind", "code"), [
    (problem(401, "unauthorized"), Unauthorized, "unauthorized"),
    (problem(403, "forbidden"), Unauthorized, "forbidden"),
    (problem(403, "bucket_not_allowed"), Refused, "bucket_not_allowed"),
    (problem(404, "unknown"), NotFound, "unknown"),
    (problem(409, "idempotency_conflict", id=ID), Refused, "idempotency_conflict"),
    (problem(413, "too_large"), Refused, "too_large"),
    (problem(422, "undecodable", id=ID), Failed, "undecodable"),
    (problem(500, "internal"), Refused, "internal"),
    (reply(413, "<html>no</html>", content_type="text/html"), Refused, "http_413"),
    (reply(200, "hello"), Unreachable, "unreachable"),
    (reply(200, {"status": "done"}), Unreachable, "unreachable"),
    (reply(200, {"id": ID, "status": "done"}), Unreachable, "unreachable"),
    (reply(204, ""), Unreachable, "unreachable"),
    (reply(301, "", location="https://elsewhere/"), Unreachable, "unreachable"),
])
def test_what_answers_stand_for(answer: Reply, kind: type[Exception], code: str) -> None:
    script = Script(answer)
    with pytest.raises(kind) as raised:
        classify(script)
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert "\n" not in str(raised.value)


def test_errors_on_the_way_to_a_result_name_the_job() -> None:
    script = Script(reply(202, queued()), *[LOST] * 4)
    with pytest.raises(Unreachable) as raised:
        classify(script)
    assert raised.value.id == ID


# -- jobs -------------------------------------------------------------------------------------
def test_submit_does_not_wait() -> None:
    script = Script(reply(202, queued(position=12, estimate_seconds=5.5)))
    job = script.play(script.flows.submit(b"x", name=None))
    assert (job.id, job.status, job.position, job.estimate_seconds) == (ID, Status.QUEUED, 12, 5.5)
    assert script.asked[0].path == "/v1/images?name=image"
    assert "Prefer" not in script.asked[0].headers


def test_wait_polls_and_get_looks() -> None:
    script = Script(reply(200, queued()), reply(200, done()))
    assert script.play(script.flows.wait(ID, timeout=POLL + 10)).label == "tench"
    assert [asked.wait for asked in script.asked] == [50, 10]
    script = Script(reply(200, queued()))
    assert script.play(script.flows.get("a/b")).result is None
    assert (script.asked[0].path, script.asked[0].wait) == ("/v1/images/a%2Fb", 0)


def test_cancel_returns_the_result_that_there_is() -> None:
    cancelled = {"id": ID, "image": "a.jpg", "status": "cancelled"}
    for answer, status in ((cancelled, Status.CANCELLED), (done(), Status.DONE)):
        script = Script(reply(200, answer))
        assert script.play(script.flows.cancel(ID)).status is status
        assert script.asked[0].method == "DELETE"


def test_waiting_for_a_cancelled_job_says_so() -> None:
    script = Script(reply(200, {"id": ID, "image": "a.jpg", "status": "cancelled"}))
    with pytest.raises(Failed) as raised:
        script.play(script.flows.wait(ID, timeout=1))
    assert (raised.value.code, str(raised.value)) == ("cancelled", "the job is cancelled")


# -- batches ----------------------------------------------------------------------------------
def test_what_a_batch_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"aaa")
    (tmp_path / "b.zip").write_bytes(b"PK")
    for given, kind, body in (
            ("s3://bucket/prefix/", "application/json", b'{"s3": "s3://bucket/prefix/"}'),
            (["s3://b/1", "s3://b/2"], "application/json", b'{"images": ["s3://b/1", "s3://b/2"]}'),
            (tmp_path / "b.zip", "application/zip", b"PK"),
            ([tmp_path / "a.jpg", b"bbb"], "multipart/form-data", b"aaa"),
            (str(tmp_path / "a.jpg"), "multipart/form-data", b'filename="a.jpg"')):
        script = Script(LOST, reply(202, batch(queued=2)))
        found = script.play(script.flows.batch(given))
        assert (found.id, found.total, found.finished) == (ID, 2, None)
        assert script.asked[0].path == "/v1/batches"
        assert script.asked[0].headers["Content-Type"].startswith(kind)
        assert script.asked[0].wait == 600  # all of it is stored before there is an answer
        assert body in script.bodies[0] == script.bodies[1]
        assert script.asked[0].headers["Idempotency-Key"] == script.asked[1].headers["Idempotency-Key"]


def test_a_batch_is_of_one_kind() -> None:
    script = Script()
    with pytest.raises(Exception, match="not of both"):
        script.play(script.flows.batch(["s3://b/1", b"x"]))


def test_a_batch_is_watched_until_it_is_final() -> None:
    seen: list[int] = []
    script = Script(*(reply(200, batch(status, queued=left, done=4 - left)) for status, left in (
        ("listing", 0), ("running", 3), ("cancelled", 1), ("cancelled", 0))))
    script.play(script.flows.wait_batch(ID, timeout=None, on_look=lambda now: seen.append(now.settled)))
    assert seen == [4, 1, 3, 4]
    assert script.pauses == [1, 1, 1]  # a quarter of the estimate


def test_a_batch_that_takes_longer() -> None:
    script = Script(*[reply(200, batch(queued=3, done=1))] * 3)
    with pytest.raises(TimedOut) as late:
        script.play(script.flows.wait_batch(ID, timeout=2, on_look=lambda now: None))
    assert (late.value.id, str(late.value)) == (ID, "1 of 4 images after 2 s, the batch goes on")


# -- the service ------------------------------------------------------------------------------
def test_not_ready_is_an_answer() -> None:
    script = Script(reply(503, "not ready: stopping\n", retry_after="1"))
    with pytest.raises(Overloaded, match="not ready: stopping"):
        script.play(script.flows.health("/readyz"))
    assert script.pauses == []


def test_a_terminal_is_safe_from_what_answers() -> None:
    script = Script(reply(400, "\x1b]0;owned\x07error\x1b[2J"))
    with pytest.raises(Refused) as raised:
        classify(script)
    assert str(raised.value).isprintable()
