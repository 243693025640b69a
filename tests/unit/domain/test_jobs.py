"""The records, and the JSON that the bucket, the queue and every client see."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs import __version__
from irs.domain import jobs
from irs.domain.jobs import Failure, InputInfo, ModelInfo, Prediction, Result, Status

JOB = "7f3c1d0e-8a7b-4c55-9f6e-0123456789ab"
DONE = Result(
    id=JOB, image="test_0.JPEG", status=Status.DONE, attempts=2, instance="i-0abc",
    predictions=(Prediction(label="tench", index=0, confidence=0.93),
                 Prediction(label="goldfish", index=1, confidence=0.04)),
    model=ModelInfo(name="efficientnet_lite0", version="sha256:0123456789ab", engine="onnxruntime"),
    input=InputInfo(format="JPEG", width=500, height=375, sha256="0" * 64),
    times={"received": "2026-11-22T21:30:00.000Z"},
)
FAILED = Result(id=JOB, image="test_0.JPEG", status=Status.FAILED,
                error=Failure(code="undecodable", message="the JPEG is damaged"))
CANCELLED = Result(id=JOB, image="test_0.JPEG", status=Status.CANCELLED)


def test_the_json_is_the_contracts():
    assert json.loads(DONE.to_json()) == {
        "schema": 1, "id": JOB, "image": "test_0.JPEG", "status": "done",
        "label": "tench", "result": "(test_0, tench)",
        "predictions": [{"label": "tench", "index": 0, "confidence": 0.93},
                        {"label": "goldfish", "index": 1, "confidence": 0.04}],
        "model": {"name": "efficientnet_lite0", "version": "sha256:0123456789ab", "engine": "onnxruntime"},
        "input": {"format": "JPEG", "width": 500, "height": 375, "sha256": "0" * 64},
        "service_version": __version__,
        "attempts": 2, "instance": "i-0abc", "times": {"received": "2026-11-22T21:30:00.000Z"},
    }


def test_a_failure_says_why_and_has_no_label():
    data = json.loads(FAILED.to_json())
    assert data["error"] == {"code": "undecodable", "message": "the JPEG is damaged"}
    assert data["result"] == "(test_0, error: the JPEG is damaged)"
    assert not {"label", "predictions", "model", "input"} & set(data)


def test_a_cancelled_job_says_so():
    assert CANCELLED.line == "(test_0, error: cancelled)"
    assert not {"label", "predictions", "model", "input", "error"} & set(json.loads(CANCELLED.to_json()))


@pytest.mark.parametrize("result", [DONE, FAILED, CANCELLED], ids=lambda r: r.status)
def test_json_there_and_back(result):
    assert Result.from_json(result.to_json()) == result
    assert Result.from_json(result.to_json().decode()) == result


@given(st.text(min_size=1, max_size=50), st.text(max_size=50), st.integers(0, 999), st.floats(0, 1))
def test_any_name_and_label_survive_json(image, label, index, confidence):
    first = Prediction(label=label, index=index, confidence=confidence)
    back = Result.from_json(dataclasses.replace(DONE, image=image, predictions=(first,)).to_json())
    assert (back.image, back.predictions[0].label, back.predictions[0].index) == (image, label, index)
    assert back.predictions[0].confidence == pytest.approx(confidence, abs=1e-6)


def test_an_announcement_has_the_first_prediction_only():
    announced = DONE.announcement()
    assert [p["label"] for p in announced["predictions"]] == ["tench"]
    assert {k: v for k, v in announced.items() if k != "predictions"} == {
        k: v for k, v in DONE.as_dict().items() if k != "predictions"}
    assert Result.from_dict(announced).label == "tench"


def test_what_an_older_writer_left_out_has_defaults():
    old = Result.from_dict({"id": JOB, "image": "a.png", "status": "failed",
                            "error": {"code": "gave_up", "message": "too many attempts"}})
    assert (old.attempts, old.instance, old.predictions) == (1, "", ())
    assert (old.model, old.input, dict(old.times)) == (None, None, {})


@pytest.mark.parametrize("raw", [
    b"", b"null", b"[]", b"{}", b"3", b"not json", b"\xff\xfe",
    json.dumps({**DONE.as_dict(), "schema": jobs.SCHEMA + 1}),
    json.dumps({**DONE.as_dict(), "id": "../../etc"}),
    json.dumps({**DONE.as_dict(), "status": "exploded"}),
    json.dumps({**DONE.as_dict(), "status": "queued"}),
    json.dumps({**DONE.as_dict(), "predictions": []}),
    json.dumps({**DONE.as_dict(), "predictions": [{"label": "x"}]}),
    json.dumps({**DONE.as_dict(), "predictions": 3}),
    json.dumps({**DONE.as_dict(), "model": {"surprise": 1}}),
    json.dumps({**DONE.as_dict(), "model": [1]}),
    json.dumps({**DONE.as_dict(), "times": 3}),
    json.dumps({**DONE.as_dict(), "attempts": None}),
])
def test_what_is_no_result_is_a_value_error(raw):
    with pytest.raises(ValueError):
        Result.from_json(raw)


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"status": Status.QUEUED}, "final"), ({"status": Status.UNKNOWN}, "final"),
    ({"predictions": ()}, "predictions"), ({"status": Status.FAILED}, "error"),
    ({"status": Status.CANCELLED}, "neither"),
    ({"status": Status.CANCELLED, "predictions": (), "error": FAILED.error}, "neither")])
def test_a_result_that_contradicts_itself_cannot_be_made(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(DONE, **changes)


def test_final_states():
    assert [s for s in Status if s.final] == [Status.DONE, Status.FAILED, Status.CANCELLED]


def test_records_are_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DONE.image = "other"
    with pytest.raises(TypeError):
        Prediction("tench", 0, 0.9)


def test_a_stamp_is_utc_with_milliseconds():
    there = datetime(2026, 11, 22, 23, 30, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert jobs.stamp(there) == "2026-11-22T21:30:00.123Z"
    assert jobs.stamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="naive"):
        jobs.stamp(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
