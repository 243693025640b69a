"""``/v1/batches`` on fakes: what is taken, what is refused, and what is told."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from irs import errors
from irs.domain import bulk, keys
from irs.domain.bulk import CHUNK
from irs.domain.jobs import Job
from irs.testing import FaultPlan, MemoryForeign, MemoryObjects
from tests.unit.web.webkit import Service, done, failed, picture

UNKNOWN = "7f3c9f44-3c1d-4c3e-9d53-0d4c3a1f2b11"


@pytest.fixture
def theirs() -> MemoryForeign:
    objects = MemoryObjects("theirs")
    for number in range(3):
        objects.put(f"a/{number}.jpg", picture())
    return MemoryForeign(objects)


@pytest.fixture
def records() -> MemoryObjects:
    return MemoryObjects("out")


@pytest.fixture
def service(make: Callable[..., Service], theirs: MemoryForeign, records: MemoryObjects) -> Service:
    return make(source_buckets=("theirs",), sources={"theirs": theirs}, records=records,
                max_batch_images=50, max_image_bytes=5_000, max_batch_bytes=100_000)


def feed(service: Service) -> None:
    """Turns until all that was sent has been heard of."""
    feeder = service.app.extensions["irs"].bulk.feeder
    feeder.poke()
    for _ in range(3):
        feeder.turn()
        for job in service.sent:
            result = service.results.read(job.id)
            if result is not None:
                feeder.heard(result)
    feeder.turn()


def form(service: Service, *files: tuple[str, bytes], **headers: str) -> Any:
    data = {"files": [(io.BytesIO(content), name) for name, content in files]}
    return service.client.post("/v1/batches", data=data, headers=headers)


def named(service: Service, document: object) -> Any:
    return service.client.post("/v1/batches", json=document)


def zipped(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def lines(service: Service, location: str, query: str = "") -> list[dict[str, Any]]:
    with service.client.get(f"{location}/results{query}") as answer:
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


# -- making ----------------------------------------------------------------------------------------
def test_files_are_stored_and_answered_before_any_is_sent(service: Service) -> None:
    answer = form(service, ("a.jpg", picture()), ("../b.jpg", picture()), ("c.txt", b"no image"))
    assert (answer.status_code, answer.content_type) == (202, "application/json")
    body = answer.json
    assert answer.headers["Location"] == body["location"] == f"/v1/batches/{body['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (body["status"], body["total"], body["source"], body["results"]) == (
        "running", 3, "files", f"{body['location']}/results")
    assert body["counts"] == {"queued": 3, "done": 0, "failed": 0, "cancelled": 0}
    ids = [bulk.member_id(body["id"], number) for number in range(3)]
    assert sorted(service.objects.stored) == sorted([f"{ids[0]}/a.jpg", f"{ids[1]}/b.jpg"])
    assert service.sent == []
    assert service.objects.metadata(f"{ids[0]}/a.jpg") == {"name": "a.jpg", "batch": body["id"]}


def test_a_batch_runs_to_its_end(service: Service) -> None:
    service.work = lambda job: failed(job) if job.image == "b.jpg" else done(job)
    location = form(service, ("a.jpg", picture()), ("b.jpg", picture()), ("c", b"x")).headers["Location"]
    feed(service)
    body = service.client.get(location).json
    assert (body["status"], body["counts"]) == (
        "done", {"queued": 0, "done": 1, "failed": 2, "cancelled": 0})
    assert body["finished"]
    assert "estimate_seconds" not in body
    found = lines(service, location)
    assert [(line["number"], line["image"], line["status"]) for line in found] == [
        (0, "a.jpg", "done"), (1, "b.jpg", "failed"), (2, "c", "failed")]
    assert [line.get("error", {}).get("code") for line in found] == [
        None, "undecodable", "unsupported_format"]


def test_a_zip_is_taken_for_what_is_in_it_as_a_part_and_as_the_body(service: Service) -> None:
    data = zipped(("x/1.jpg", picture()), ("y/2.jpg", picture()))
    part = form(service, ("a.jpg", picture()), ("All.ZIP", data))
    body = service.client.post("/v1/batches", data=data, content_type="application/zip")
    assert [line["image"] for line in lines(service, part.headers["Location"])] == [
        "a.jpg", "1.jpg", "2.jpg"]
    assert [line["image"] for line in lines(service, body.headers["Location"])] == ["1.jpg", "2.jpg"]


def test_what_zips_of_one_request_unpack_to_is_bounded_for_all_of_them(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irs.web.archives.BUDGET", 0.1)  # 10,000 bytes
    data = zipped(("a", bytes(4_000)))
    answer = form(service, *((f"{n}.zip", data) for n in range(4)))
    codes = [line["error"]["code"] for line in lines(service, answer.headers["Location"])]
    assert codes == ["unsupported_format"] * 2 + ["too_large"] * 2


def test_addresses_are_members_and_wrong_ones_refused_members(service: Service) -> None:
    answer = named(service, {"images": ["s3://theirs/a/0.jpg", "s3://secret/x", "7"]})
    assert (answer.status_code, answer.json["source"], answer.json["total"]) == (202, "list", 3)
    feed(service)
    found = lines(service, answer.headers["Location"])
    assert [line["status"] for line in found] == ["done", "failed", "failed"]
    assert [line["source"] for line in found] == ["s3://theirs/a/0.jpg", "s3://secret/x", "7"]
    assert found[1]["error"]["code"] == "bucket_not_allowed"
    (upload,) = service.objects.stored
    assert service.objects.metadata(upload)["batch"] == answer.json["id"]


def test_an_address_that_is_no_text_is_a_refused_member_and_can_be_told(service: Service) -> None:
    answer = named(service, {"images": ["s3://theirs/a/0.jpg", "s3://theirs/\ud800.jpg", "\udfff"]})
    assert (answer.status_code, answer.json["total"]) == (202, 3)
    feed(service)
    found = lines(service, answer.headers["Location"])
    assert [(line["source"], line["status"]) for line in found] == [
        ("s3://theirs/a/0.jpg", "done"), ("s3://theirs/?.jpg", "failed"), ("?", "failed")]
    assert found[1]["error"] == {"code": "bad_request", "message": "the key is not Unicode text"}


def test_an_address_above_many(service: Service) -> None:
    answer = named(service, {"s3": "s3://theirs/a/"})
    assert (answer.status_code, answer.json["status"], answer.json["total"]) == (202, "listing", 0)
    feed(service)
    body = service.client.get(answer.headers["Location"]).json
    assert (body["status"], body["total"], body["counts"]["done"]) == ("done", 3, 3)


REFUSALS = [
    ({"data": {}}, 400, "no_file"),
    ({"data": b"", "content_type": "multipart/form-data; boundary=x"}, 400, "no_file"),
    ({"data": b"--x\r\n", "content_type": "multipart/form-data; boundary=x"}, 400, "bad_request"),
    ({"data": zipped(), "content_type": "application/zip"}, 400, "no_file"),
    ({"data": b"no zip", "content_type": "application/zip"}, 400, "bad_request"),
    ({"data": picture(), "content_type": "image/jpeg"}, 415, "unsupported_format"),
    ({"data": b"{", "content_type": "application/json"}, 400, "bad_request"),
    ({"json": []}, 400, "bad_request"),
    ({"json": {}}, 400, "bad_request"),
    ({"json": {"s3": "s3://theirs/a/", "images": []}}, 400, "bad_request"),
    ({"json": {"images": []}}, 400, "no_file"),
    ({"json": {"images": "s3://theirs/a/0.jpg"}}, 400, "bad_request"),
    ({"json": {"images": ["s3://theirs/a/0.jpg"] * 51}}, 413, "too_large"),
    ({"json": {"images": ["s3://theirs/a/0.jpg", 7]}}, 400, "bad_request"),
    ({"json": {"images": ["s3://theirs/a/0.jpg", None]}}, 400, "bad_request"),
    ({"json": {"s3": 7}}, 400, "bad_request"),
    ({"json": {"s3": "s3://theirs/\ud800"}}, 400, "bad_request"),
    ({"json": {"s3": "s3://\ud800/a"}}, 403, "bucket_not_allowed"),
    ({"json": {"s3": "s3://theirs/" + "é" * 513}}, 400, "bad_request"),
    ({"json": {"s3": "theirs/a/"}}, 400, "bad_request"),
    ({"json": {"s3": "s3://"}}, 400, "bad_request"),
    ({"json": {"s3": "s3://secret/"}}, 403, "bucket_not_allowed"),
    ({"json": {"s3": "s3://theirs/none/"}}, 400, "no_file"),
    ({"data": b"x" * 100_001, "content_type": "application/zip"}, 413, "too_large"),
]


@pytest.mark.parametrize(("request_", "status", "code"), REFUSALS)
def test_a_request_that_makes_no_batch(service: Service, records: MemoryObjects,
                                       request_: dict[str, Any], status: int, code: str) -> None:
    answer = service.client.post("/v1/batches", **request_)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["code"] == code
    assert answer.json["detail"]
    assert records.stored == {}
    assert service.objects.stored == {}


def test_what_breaks_off_leaves_nothing_behind(service: Service, records: MemoryObjects) -> None:
    files = [(f"{number}.jpg", picture()) for number in range(51)]
    answer = form(service, *files)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert records.stored == {}
    assert service.objects.stored == {}


def test_a_zip_with_too_many_files_is_a_request_too_large(service: Service) -> None:
    answer = form(service, ("a.zip", zipped(*((str(n), b"x") for n in range(51)))))
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_a_broken_zip_among_others_is_named(service: Service) -> None:
    answer = form(service, ("a.zip", zipped(("a.jpg", picture()))), ("b.zip", b"no zip"))
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert answer.json["detail"].startswith("b.zip: the zip cannot be read")
    assert service.objects.stored == {}


def test_storage_that_fails_is_503(make: Callable[..., Service]) -> None:
    plan = FaultPlan()
    plan.fail_randomly("put", 1.0, errors.Unreachable("timeout"))
    service = make(records=plan.wrap(MemoryObjects("out")))
    answer = form(service, ("a.jpg", picture()))
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]


def test_an_upload_that_fails_on_the_way_is_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*args: Any, **kwargs: Any) -> str:
        raise errors.Unreachable("timeout")

    monkeypatch.setattr(service.objects, "put", put)
    answer = form(service, *((f"{n}.jpg", picture()) for n in range(20)))
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")


# -- keys ------------------------------------------------------------------------------------------
def keyed(service: Service, key: str, *files: tuple[str, bytes]) -> Any:
    """A form as a client sends it again: with another boundary, as long as the first."""
    boundary = keys.new_id()
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode()
        + data + b"\r\n" for name, data in files) + f"--{boundary}--\r\n".encode()
    return service.client.post("/v1/batches", data=body, headers={"Idempotency-Key": key},
                               content_type=f"multipart/form-data; boundary={boundary}")


def test_a_repeat_with_the_same_key_is_the_same_batch(service: Service) -> None:
    first = keyed(service, "x", ("a.jpg", picture()))
    feed(service)
    again = keyed(service, "x", ("a.jpg", picture()))
    other = keyed(service, "y", ("a.jpg", picture()))
    assert first.json["id"] == again.json["id"] != other.json["id"]
    assert (again.status_code, again.json["status"]) == (202, "done")
    assert len(service.sent) == 1


def test_a_key_of_another_request_is_refused(service: Service) -> None:
    assert keyed(service, "x", ("a.jpg", picture())).status_code == 202
    answer = keyed(service, "x", ("a.jpg", picture()), ("b.jpg", picture()))
    assert answer.json["code"] == errors.IdempotencyConflict.code
    assert keyed(service, "a b", ("a.jpg", picture())).status_code == 400


def test_a_key_of_another_document_of_the_same_length_is_refused(service: Service) -> None:
    first, again, other = (service.client.post(
        "/v1/batches", json={"images": [f"s3://theirs/a/{n}.jpg"]}, headers={"Idempotency-Key": "x"})
        for n in (0, 0, 1))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert (other.status_code, other.json["code"]) == (409, errors.IdempotencyConflict.code)


def test_a_repeat_after_a_failure_makes_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*args: Any, **kwargs: Any) -> str:
        raise errors.Unreachable("timeout")

    with monkeypatch.context() as patch:
        patch.setattr(service.objects, "put", put)
        assert keyed(service, "x", ("a.jpg", picture())).status_code == 503
    answer = keyed(service, "x", ("a.jpg", picture()))
    assert answer.status_code == 202
    feed(service)
    assert service.client.get(answer.headers["Location"]).json["counts"]["done"] == 1


def test_what_is_refused_leaves_nothing_behind_with_a_key(service: Service, records: MemoryObjects) -> None:
    answer = keyed(service, "x", *((f"{n}.jpg", picture()) for n in range(51)))
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert service.objects.stored == {}
    assert [key for key in records.stored if key.startswith(("fleet/", "batches/"))] == []


def test_what_failed_is_left_to_the_repeat_that_may_be_arriving(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("irs.web.intake.Intake.finish", lambda intake: _unreachable())
        assert keyed(service, "x", ("a.jpg", picture())).status_code == 503
    assert len(service.objects.stored) == 1


def _unreachable() -> int:
    raise errors.Unreachable("timeout")


def test_what_has_the_same_key_and_other_images_changes_nothing_that_is_stored(
        service: Service, records: MemoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("irs.bulk.store.Batches.create", lambda *of: _unreachable())
        assert keyed(service, "x", ("a.jpg", picture())).status_code == 503
    before = dict(records.stored)
    answer = keyed(service, "x", ("b.jpg", picture()))
    assert (answer.status_code, answer.json["code"]) == (409, errors.IdempotencyConflict.code)
    assert {key: records.stored[key] for key in before if key.startswith("batches/")} == {
        key: found for key, found in before.items() if key.startswith("batches/")} != {}
    assert keyed(service, "x", ("a.jpg", picture())).status_code == 202


def test_a_batch_that_is_withdrawn_leaves_no_chunk(
        make: Callable[..., Service], records: MemoryObjects) -> None:
    service = make(source_buckets=("theirs",), records=records, max_batch_images=CHUNK)
    answer = named(service, {"images": [f"s3://theirs/{n}.jpg" for n in range(CHUNK + 1)]})
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert [key for key in records.stored if key.startswith(("fleet/", "batches/"))] == []


# -- following -------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [
    f"/v1/batches/{UNKNOWN}", "/v1/batches/x", f"/v1/batches/{UNKNOWN}/results"])
def test_an_unknown_batch_is_404(service: Service, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "unknown")
    if not path.endswith("results"):
        assert service.client.delete(path).status_code == 404


def test_a_cancelled_batch_sends_nothing(service: Service) -> None:
    location = form(service, ("a.jpg", picture()), ("b.jpg", picture())).headers["Location"]
    answer = service.client.delete(location)
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert answer.json["counts"] == {"queued": 0, "done": 0, "failed": 0, "cancelled": 2}
    feed(service)
    assert service.sent == []
    assert [line["status"] for line in lines(service, location)] == ["cancelled"] * 2
    assert service.client.get(location).json["finished"]
    assert service.objects.stored == {}
    assert service.client.delete(location).json["status"] == "cancelled"


# -- results ---------------------------------------------------------------------------------------
def _mixed(service: Service) -> str:
    """a is done, b failed, c refused, d still queued."""
    def work(job: Job) -> Any:
        return {"a.jpg": done, "b.jpg": failed}.get(job.image, lambda job: None)(job)

    service.work = work
    location: str = form(service, ("a.jpg", picture()), ("b.jpg", picture()), ("c", b"x"),
                         ("d.jpg", picture())).headers["Location"]
    feed(service)
    service.app.extensions["irs"].bulk.feeder.release()
    return location


@pytest.mark.parametrize(("query", "numbers"), [
    ("", [0, 1, 2, 3]), ("?status=done", [0]), ("?status=failed", [1, 2]), ("?status=queued", [3]),
    ("?status=cancelled", []), ("?start=2", [2, 3]), ("?start=1&status=failed", [1, 2]), ("?start=99", [])])
def test_results_of_a_kind_and_from_a_number_on(service: Service, query: str, numbers: list[int]) -> None:
    location = _mixed(service)
    assert [line["number"] for line in lines(service, location, query)] == numbers


def test_a_line_is_the_result_with_its_number(service: Service) -> None:
    location = _mixed(service)
    first, *_, last = lines(service, location)
    stored = service.results.read(first["id"])
    assert stored is not None
    assert first == {"number": 0, **stored.as_dict()}
    assert (last["status"], last["result"]) == ("queued", "(d, queued)")


def test_a_result_that_has_expired_is_not_waited_for(service: Service) -> None:
    location = form(service, ("a.jpg", picture())).headers["Location"]
    feed(service)
    service.results.stored.clear()
    assert [line["status"] for line in lines(service, location)] == ["unknown"]


def test_a_table(service: Service) -> None:
    location = _mixed(service)
    answer = service.client.get(f"{location}/results", headers={"Accept": "text/csv"})
    assert answer.content_type.startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["image"], row["status"], row["label"], row["error"]) for row in rows] == [
        ("a.jpg", "done", "tench", ""), ("b.jpg", "failed", "", "undecodable"),
        ("c", "failed", "", "unsupported_format"), ("d.jpg", "queued", "", "")]


def test_no_name_in_a_table_is_a_formula(service: Service) -> None:
    location = form(service, ("=1+1.jpg", picture()), ("-a.jpg", picture())).headers["Location"]
    answer = service.client.get(f"{location}/results", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["image"] for row in rows] == ["'=1+1.jpg", "'-a.jpg"]
    assert [line["image"] for line in lines(service, location)] == ["=1+1.jpg", "-a.jpg"]


@pytest.mark.parametrize("query", [
    "?status=unknown", "?status=", "?start=-1", "?start=x", "?start=9999999999"])
def test_a_filter_that_is_none_is_named(service: Service, query: str) -> None:
    answer = service.client.get(f"{_mixed(service)}/results{query}")
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


def test_a_result_is_read_only_where_it_is_wanted(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    location = _mixed(service)
    read, asked = service.results.read, []

    def counting(job_id: str) -> Any:
        asked.append(job_id)
        return read(job_id)

    monkeypatch.setattr(service.results, "read", counting)
    lines(service, location, "?status=cancelled")
    lines(service, location, "?status=failed")
    # The one that failed; and the one that is queued may have failed since.
    assert len(asked) == 3


def test_a_store_that_fails_at_once_is_503_and_a_place_is_free_again(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    location = _mixed(service)

    def read(job_id: str) -> Any:
        raise errors.Unreachable("timeout")

    with monkeypatch.context() as patch:
        patch.setattr(service.results, "read", read)
        for _ in range(40):
            assert service.client.get(f"{location}/results").status_code == 503
    assert len(lines(service, location)) == 4


def test_a_batch_that_cannot_be_looked_at_names_no_image(make: Callable[..., Service]) -> None:
    plan = FaultPlan()
    plan.fail_randomly("get_tagged", 1.0, errors.Unreachable("timeout"))
    service = make(records=plan.wrap(MemoryObjects("out")))
    for method in ("get", "delete"):
        answer = getattr(service.client, method)(f"/v1/batches/{UNKNOWN}")
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert "Location" not in answer.headers
        assert "id" not in answer.json


def test_who_asks_for_the_headers_alone_takes_no_place_away(service: Service) -> None:
    location = _mixed(service)
    for _ in range(20):
        with service.client.head(f"{location}/results") as answer:
            assert answer.status_code == 200


def test_streams_that_nobody_reads_are_bounded_and_given_back(service: Service) -> None:
    location = _mixed(service)
    held = [service.client.get(f"{location}/results", buffered=False) for _ in range(16)]
    assert service.client.get(f"{location}/results").status_code == 503
    for answer in held:
        answer.close()
    assert len(lines(service, location)) == 4
