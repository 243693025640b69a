from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from irs import errors
from irs.aws import clients, hurry, queues
from irs.broker import shared
from irs.domain import keys
from irs.domain.jobs import Job
from irs.web import dispatch, preferences, submitting
from irs.web import stores as stores_module
from irs.web import waiting as waiting_module
from irs.web.estimates import Estimates
from irs.web.outcomes import Outcome, Place, overall
from irs.web.probe import Probe
from irs.web.waiting import Drain, Gate, Pending, Waiting
from tests.unit.web.webkit import done, picture


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("values", "seconds", "applied"), [
    ([], 60, None),
    (["wait=10"], 10, "wait=10"),
    (["WAIT = 10"], 10, "wait=10"),
    (['wait="10"'], 10, "wait=10"),
    (["respond-async, wait=10"], 10, "wait=10"),
    (["respond-async"], 0, "respond-async"),
    (["handling=lenient", "wait=3; x=y"], 3, "wait=3"),
    (['foo="a, wait=1", wait=2'], 2, "wait=2"),
    (["wait=1, wait=9"], 1, "wait=1"),
    (["wait=99999"], 300, "wait=300"),
    (["wait=" + "9" * 400], 300, "wait=300"),
    (["wait=0"], 0, "wait=0"),
    (["wait=-1"], 60, None), (["wait=1.5"], 60, None), (["wait"], 60, None), (["wait=soon"], 60, None),
    (["wait=²"], 60, None), ([";;;,,=\""], 60, None), (["wait="], 60, None),
])
def test_prefer(values, seconds, applied):
    wait = preferences.wait(Headers([("Prefer", v) for v in values]), default=60)
    assert (wait.seconds, wait.applied) == (seconds, applied)


def test_a_longer_wait_of_the_service_is_the_longest_that_is_granted():
    assert preferences.wait(Headers([("Prefer", "wait=900")]), default=600).seconds == 600


def test_prefer_that_goes_on_for_ever_is_read_in_no_time():
    text = "a=" + '"\\' * 30_000
    assert preferences.wait(Headers([("Prefer", text)]), default=1).seconds == 1


def test_the_gate_counts_and_frees():
    gate = Gate(2, Drain(), lambda: 7)
    with gate.enter(), gate.enter():
        with pytest.raises(errors.Overloaded) as refusal, gate.enter():
            pass
        assert refusal.value.retry_after == 7
        assert gate.inside == 2
    assert gate.inside == 0
    with pytest.raises(ZeroDivisionError), gate.enter():
        raise ZeroDivisionError
    assert gate.inside == 0


def test_a_drain_leaves_time_to_write_the_answers():
    clock = Clock()
    drain = Drain(clock)
    assert not drain.begun
    drain.begin(30)
    assert drain.begun
    assert drain.answer_by == 128
    drain.begin(1)
    assert drain.answer_by == 100.75


def test_places_count_what_was_sent_later_as_behind():
    clock = Clock()
    depth = [10]
    estimates = Estimates(lambda: depth[0], clock, fresh=-1, patience=5)
    first = estimates.sent()
    for _ in range(4):
        estimates.sent()
    assert estimates.place(first) == Place(position=6, seconds=None)
    assert estimates.place() == Place(position=10, seconds=None)
    depth[0] = 2
    assert estimates.place(first) == Place(position=0, seconds=None)


def test_the_pace_is_that_of_the_last_minute():
    clock = Clock()
    estimates = Estimates(lambda: 19, clock, fresh=-1, patience=5)
    assert estimates.retry_after() == 5
    for _ in range(21):
        estimates.finished()
        clock.now += 0.5
    assert estimates.pace() == pytest.approx(2)
    place = estimates.place()
    assert place == Place(position=19, seconds=pytest.approx(10))
    assert estimates.retry_after(place) == 10
    assert estimates.retry_after(waiting=400) == 60
    clock.now += 61
    assert estimates.pace() is None


def test_a_stalled_probe_holds_nobody_up_and_is_asked_once():
    release, asked = threading.Event(), []

    def look():
        asked.append(1)
        release.wait(10)
        return 5

    probe = Probe(look, fresh=60, patience=0.02)
    for _ in range(3):
        with pytest.raises(errors.Unreachable, match=r"no answer within 0\.02 s"):
            probe.value()
    release.set()
    assert len(asked) == 1


def test_many_askers_share_one_look():
    release, asked = threading.Event(), []

    def look():
        asked.append(1)
        release.wait(10)
        return 5

    probe = Probe(look, fresh=60, patience=10)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(probe.value) for _ in range(8)]
        release.set()
        assert [answer.result(5) for answer in answers] == [5] * 8
    assert probe.value() == 5
    assert len(asked) == 1


def test_a_probe_passes_errors_on_and_forgets_them():
    clock = Clock()
    answers = [errors.Throttled("slow down"), 3]

    def look():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    probe = Probe(look, fresh=1, patience=5, clock=clock)
    for _ in range(2):
        with pytest.raises(errors.Throttled):
            probe.value()
    clock.now += 2
    assert probe.value() == 3


QUEUED = Outcome(image="a", id="1")


@pytest.mark.parametrize(("place", "line"), [
    (None, "(a, queued: id 1, ask /v1/images/1)"),
    (Place(position=0, seconds=None), "(a, queued: id 1, next or running, ask /v1/images/1)"),
    (Place(position=4, seconds=2.4),
     "(a, queued: id 1, about 4 in the queue, about 2 s, ask /v1/images/1)"),
])
def test_the_line_of_a_queued_job(place, line):
    assert Outcome(image="a.jpg", id="1", place=place).line == line


def test_overall_of_one_queued():
    assert overall([QUEUED]) == 202


class Announcing:
    """A cloud in which time passes while one waits, and a result is announced every so often."""

    def __init__(self, clock: Clock, *, every: float | None) -> None:
        self.looks: list[float] = []
        self.pool, self.results = self, self
        self.result = None
        self._clock, self._every = clock, every

    @property
    def heard(self) -> float:
        return self._clock.now

    @property
    def told(self) -> float | None:
        return None if self._every is None else self._clock.now // self._every * self._every

    def wait(self, timeout: float) -> None:
        self._clock.now += max(timeout, 0.01)

    def submit(self, read, job):
        self.looks.append(self._clock.now - 100)
        done = Future()
        done.set_result(None)
        return done


@pytest.mark.parametrize(("every", "number", "looks"), [
    (None, 7, [3, 7.5, 14.25, 24.25]),
    (8.0, 7, [3, 7.5, 14.25, 24.25]),
    (0.2, 7, [10, 14.5, 21.25]),
    (0.2, None, [1, 2, 3, 4, 5]),
], ids=["silence", "one now and then", "a queue that moves", "another process's job"])
def test_the_store_is_looked_at_when_announcements_may_be_missing(every, number, looks):
    clock = Clock()
    cloud = Announcing(clock, every=every)
    job = Pending("id", cloud, number)
    Waiting(cloud, Drain(clock), clock).until([job], 30, lambda: False)
    assert [round(at, 1) for at in cloud.looks[:len(looks)]] == [pytest.approx(at, abs=0.2) for at in looks]


@pytest.mark.parametrize(("wait", "look"), [(4, 3.5), (8, 7.5), (30, 10)])
def test_a_short_wait_looks_before_it_ends_however_much_is_announced(wait, look):
    clock = Clock()
    cloud = Announcing(clock, every=0.2)
    Waiting(cloud, Drain(clock), clock).until([Pending("id", cloud, 7)], wait, lambda: False)
    assert cloud.looks[0] == pytest.approx(look, abs=0.1)


def test_a_result_that_was_not_announced_is_counted(make, monkeypatch):
    """The announcement is lost; the waiting request finds its result in the store."""
    monkeypatch.setattr(waiting_module, "LOOK", 0.1)
    service = make(client_wait=8)
    service.announcing = False
    assert service.post(("a.jpg", picture())).status_code == 200
    text = service.client.get("/metrics").text
    assert "irs_missed_announcements_total 1.0" in text
    assert "irs_http_requests_running 1.0" in text, "nobody but this request"


def test_what_it_takes_to_store_and_send_is_of_the_wait(make):
    """SQS takes the task at last; the wait is over by then, and not still to come."""
    clock = Clock()
    service = make(clock=clock, client_wait=20.0)
    service.work = lambda job: setattr(clock, "now", clock.now + 21)
    response = service.post(("a.jpg", picture()))
    assert (response.status_code, clock.now) == (202, 121)
    assert response.headers["Location"] == f"/v1/images/{service.sent[0].id}"


def test_of_many_files_none_is_begun_after_half_of_the_wait(make, monkeypatch):
    """One thread for all of them, as where the others stall."""
    monkeypatch.setattr(stores_module, "POOL", 1)
    clock = Clock()
    service = make(clock=clock, client_wait=60.0)

    def work(job):
        clock.now += 31
        return done(job)

    service.work = work
    response = service.post(("a.jpg", picture()), ("b.jpg", picture()))
    assert response.status_code == 200, "as far as it went"
    assert response.text.splitlines() == [
        "(a, tench)", "(b, error: the service cannot take the image now, try again)"]
    assert len(service.sent) == 1


def test_a_file_waits_for_its_turn_to_be_stored_for_so_long(make, monkeypatch):
    monkeypatch.setattr(submitting, "STORING", 1)
    monkeypatch.setattr(submitting, "TURN", 0.0)
    service = make()
    entered, go = threading.Event(), threading.Event()
    store = service.objects.put

    def stall(*args, **kwargs):
        entered.set()
        assert go.wait(30)
        return store(*args, **kwargs)

    monkeypatch.setattr(service.objects, "put", stall)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.post, ("a.jpg", picture()))
        assert entered.wait(30)
        second = service.post(("b.jpg", picture()))
        go.set()
        assert first.result().status_code == 200
    assert second.status_code == 503
    assert "Retry-After" in second.headers and "Location" not in second.headers


def test_the_guide_tells_how_long_a_stall_can_hold_a_request():
    pauses = 1 + 2  # botocore's between three tries, at most
    send = clients.ATTEMPTS * queues.SEND_TIMEOUT + pauses
    store = 2 * clients.READ_TIMEOUT  # obstore begins no third try after that
    told = (Path(__file__).parents[3] / "docs" / "settings.md").read_text("utf-8")
    turn, behind = submitting.TURN, shared.PATIENCE
    assert f"after {turn + store:g} s at most, {turn:g} for a place and {store:g} for the call" in told
    assert f"after {behind + send:g}, {behind:g} behind others and {send:g} for the call" in told
    assert (send, behind + send) == (shared.LONGEST, dispatch.LEAST)
    beyond, least = dispatch.BEYOND, dispatch.LEAST
    assert (f"together end {beyond:g} s after the wait, or after {least:g} where the wait is "
            f"shorter than {least - beyond:g}") in told
    assert [clients.soon(least, size) for size in (12_000_000, 12_000_001)] == [14, None]
    assert "more than 12 MB" in told


class _Picture:
    """An image as it is uploaded."""

    id = callback_url = None
    name = "a.jpg"

    def read(self) -> bytes:
        return picture()

    def release(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(("seconds", "late", "left"), [(20, 15, 12), (20, 0, 27), (60, 15, 52), (5, 4, 19)])
def test_one_time_covers_the_wait_for_another_job_and_the_own_send(make, seconds, late, left):
    """The job that it followed could not be sent ``late`` seconds after it came."""
    clock, had = Clock(), []
    service = make(reuse="process", clock=clock)
    web = service.app.extensions["irs"]
    lead = Job(id=keys.new_id(), image="a.jpg", key="k", received=datetime.now(UTC))
    assert web.cloud.reuse.claim(lead, picture(), "", follow=True).lead is None

    def gone() -> bool:
        # Asked in each turn of the wait.
        if web.cloud.reuse._followers:
            clock.now += late
            web.cloud.reuse.abandon(lead.id)
        return False

    def send(job: Job, *, reply_to: str) -> None:
        had.append(hurry.left())
        raise errors.Unreachable("it hangs")

    web.cloud._made["send"] = send
    (outcome,) = web.dispatcher.classify([_Picture()], seconds, gone, client="")
    assert outcome.kind == "unavailable"
    assert had == [pytest.approx(left, abs=2)]
    assert late + left <= max(seconds + dispatch.BEYOND, dispatch.LEAST)
