from __future__ import annotations

from datetime import timedelta

import pytest

from irs.domain import callbacks, keys
from irs.domain.callbacks import ATTEMPTS, Answer, Record, State
from irs.testing.clock import START

ID = keys.new_id()


def record(**more) -> Record:
    return Record(**{"id": ID, "url": "https://example.com/hook?token=x", "created": START,
                     "next_at": START, **more})


@pytest.mark.parametrize(("answer", "attempts", "state", "error"), [
    (Answer(status=200), 1, State.DELIVERED, None),
    (Answer(status=204), ATTEMPTS, State.DELIVERED, None),
    (Answer(status=299), 1, State.DELIVERED, None),
    (Answer(status=301), 1, State.PENDING, "answered 301"),
    (Answer(status=400), 1, State.PENDING, "answered 400"),
    (Answer(status=410), 1, State.FAILED, "answered 410"),
    (Answer(status=500), ATTEMPTS - 1, State.PENDING, "answered 500"),
    (Answer(status=500), ATTEMPTS, State.FAILED, "answered 500"),
    (Answer(error="refused"), 3, State.PENDING, "refused"),
    (Answer(error="x" * 500), 3, State.PENDING, "x" * 200),
])
def test_what_an_answer_makes_of_a_callback(answer, attempts, state, error):
    after = record(attempts=attempts).answered(answer, START, 0.5)
    assert (after.state, after.last_error, after.last_status) == (state, error, answer.status)
    assert (after.next_at > START) == (state is State.PENDING)
    assert after.state.final == (state is not State.PENDING)


def test_the_pauses_double_and_add_up_to_an_hour():
    pauses = [callbacks.pause(n, 0.5).total_seconds() for n in range(1, ATTEMPTS)]
    assert pauses[:8] == [5, 10, 20, 40, 80, 160, 320, 600]
    assert sum(pauses) == pytest.approx(3600, rel=0.02)


def test_a_pause_is_jittered_by_a_fifth():
    assert callbacks.pause(1, 0.0) == timedelta(seconds=4)
    assert callbacks.pause(1, 1.0) == timedelta(seconds=6)
    assert callbacks.pause(5000, 1.0) == timedelta(seconds=720)


def test_a_holder_has_time_to_end_before_another_may_begin():
    due = record()
    moments = [START + timedelta(seconds=s) for s in range(-5, 60)]
    assert due.safe(START)
    assert not due.left(START)
    assert due.left(START + timedelta(seconds=30))
    for moment in moments:  # an attempt takes 15 s
        if due.safe(moment):
            assert not due.left(moment + timedelta(seconds=15) - timedelta(milliseconds=1))


def test_a_job_without_result_is_waited_for_two_weeks():
    assert record().abandoned(START + timedelta(days=13)) is None
    over = record().abandoned(START + timedelta(days=14))
    assert (over.state, over.last_error) == (State.FAILED, "there was no result")


def test_a_record_comes_back_as_it_was():
    for one in (record(), record(attempts=3, state=State.FAILED, last_error="ü", about="batch"),
                record(last_status=503, next_at=START + timedelta(seconds=1))):
        assert Record.from_json(one.to_json()) == one


@pytest.mark.parametrize("raw", [
    b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000,
    record().to_json().replace(b"pending", b"unheard-of"), record().to_json().replace(b"Z", b""),
    record().to_json().replace(ID.encode(), b"../x"),
    record().to_json().replace(b'"attempts":0', b'"attempts":[]'),
])
def test_what_is_no_record(raw):
    with pytest.raises(ValueError, match=r"."):
        Record.from_json(raw)


def test_a_report_has_no_url():
    report = record(attempts=2, last_status=503, last_error="answered 503").report()
    assert report == {"id": ID, "state": "pending", "attempts": 2, "last_status": 503,
                      "last_error": "answered 503", "next_at": "2026-01-01T12:00:00.000Z"}
    assert "next_at" not in record().report()
    assert "next_at" not in record(attempts=1, state=State.DELIVERED).report()
