"""The result object: the first writer wins, and what is no result counts as absent."""

from __future__ import annotations

import dataclasses
import json

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Failure, Prediction, Result, Status
from irs.results import store as store_module
from irs.results.store import ResultStore
from irs.settings import Settings
from irs.testing import FaultPlan, MemoryObjects


def failed(job_id: str | None = None, message: str = "no") -> Result:
    return Result(id=job_id or keys.new_id(), image="a.jpg", status=Status.FAILED,
                  error=Failure(code="undecodable", message=message))


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def store(objects: MemoryObjects) -> ResultStore:
    return ResultStore(Settings.model_construct(), objects=objects)  # type: ignore[arg-type]


def test_what_is_written_is_read(store: ResultStore, objects: MemoryObjects) -> None:
    result = failed()
    assert store.read(result.id) is None
    assert store.write(result) == result
    assert store.read(result.id) == result
    assert objects.stored[f"{result.id}.json"].content_type == "application/json"


def test_the_first_writer_wins_and_the_second_is_told(store: ResultStore) -> None:
    first = failed(message="first")
    store.write(first)
    assert store.write(dataclasses.replace(first, error=Failure(code="x", message="second"))) == first
    assert store.read(first.id) == first


FOREIGN = {
    "empty": b"", "half-written": failed("0" * 8 + "-0000-4000-8000-" + "0" * 12).to_json()[:40],
    "not JSON": b"\xff\xfe", "a list": b"[]", "not a result": b'{"id": 1}',
    "not final": json.dumps({"id": keys.new_id(), "image": "a", "status": "queued"}).encode(),
    "infinite": json.dumps({"id": keys.new_id(), "image": "a", "status": "cancelled",
                            "attempts": float("inf")}).encode(),
    "too deep": b"[" * 100_000, "too large": b" " * (store_module.MAX_RESULT + 1),
    "a newer version's": json.dumps({"schema": 99}).encode(), "someone else's": failed().to_json(),
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_an_object_that_is_no_result_counts_as_absent_and_is_replaced(
        store: ResultStore, objects: MemoryObjects, body: bytes) -> None:
    result = failed()
    objects.put(keys.output_key(result.id), body)
    assert store.read(result.id) is None
    assert store.write(result) == result
    assert store.read(result.id) == result


def test_an_id_that_is_none_is_refused(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        store.read("../secret")


@pytest.mark.parametrize("error", [errors.Unreachable("down"), errors.AccessDenied("no")])
def test_a_fault_of_the_bucket_is_not_taken_for_an_absent_result(
        objects: MemoryObjects, error: errors.CloudError) -> None:
    plan = FaultPlan().fail("get", 1, error).fail("put", 1, error)
    store = ResultStore(Settings.model_construct(), objects=plan.wrap(objects))
    with pytest.raises(type(error)):
        store.read(keys.new_id())
    with pytest.raises(type(error)):
        store.write(failed())


def test_a_write_whose_answer_was_lost_is_found_by_the_next(objects: MemoryObjects) -> None:
    plan = FaultPlan().fail("put", 1, errors.Unreachable("timeout"), after=True)
    store = ResultStore(Settings.model_construct(), objects=plan.wrap(objects))
    result = failed()
    with pytest.raises(errors.Unreachable):
        store.write(result)
    assert store.write(failed(result.id, "again")) == result


def test_a_failure_can_be_withdrawn_and_another_result_be_written(store: ResultStore) -> None:
    first = failed(message="first")
    store.write(first)
    assert store.withdraw(first.id) == first
    assert store.read(first.id) is None
    assert store.withdraw(first.id) is None
    second = dataclasses.replace(first, error=Failure(code="x", message="second"))
    assert store.write(second) == second


@pytest.mark.parametrize("status", [Status.DONE, Status.CANCELLED])
def test_a_result_that_is_no_failure_cannot_be_withdrawn(store: ResultStore, status: Status) -> None:
    label = (Prediction(label="cat", index=0, confidence=0.5),) if status is Status.DONE else ()
    result = Result(id=keys.new_id(), image="a.jpg", status=status, predictions=label)
    store.write(result)
    assert store.withdraw(result.id) == result
    assert store.read(result.id) == result


def test_a_missing_bucket_is_not_taken_for_an_absent_result(objects: MemoryObjects) -> None:
    plan = FaultPlan().fail("get", 1, errors.NoBucket("no bucket"))
    with pytest.raises(errors.NoBucket):
        ResultStore(Settings.model_construct(), objects=plan.wrap(objects)).read(keys.new_id())
