"""Batches on the real service: each form of them, a crash in the middle, and a single upload beside one."""

from __future__ import annotations

import csv
import io
import json
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from irs.audit import account
from irs.aws import clients
from irs.aws.objects import Objects
from irs.bulk.store import Batches
from irs.domain import bulk
from tests.integration.conftest import Answer, Service, Web, Worker, form, until

pytestmark = pytest.mark.integration


def _pictures(count: int) -> list[tuple[str, bytes]]:
    """Small images, each a little different."""
    found = []
    for number in range(count):
        out = io.BytesIO()
        Image.new("RGB", (24, 16), (number * 4 % 256, 90, 60)).save(out, "PNG")
        found.append((f"{number:03}.png", out.getvalue()))
    return found


PICTURES = _pictures(60)


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    bucket = f"theirs-{uuid.uuid4().hex[:8]}"
    service = make_service(cloud, source_buckets=(bucket,))
    s3 = clients.client(service.settings, "s3")
    s3.create_bucket(Bucket=bucket)
    for name, data in PICTURES[:12]:
        s3.put_object(Bucket=bucket, Key=f"holiday/{name}", Body=data)
    s3.put_object(Bucket=bucket, Key="holiday/notes.txt", Body=b"no image")
    s3.put_object(Bucket=bucket, Key="holiday/sub/", Body=b"")
    return service


@pytest.fixture(scope="module")
def theirs(service: Service) -> str:
    return f"s3://{service.settings.source_buckets[0]}"


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web()


@pytest.fixture(scope="module", autouse=True)
def worker(service: Service) -> Worker:
    return service.worker()


def _zip(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def _post(web: Web, body: bytes, kind: str, **headers: str) -> Answer:
    return web.call("POST", "/v1/batches", body, {"Content-Type": kind, **headers})


def _named(web: Web, **document: Any) -> Answer:
    return _post(web, json.dumps(document).encode(), "application/json")


def _ended(web: Web, location: str) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        answer = web.call("GET", location)
        assert answer.status == 200, answer.text
        found = answer.json
        return found if "finished" in found else None

    return until(finished, what="the batch has ended")


def _lines(web: Web, location: str, query: str = "") -> list[dict[str, Any]]:
    answer = web.call("GET", f"{location}/results{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_form_with_files_and_a_zip_gets_all_of_its_results_in_order(web: Web, service: Service) -> None:
    answer = _post(web, *form(*PICTURES[:20], ("notes.txt", b"no image"),
                              ("more.zip", _zip(("a/", b""), *PICTURES[20:]))))
    assert answer.status == 202
    location = answer.headers["Location"]
    assert (answer.json["location"], answer.json["total"]) == (location, 61)
    ended = _ended(web, location)
    assert (ended["status"], ended["counts"]) == (
        "done", {"queued": 0, "done": 60, "failed": 1, "cancelled": 0})
    lines = _lines(web, location)
    assert [line["image"] for line in lines] == [
        *(name for name, _ in PICTURES[:20]), "notes.txt", *(name for name, _ in PICTURES[20:])]
    assert [line["number"] for line in lines] == list(range(61))
    assert {line["status"] for line in lines if line["image"] != "notes.txt"} == {"done"}
    assert all(line["label"] for line in lines if line["status"] == "done")
    (refused,) = _lines(web, location, "?status=failed")
    assert (refused["image"], refused["error"]["code"]) == ("notes.txt", "unsupported_format")
    # Each is a job as any other.
    one = web.call("GET", f"/v1/images/{lines[5]['id']}").json
    assert (one["label"], one["image"]) == (lines[5]["label"], "005.png")
    assert account.audit(account.Books.of(service.settings)).balanced


def test_a_zip_as_the_body_and_its_table(web: Web) -> None:
    answer = _post(web, _zip(*PICTURES[:5]), "application/zip")
    location = answer.headers["Location"]
    _ended(web, location)
    table = web.call("GET", f"{location}/results?start=3", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["number"], row["image"], row["status"]) for row in rows] == [
        ("3", "003.png", "done"), ("4", "004.png", "done")]
    assert all(row["label"] and 0 < float(row["confidence"]) <= 1 for row in rows)


def test_addresses_and_a_whole_prefix(web: Web, theirs: str, service: Service) -> None:
    listed = _named(web, images=[f"{theirs}/holiday/001.png", f"{theirs}/holiday/none.png",
                                 "s3://not-ours/a.png", "nonsense"]).headers["Location"]
    below = _named(web, s3=f"{theirs}/holiday/").headers["Location"]
    assert _ended(web, listed)["counts"] == {"queued": 0, "done": 1, "failed": 3, "cancelled": 0}
    assert [line.get("error", {}).get("code") for line in _lines(web, listed)] == [
        None, "no_such_object", "bucket_not_allowed", "bad_request"]
    ended = _ended(web, below)
    assert (ended["total"], ended["counts"]["done"], ended["counts"]["failed"]) == (13, 12, 1)
    lines = _lines(web, below)
    assert [line["source"] for line in lines[:2]] == [f"{theirs}/holiday/00{n}.png" for n in (0, 1)]
    (refused,) = _lines(web, below, "?status=failed")
    assert (refused["image"], refused["error"]["code"]) == ("notes.txt", "unsupported_format")
    assert account.audit(account.Books.of(service.settings)).balanced


def test_a_killed_web_process_s_batch_is_completed_by_the_next(service: Service, web: Web) -> None:
    other = service.web()
    answer = _post(other, *form(*PICTURES))
    batch_id, location = answer.json["id"], answer.headers["Location"]
    batches = Batches(Objects(service.settings, service.settings.output_bucket), service.settings.cluster)
    until(lambda: batches.read(batch_id).sent, what="some are sent")
    other.popen.kill()
    other.popen.wait(10)
    left = batches.read(batch_id)
    assert left.finished is None
    assert left.sent < 60, "it was to be killed in the middle"
    # Whoever looks next finds that its holder is no more: here the process that is started anew.
    service.web()
    ended = _ended(web, location)
    assert ended["counts"] == {"queued": 0, "done": 60, "failed": 0, "cancelled": 0}
    lines = _lines(web, location)
    assert [line["id"] for line in lines] == [bulk.member_id(batch_id, number) for number in range(60)]
    assert {line["status"] for line in lines} == {"done"}


def test_a_key_names_one_batch_however_often_it_is_sent(web: Web) -> None:
    body, kind = form(*PICTURES[:3])
    first, second = (_post(web, body, kind, **{"Idempotency-Key": "monday"}) for _ in range(2))
    assert (first.status, second.status) == (202, 202)
    assert first.json["id"] == second.json["id"]
    assert _ended(web, first.headers["Location"])["total"] == 3
