"""The logs of real processes: one id from upload to answer, and no user's words."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest

from tests.integration.conftest import Answer, Service, Web, Worker, form, until

pytestmark = pytest.mark.integration

#: A name that tells something, in a form that a search finds however it is quoted or escaped.
SECRET = "biopsy"
NAME = f"{SECRET} of Mrs Fox.jpg"
FORM = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud)


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web()


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    # Its first image breaks it, with a traceback.
    return service.worker("failing_worker.py")


def told(process: Web | Worker, job_id: str) -> list[str]:
    """The events of the lines in which a search for the job's id finds it, each as its ``id``."""
    lines = [line for line in process.lines if job_id in json.dumps(line)]
    assert {line["id"] for line in lines} <= {job_id}
    # On a slow machine a waiter may look at S3 before it is told.
    return [line["event"] for line in lines if line["event"] != "web.announcement_missed"]


def answered(web: Web, job_id: str, times: int = 1) -> None:
    """Return when the log has it: it is written beside the answer, not before."""
    until(lambda: told(web, job_id).count("web.answered") == times, 10)


def test_a_job_that_broke_its_worker_once_is_followed_by_its_id(web, worker, photos):
    answer = web.call("POST", f"/v1/images?name={SECRET}", photos["coffee"],
                      {"Content-Type": "image/jpeg", "Prefer": "wait=60"})
    assert answer.json["attempts"] == 2
    answered(web, answer.json["id"])
    assert told(web, answer.json["id"]) == ["job.accepted", "web.answered"]
    assert told(worker, answer.json["id"]) == ["job.postponed", "job.finished"]
    (postponed,) = [line for line in worker.lines if line["event"] == "job.postponed"]
    assert postponed["exception"][0]["exc_type"] == "RuntimeError"


def test_one_upload_is_three_lines_and_one_of_them_the_worker_s(web, worker, photos):
    answer = web.upload((NAME, photos["coffee"]), Accept="application/json")
    (result,) = answer.json["results"]
    answered(web, result["id"])
    lines = [line for process in (web, worker) for line in process.lines if line.get("id") == result["id"]]
    lines.sort(key=lambda line: line["timestamp"])
    assert [(line["logger"], line["event"]) for line in lines] == [
        ("irs.web", "job.accepted"), ("irs.worker", "job.finished"), ("irs.web", "web.answered")]
    last = lines[-1]
    assert (last["route"], last["method"], last["status"]) == ("/upload", "POST", 200)
    assert 0 < last["seconds"] < 60


def test_an_answer_of_202_is_followed_through_later_requests(web, worker, photos):
    location = web.upload((NAME, photos["coffee"]), Prefer="wait=0").headers["Location"]
    job_id = location.rpartition("/")[2]
    until(lambda: web.call("GET", location).json["status"] == "done", 30)
    assert web.call("DELETE", location).json["status"] == "done"
    until(lambda: told(worker, job_id) == ["job.finished"], 10)
    events = told(web, job_id)
    assert events[:2] == ["job.accepted", "web.answered"]
    assert set(events[2:]) == {"web.answered"}


def test_of_several_files_each_has_its_line(web, worker, photos):
    answer = web.upload((NAME, photos["coffee"]), (NAME, photos["coffee"][:20_000]), (NAME, b"no image"),
                        Accept="application/json")
    good, cut, _ = answer.json["results"]
    for result, outcome in ((good, "done"), (cut, "failed")):
        until(lambda i=result["id"]: "job.answered" in told(web, i), 10)
        (line,) = [x for x in web.lines if x["event"] == "job.answered" and x["id"] == result["id"]]
        assert line["outcome"] == outcome
    (line,) = [x for x in web.lines if x["event"] == "web.answered" and x.get("jobs") == 2]
    assert "id" not in line


def test_probes_and_nonsense(web, worker):
    """What machines ask all the time is told at debug; what is no request at all has its line, too."""
    import http.client

    often = ("/healthz", "/readyz", "/metrics", "/v1/targets", "/v1/stats", "/v1/stats/history")
    for path in often:
        assert web.call("GET", path).status == 200
    assert web.call("GET", f"/{SECRET}?name={SECRET}").status == 404
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request("GET", "/", headers={"Content-Length": f"{SECRET}"})
    assert connection.getresponse().status == 400
    connection.close()
    until(lambda: [x for x in web.lines if x["event"] == "web.answered" and x["status"] == 400], 10)
    routes = [x["route"] for x in web.lines if x["event"] == "web.answered" and x["status"] in (400, 404)]
    assert routes[-2:] == [None, None]
    assert not [x for x in web.lines if x.get("route") in often]


def _every_way(web: Web, photos: dict[str, bytes]) -> list[Answer]:
    """Send the name along everywhere that a client may send one."""
    coffee = photos["coffee"]
    files, kind = form((NAME, coffee), (f"{SECRET}/../../{NAME}", coffee[:20_000]), field="files")
    bad = {"Content-Type": f"image/{SECRET}", "Prefer": f"wait={SECRET}", "Idempotency-Key": SECRET,
           "X-Forwarded-For": SECRET, "User-Agent": SECRET}
    put = web.call("POST", "/v1/uploads", json.dumps({"name": NAME, "size": len(coffee)}).encode(),
                   {"Content-Type": "application/json"})
    urllib.request.urlopen(urllib.request.Request(
        put.json["url"], coffee, method="PUT", headers=put.json["headers"]), timeout=20).close()
    return [
        web.upload((NAME, coffee)), web.upload((NAME, b"no image")), web.upload((NAME, coffee[:20_000])),
        web.upload((f"{SECRET}\x1b[31m.jpg", coffee)),
        web.call("POST", f"/v1/images?name={SECRET}%0A%1b[2J", coffee, {**FORM, "Prefer": "wait=60"}),
        web.call("POST", f"/v1/images?name={SECRET}", coffee, bad), put,
        web.call("POST", "/v1/images", json.dumps({"s3": f"s3://nobodys-bucket/{NAME}"}).encode(),
                 {"Content-Type": "application/json"}),
        web.call("POST", "/v1/images", json.dumps({"upload": put.json["id"]}).encode(),
                 {"Content-Type": "application/json"}),
        web.call("POST", "/v1/batches", files, {"Content-Type": kind}),
        web.call("GET", f"/v1/images/{SECRET}"), web.call(SECRET.upper(), f"/{SECRET}"),
    ]


def test_no_line_at_info_has_a_file_s_name(web, worker, service, photos):
    """After the tests above: with a broken attempt and its traceback, refusals, and failures."""
    answers = _every_way(web, photos)
    assert {answer.status for answer in answers} >= {200, 202, 403, 415, 422}
    assert sum(SECRET in answer.text for answer in answers) >= 5
    batch = next(a.headers["Location"] for a in answers if "/batches/" in a.headers.get("Location", ""))
    until(lambda: web.call("GET", batch).json["status"] == "done", 60)
    # Read again by a message that is lost, and by one that was never ours.
    from irs.aws.queues import Queue

    Queue(service.settings, service.settings.input_queue).send(json.dumps({"image": NAME}))
    until(lambda: worker.said("task.refused"), 20)
    for process in (web, worker):
        lines = [line for line in process.output.splitlines() if SECRET in line.lower()]
        assert not lines
        assert {line["level"] for line in process.lines} <= {"info", "warning", "error"}
        assert all(line["event"] and line["timestamp"] for line in process.lines)
