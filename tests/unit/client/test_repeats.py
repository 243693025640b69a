"""When the client asks again, with what, and after what pauses."""

from __future__ import annotations

import pytest

from irs.client import Overloaded, Unreachable
from irs.client.repeats import BACKOFF, BACKOFF_MOST
from tests.unit.client.scripted import ID, LOST, Script, classify, done, problem, reply


def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_body() -> None:
    script = Script(LOST, LOST, reply(200, done()))
    classify(script)
    assert len({asked.headers["Idempotency-Key"] for asked in script.asked}) == 1
    assert script.bodies == [b"bytes"] * 3
    assert script.pauses == [BACKOFF / 2, BACKOFF]  # without jitter: the lower half


def test_each_image_has_a_key_of_its_own() -> None:
    script = Script(reply(200, done()))
    other = Script(reply(200, done()))
    classify(script)
    classify(other)
    assert script.asked[0].headers["Idempotency-Key"] != other.asked[0].headers["Idempotency-Key"]


def test_repeats_without_an_answer_are_counted() -> None:
    script = Script(*[LOST] * 4, retries=3)
    with pytest.raises(Unreachable, match="does not answer"):
        classify(script)
    assert len(script.asked) == 4


def test_pauses_grow_to_their_most_and_are_spread() -> None:
    least, most = (Script(*[LOST] * 9, retries=8, jitter=jitter) for jitter in (0.0, 1.0))
    for script in (least, most):
        with pytest.raises(Unreachable):
            classify(script)
    assert least.pauses[-1] == BACKOFF_MOST / 2
    assert most.pauses[-1] == BACKOFF_MOST
    assert most.pauses == [2 * pause for pause in least.pauses]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says_and_until_the_wait_is_over(status: int) -> None:
    busy = problem(status, "overloaded", retry_after="5")
    script = Script(*[busy] * 5, retries=1)
    with pytest.raises(Overloaded) as raised:
        classify(script, wait=20)
    assert script.pauses == [5, 5, 5, 5]
    assert [asked.wait for asked in script.asked] == [20, 15, 10, 5, 0]
    assert raised.value.retry_after == 5


def test_clients_do_not_come_back_together() -> None:
    script = Script(problem(503, "overloaded", retry_after="8"), reply(200, done()), jitter=1.0)
    classify(script)
    assert script.pauses == [10]  # later than asked, never earlier


def test_without_a_wait_a_busy_service_is_asked_only_so_often() -> None:
    script = Script(*[problem(503, "unavailable")] * 3, retries=2)
    with pytest.raises(Overloaded):
        script.play(script.flows.get(ID))


def test_a_busy_answer_that_names_the_job_is_followed_and_not_sent_again() -> None:
    script = Script(problem(503, "unavailable", id=ID, retry_after="2"), problem(504, "lost", id=ID),
                    reply(200, done()))
    assert classify(script).label == "tench"
    assert [asked.method for asked in script.asked] == ["POST", "GET", "GET"]
