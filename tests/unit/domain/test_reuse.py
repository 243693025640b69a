"""Which answers may be given again."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from irs.domain import reuse
from irs.domain.jobs import Failure, InputInfo, Job, ModelInfo, Prediction, Result, Status, stamp
from irs.domain.reuse import KEPT, VOUCHED, Answers, Asked

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
OLD = ModelInfo(name="efficientnet_lite0", version="sha256:0123456789ab", engine="onnxruntime")
NEW = dataclasses.replace(OLD, version="sha256:ba9876543210")
DATA = b"the same bytes"
SHA = hashlib.sha256(DATA).hexdigest()
ID, OTHER = "7f3c0000-0000-4000-8000-000000000001", "7f3c0000-0000-4000-8000-000000000002"


def done(*, model: ModelInfo | None = OLD, sha256: str = SHA, label: str = "tench", **more: Any) -> Result:
    return Result(**{
        "id": ID, "image": "first.jpg", "status": Status.DONE, "instance": "i-0abc", "attempts": 2,
        "predictions": (Prediction(label=label, index=0, confidence=0.9),), "model": model,
        "input": InputInfo(format="JPEG", width=40, height=30, sha256=sha256),
        "times": {"finished": stamp(NOW)}, **more})


def failed(code: str, *, model: ModelInfo | None = OLD) -> Result:
    return done(status=Status.FAILED, predictions=(), input=None, model=model,
                error=Failure(code=code, message="no"))


# -- what may be reused -----------------------------------------------------------------------
@pytest.mark.parametrize(("result", "may"), [
    (done(), True),
    (done(sha256="0" * 64), False),  # of other bytes: the upload was replaced under its key
    (done(input=None), False),
    (done(model=None), False),
    (done(reused=True), False),
    (done(model=dataclasses.replace(OLD, canary=True)), False),
    (failed("undecodable"), True),
    (failed("too_large"), True),
    (failed("unsupported_format"), True),
    (failed("undecodable", model=None), False),
    (failed("gave_up"), False),
    (failed("dead_letter"), False),
    (failed("input_missing"), False),
    (Result(id=ID, image="x", status=Status.CANCELLED, model=OLD), False),
])
def test_labels_and_faults_of_the_bytes_may_be_reused(result: Result, may: bool) -> None:
    assert reuse.reusable(result, SHA) is may


def test_an_answer_is_the_jobs_own_and_names_nobody_else() -> None:
    job = Job(id=OTHER, image="mine.png", key=f"{OTHER}/mine.png", received=NOW)
    mine = reuse.answer(job, done(), NOW + timedelta(seconds=1))
    assert (mine.id, mine.image, mine.line) == (OTHER, "mine.png", "(mine, tench)")
    assert (mine.attempts, mine.instance, mine.reused) == (0, "", True)
    assert mine.times == {"received": stamp(NOW), "started": stamp(NOW + timedelta(seconds=1)),
                          "finished": stamp(NOW + timedelta(seconds=1))}
    assert (mine.predictions, mine.model, mine.input) == (done().predictions, OLD, done().input)
    text = mine.to_json().decode()
    assert ID not in text
    assert "first" not in text
    assert Result.from_json(text) == mine
    assert Result.from_json(text).reused is True


def test_a_result_that_is_its_own_says_nothing_of_reuse() -> None:
    assert "reused" not in done().as_dict()
    assert Result.from_dict(done().as_dict() | {"reused": "yes"}).reused is False


def test_each_client_has_answers_of_its_own_and_no_key_tells_its_name() -> None:
    nobody, mine, theirs = (Asked.of(DATA, client) for client in ("", "mine", "theirs"))
    assert nobody == Asked(sha256=SHA, key=SHA)
    assert mine.sha256 == theirs.sha256 == SHA
    assert len({nobody.key, mine.key, theirs.key}) == 3
    assert "mine" not in mine.key
    # A name with the separator in it cannot be another's: names have no line ends.
    assert reuse.index_key(mine.key) == f"reuse/{mine.key}.json"


@pytest.mark.parametrize(("finished", "is_fresh"), [
    (stamp(NOW), True),
    (stamp(NOW - timedelta(seconds=VOUCHED - 1)), True),
    (stamp(NOW - timedelta(seconds=VOUCHED + 1)), False),
    (stamp(NOW + timedelta(hours=1)), True),  # a fast clock
    ("2026-11-25T12:00:00", True),  # no zone: taken for UTC
    ("yesterday", False),
    ("", False),
])
def test_what_was_just_made_is_fresh(finished: str, is_fresh: bool) -> None:
    assert reuse.fresh(done(times={"finished": finished}), NOW) is is_fresh


# -- the shared answers -----------------------------------------------------------------------
def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(("seconds", "model", "holds"), [
    (1, OLD, True),
    (KEPT - 1, OLD, True),
    (KEPT + 1, OLD, False),
    (1, NEW, False),
    (1, None, True),  # nothing heard here: it is young enough to vouch for itself
    (VOUCHED + 1, None, False),
    (-1, OLD, True),
    (-VOUCHED - 1, OLD, False),  # from the future
])
def test_a_shared_answer_holds_for_the_fleets_model_and_a_while(seconds, model, holds) -> None:
    raw = reuse.to_index(done(), NOW)
    known = model and (model.name, model.version)
    found = reuse.from_index(raw, SHA, later(seconds), known)
    assert (found is not None) is holds
    if found:
        assert found[0].predictions == done().predictions
        assert found[1] == seconds


def test_a_shared_answer_does_not_hold_its_first_images_name() -> None:
    assert b"first" not in reuse.to_index(done(), NOW)


@pytest.mark.parametrize("raw", [
    b"", b"{}", b"[]", b"\xff", b"null",
    reuse.to_index(done(), NOW).replace(b"heard", b"hoard"),
    reuse.to_index(done(sha256="0" * 64), NOW),
    reuse.to_index(failed("gave_up"), NOW),
])
def test_what_is_no_shared_answer_is_none(raw: bytes) -> None:
    assert reuse.from_index(raw, SHA, NOW, None) is None


# -- the answers of one process ---------------------------------------------------------------
@pytest.fixture
def answers() -> Answers:
    found = Answers()
    found.heard(OLD, 0)
    return found


def test_an_answer_is_found_while_it_holds(answers: Answers) -> None:
    answers.keep("k", done(), 0)
    assert answers.find("k", VOUCHED - 1) == done()
    assert answers.find("other", 0) is None


def test_nothing_is_found_while_nobody_vouches_for_the_model(answers: Answers) -> None:
    answers.keep("k", done(), 0)
    assert answers.find("k", VOUCHED) is None
    answers.heard(OLD, VOUCHED)
    assert answers.find("k", VOUCHED) == done()


def test_an_answer_ends_after_its_time(answers: Answers) -> None:
    answers.keep("k", done(), 0)
    answers.heard(OLD, KEPT)
    assert answers.find("k", KEPT) is None
    assert (len(answers), answers.size) == (0, 0)


def test_a_new_model_empties_it_and_another_engine_does_not(answers: Answers) -> None:
    answers.keep("k", done(), 0)
    answers.heard(dataclasses.replace(OLD, engine="torch"), 1)
    assert answers.find("k", 1) == done()
    answers.heard(NEW, 2)
    assert answers.find("k", 2) is None
    assert (len(answers), answers.size) == (0, 0)
    answers.keep("k", done(), 2)  # a late one of the old model
    assert answers.find("k", 2) is None


def test_entries_are_bounded_and_the_least_wanted_goes() -> None:
    answers = Answers(entries=2)
    answers.heard(OLD, 0)
    answers.keep("a", done(), 0)
    answers.keep("b", done(), 0)
    answers.find("a", 0)
    answers.keep("c", done(), 0)
    assert [key for key in "abc" if answers.find(key, 0)] == ["a", "c"]


def test_bytes_are_bounded() -> None:
    one = len(done().to_json())
    answers = Answers(size=2 * one)
    answers.heard(OLD, 0)
    for key in "abc":
        answers.keep(key, done(), 0)
        answers.keep(key, done(), 0)  # again: counted once
    assert (len(answers), answers.size) == (2, 2 * one)
    answers.keep("large", done(label="x" * 2 * one), 0)
    assert (len(answers), answers.size) == (0, 0)
