"""From a promise to its end, by one process or several, and what faults do to it."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from irs import errors, rounds, signing
from irs.callbacks import upkeep as upkeep_module
from irs.callbacks.records import OPEN, OVER
from irs.domain import keys
from irs.domain.callbacks import ATTEMPTS, Answer, State
from irs.testing import FaultPlan
from irs.testing.clock import START
from tests.unit.callbacks.callkit import SECRET, URL, World


@pytest.fixture
def world() -> World:
    return World()


def down() -> Answer:
    return Answer(status=503)


def finished(world, process, job_id):
    """The job's result is there, and announced to the process."""
    world.payloads[job_id] = b'{"id":"%s"}' % job_id.encode()
    process.told(job_id)


def test_a_callback_is_in_s3_before_anything_else(world):
    job_id = world.process().job()
    assert world.stored(job_id).url == URL
    assert world.posts == []


def test_a_result_is_posted_signed_and_its_record_moved(world):
    process = world.process()
    job_id = process.job()
    finished(world, process, job_id)
    assert process.call() == 1
    ((url, body, headers),) = world.posts
    assert (url, json.loads(body)) == (URL, {"id": job_id})
    assert headers == signing.headers([SECRET], job_id, body, int(START.timestamp()))
    over = world.over(job_id)
    assert (over.state, over.attempts, over.last_status) == (State.DELIVERED, 1, 200)
    assert process.counts.outcomes == {"delivered": 1, "retried": 0, "gone": 0, "failed": 0}
    assert process.counts.queued == 0


def test_what_it_costs(world):
    process = world.process()
    finished(world, process, process.job())
    process.call()
    assert world.faults.calls == {"put": 2, "delete": 1}


def test_results_of_other_jobs_are_nothing_to_it(world):
    process = world.process()
    process.told(keys.new_id())
    assert process.call() == 0
    assert world.faults.calls == {}


def test_a_receiver_that_is_down_is_called_again_and_again_for_an_hour(world):
    process = world.process()
    world.answer = down
    job_id = process.job()
    finished(world, process, job_id)
    moments = []
    for _ in range(3800):
        moments += [world.seconds() - START.timestamp()] * process.call()
        world.clock.advance(1)
    assert moments[:6] == [0, 5, 15, 35, 75, 155]
    assert len(moments) == ATTEMPTS
    assert 3600 < moments[-1] < 3700
    assert len({headers["webhook-id"] for _, _, headers in world.posts}) == 1
    assert len({headers["webhook-timestamp"] for _, _, headers in world.posts}) == ATTEMPTS
    over = world.over(job_id)
    assert (over.state, over.last_error) == (State.FAILED, "answered 503")
    assert process.counts.outcomes["retried"] == ATTEMPTS - 1
    assert process.counts.outcomes["failed"] == 1


def test_down_then_up(world):
    process = world.process()
    answers = iter([Answer(error="no route"), down(), Answer(status=204)])
    world.answer = lambda: next(answers)
    job_id = process.job()
    finished(world, process, job_id)
    process.call()
    assert world.stored(job_id).report()["next_at"] == "2026-01-01T12:00:05.000Z"
    for _ in range(20):
        world.clock.advance(1)
        process.call()
    assert world.over(job_id).attempts == 3


def test_gone_is_gone(world):
    process = world.process()
    world.answer = lambda: Answer(status=410)
    job_id = process.job()
    finished(world, process, job_id)
    process.call()
    assert world.over(job_id).state is State.FAILED
    assert process.counts.outcomes["gone"] == 1


def test_no_log_has_the_url_or_the_secret(world, events):
    process = world.process()
    answers = iter([down(), Answer(status=410)])
    world.answer = lambda: next(answers)
    finished(world, process, process.job())
    process.call()
    world.clock.advance(5)
    process.call()
    assert [event["event"] for event in events] == ["callback.retried", "callback.gone"]
    assert events[0]["host"] == "hooks.example.com"
    assert "secret" not in str(events)
    assert SECRET.decode() not in str(events)


# -- other processes -------------------------------------------------------------------------
def looks(world, process, seconds, every=30):
    """The process's life for so long; how many attempts it made."""
    made = 0
    for _ in range(seconds // every):
        world.clock.advance(every)
        process.look()
        made += process.call()
    return made


def test_a_process_that_dies_before_the_result_is_followed_by_another(world):
    job_id = world.process().job()
    heir = world.process()
    assert looks(world, heir, 300) == 0  # no result
    world.payloads[job_id] = b"{}"
    assert looks(world, heir, 90) == 1
    assert world.over(job_id).state is State.DELIVERED


def test_a_process_that_dies_between_result_and_delivery_is_followed_by_another(world):
    dead = world.process()
    job_id = dead.job()
    finished(world, dead, job_id)
    heir = world.process()
    heir.look()
    assert heir.call() == 0  # the first one may still be at it
    assert looks(world, heir, 60) == 1
    assert world.over(job_id).state is State.DELIVERED


def test_a_process_that_dies_between_two_attempts_is_followed_by_another(world):
    dead = world.process()
    world.answer = down
    job_id = dead.job()
    finished(world, dead, job_id)
    dead.call()
    world.answer = lambda: Answer(status=200)
    assert looks(world, world.process(), 90) == 1
    assert world.over(job_id).attempts == 2


def test_a_process_that_is_there_is_left_alone(world):
    one, other = world.process(), world.process()
    world.answer = down
    job_id = one.job()
    finished(world, one, job_id)
    mine = others = 0
    for _ in range(3800):
        mine += one.call()
        if world.seconds() % 30 == 0:
            other.look()
        others += other.call()
        world.clock.advance(1)
    assert (mine, others) == (ATTEMPTS, 0)
    assert world.over(job_id).attempts == ATTEMPTS


def test_of_several_that_find_it_one_makes_the_attempt(world):
    job_id = world.process().job()
    world.payloads[job_id] = b"{}"
    world.clock.advance(30)
    heirs = [world.process() for _ in range(8)]
    for heir in heirs:
        heir.look()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda heir: heir.call(), heirs)) == 8
    assert len(world.posts) == 1
    assert world.over(job_id).attempts == 1


def test_who_was_frozen_does_not_write_over_what_another_did(world):
    frozen, heir = world.process(), world.process()
    world.answer = down
    job_id = frozen.job()
    finished(world, frozen, job_id)
    looks(world, heir, 30)
    assert world.stored(job_id).attempts == 1
    assert frozen.call() == 1  # it had a turn, and finds that it is not its own any more
    assert len(world.posts) == 1
    assert world.stored(job_id).attempts == 1


def test_its_own_announcement_that_was_lost_is_made_up_for(world):
    process = world.process()
    job_id = process.job()
    world.payloads[job_id] = b"{}"
    assert looks(world, process, 60) == 1
    process.told(job_id)  # late, and nothing to it
    assert process.call() == 0


# -- what looks cost -------------------------------------------------------------------------
def test_an_idle_look_is_one_listing(world):
    process = world.process()
    looks(world, process, 300)
    assert world.faults.calls == {"tags": 10}


def test_a_job_that_waits_for_long_is_looked_for_less_and_less(world):
    world.process().job()
    world.faults.calls.clear()
    looks(world, world.process(), 86_400)
    assert world.faults.calls["get_tagged"] < 200


def test_those_of_a_slow_receiver_do_not_keep_the_looks_from_the_others(world, monkeypatch):
    monkeypatch.setattr(upkeep_module, "READS", 20)
    dead = world.process()
    for _ in range(200):
        job_id = dead.job("https://slow.example.com/")
        world.payloads[job_id] = b"{}"
    other = dead.job("https://other.example.com/")
    world.payloads[other] = b"{}"
    heir = world.process(each=5)
    for _ in range(40):
        world.clock.advance(30)
        heir.look()
        if other in heir.turns:
            break
    assert other in heir.turns


def test_what_is_no_record_is_left_alone(world, events):
    job_id = keys.new_id()
    world.objects.put(f"{OPEN}{job_id}.json", b"{}")
    world.objects.put(f"{OPEN}readme.txt", b"")
    process = world.process()
    assert looks(world, process, 300) == 0
    assert [event["event"] for event in events] == ["callback.invalid"]


def test_a_job_that_never_has_a_result_is_given_up(world):
    job_id = world.process().job()
    world.clock.advance(timedelta(days=14).total_seconds())
    process = world.process()
    process.look()
    assert (world.over(job_id).state, world.posts) == (State.FAILED, [])


# -- faults ----------------------------------------------------------------------------------
def test_what_cannot_be_promised_is_not(world):
    world.faults.fail("put", 1, errors.Unreachable("down"))
    process = world.process()
    with pytest.raises(errors.Unreachable):
        process.job()
    assert process.counts.queued == 0


def test_a_fault_after_the_post_means_another_post(world):
    process = world.process()
    job_id = process.job()
    world.faults.fail("put", 2, errors.Unreachable("down"))
    finished(world, process, job_id)
    process.call()
    assert world.stored(job_id).state is State.PENDING
    assert looks(world, process, 60) == 1
    assert [headers["webhook-id"] for _, _, headers in world.posts] == [job_id] * 2
    assert world.over(job_id).state is State.DELIVERED


def test_a_claim_whose_answer_was_lost_is_made_again_later(world):
    job_id = world.process().job()
    world.payloads[job_id] = b"{}"
    world.faults.fail("put", 2, errors.Unreachable("lost"), after=True)
    assert looks(world, world.process(), 120) == 2
    assert world.over(job_id).attempts == 2


def test_a_defect_costs_one_attempt_and_no_thread(world, events):
    process = world.process()
    job_id = process.job()
    finished(world, process, job_id)

    def broken():
        raise RuntimeError("a defect")

    world.answer = broken
    assert process.call() == 1
    assert "callback.error" in [event["event"] for event in events]
    world.answer = lambda: Answer(status=200)
    assert looks(world, process, 60) == 1


@pytest.mark.parametrize("seed", range(5))
def test_nothing_promised_is_lost_whatever_fails(world, seed):
    """S3 refuses and loses answers, receivers fail, processes die: each callback is made."""
    dice = random.Random(seed)
    for method in ("put", "get_tagged", "delete", "tags"):
        world.faults.fail_randomly(method, 0.1, errors.Unreachable("down"))
        world.faults.fail_randomly(method, 0.1, errors.Unreachable("lost"), after=True)
    world.answer = lambda: dice.choice([Answer(status=200), down(), Answer(error="reset")])
    processes = [world.process() for _ in range(3)]
    promised = set()
    for second in range(900):
        process = dice.choice(processes)
        if second % 10 == 0:
            with contextlib.suppress(errors.Unreachable):
                promised.add(process.job())
        for job_id in dice.sample(sorted(promised), min(2, len(promised))):
            finished(world, dice.choice(processes), job_id)
        if dice.random() < 0.01:
            processes[dice.randrange(3)] = world.process()  # in the place of one that was killed
        if second % 30 == 0:
            with contextlib.suppress(errors.Unreachable):
                process.look()
        process.call()
        world.clock.advance(1)
    world.faults, world.answer = FaultPlan(), lambda: Answer(status=200)
    world.payloads.update(dict.fromkeys(promised, b"{}"))
    looks(world, world.process(), 3600)
    made = [headers["webhook-id"] for _, _, headers in world.posts]
    assert promised <= set(made)
    assert len(promised) > 50
    # Or given up, where the dice let every one of the attempts fail.
    assert all(over.state is State.DELIVERED or over.attempts == ATTEMPTS
               for over in map(world.over, promised))


def test_the_table_of_promises_is_bounded(world, monkeypatch):
    monkeypatch.setattr(upkeep_module, "LIMIT", 2)
    process = world.process()
    first, second, third = (process.job() for _ in range(3))
    for job_id in (first, second, third):
        finished(world, process, job_id)
    assert process.call() == 2
    assert looks(world, process, 60) == 1
    assert len(world.posts) == 3


# -- once more -------------------------------------------------------------------------------
def test_once_more_is_from_the_start(world):
    process = world.process()
    world.answer = lambda: Answer(status=410)
    job_id = process.job()
    finished(world, process, job_id)
    process.call()
    world.answer = down
    process.again(process.find(job_id))
    assert process.call() == 1
    assert world.stored(job_id).attempts == 1
    assert process.find(job_id).state is State.PENDING
    world.answer = lambda: Answer(status=200)
    world.clock.advance(5)
    process.call()
    assert world.over(job_id).state is State.DELIVERED


def test_a_record_is_found_wherever_it_is(world):
    process = world.process()
    job_id = process.job()
    assert process.find(job_id).state is State.PENDING
    finished(world, process, job_id)
    process.call()
    assert process.find(job_id).state is State.DELIVERED
    assert list(world.objects.keys(OVER)) == [f"{OVER}{job_id}.json"]
    assert process.find(keys.new_id()) is None


# -- threads ---------------------------------------------------------------------------------
def test_a_look_that_fails_is_said_and_the_next_one_comes(world, events):
    process = world.process()
    process.job()
    world.faults.fail("tags", 1, errors.Unreachable("down"))
    world.faults.fail("tags", 2, RuntimeError("a defect"))
    left = iter([False, False, False, True])
    process._rounds.run(lambda seconds: next(left))
    said = [(event["event"], event["log_level"]) for event in events]
    assert said == [("callback.look_failed", "warning"), ("callback.look_error", "error")]
    assert world.faults.calls["tags"] == 3


def test_the_threads_call_and_look_and_end_when_told(world, monkeypatch):
    monkeypatch.setattr(rounds, "FIRST", (0.0, 0.0))
    called, looked = threading.Event(), threading.Event()
    process = world.process()

    def answer():
        called.set()
        return Answer(status=200)

    def pending():
        looked.set()
        return iter(())

    world.answer = answer
    monkeypatch.setattr(process._records, "pending", pending)
    job_id = process.job()
    process.start()
    finished(world, process, job_id)
    assert called.wait(10)
    assert looked.wait(10)
    process.close()
    for thread in process._callers:
        thread.join(10)
    assert not any(thread.is_alive() for thread in process._callers)
    assert process._rounds.join(10)
    assert process.busy == 0
