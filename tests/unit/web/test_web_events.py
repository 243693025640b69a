"""``POST /v1/events`` on fakes: who is told of what, and what ends it."""

from __future__ import annotations

import json
import threading
import uuid

import pytest

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Job
from irs.web import events, streams
from tests.processes import until
from tests.unit.web.webkit import done, failed, picture

STREAM = "text/event-stream"


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Reader:
    """Reads a stream event by event, as a client does."""

    def __init__(self, service, ids, **environ):
        self.answer = service.client.post("/v1/events", json={"ids": ids}, environ_overrides=environ)
        assert (self.answer.status_code, self.answer.mimetype) == (200, STREAM)
        self._blocks = iter(self.answer.response)
        self._events = []

    def next(self, name=None):
        """The next event, of that ``name``: its name and what it tells."""
        while True:
            while not self._events:
                text = next(self._blocks).decode()
                self._events = [event for event in text.split("\n\n") if event]
            lines = dict(line.split(": ", 1) for line in self._events.pop(0).split("\n"))
            if "" not in lines and name in (None, lines["event"]):
                return lines["event"], json.loads(lines["data"])

    def ends(self):
        return list(self._blocks) == []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.answer.close()


def send(service, *names):
    """Jobs without a result, and their ids."""
    work, service.work = service.work, lambda job: None
    for name in names:
        assert service.client.post(f"/v1/images?name={name}", data=picture(),
                                   content_type="image/jpeg").status_code == 202
    service.work = work
    return [job.id for job in service.sent[-len(names):]]


def elsewhere(service, name="a.jpg"):
    """A job that another process took."""
    job_id = keys.new_id()
    service.objects.put(keys.input_key(job_id, name), picture())
    return Job(id=job_id, image=name, key=keys.input_key(job_id, name), received=None)


def test_what_is_done_is_told_at_once_and_then_it_ends(service):
    service.work = lambda job: done(job) if job.image == "a.jpg" else failed(job)
    answers = [service.client.post(f"/v1/images?name={name}", data=picture(), content_type="image/jpeg",
                                   headers={"Prefer": "wait=5"}).json for name in ("a.jpg", "b.jpg")]
    with Reader(service, [answer["id"] for answer in answers]) as reader:
        told = {data["image"]: data for name, data in (reader.next("result"), reader.next("result"))}
        assert told["a.jpg"] == answers[0]
        assert told["b.jpg"]["error"]["code"] == "undecodable"
        assert reader.next() == ("end", {"left": 0})
        assert reader.ends()


def test_each_result_is_told_as_it_is_heard(service):
    service.depth = 7
    first, second = send(service, "a.jpg", "b.jpg")
    jobs = {job.id: job for job in service.sent}
    with Reader(service, [first, second]) as reader:
        assert reader.next()[0] == "queue"
        for job_id, left in ((second, 1), (first, 0)):
            result = service.results.write(done(jobs[job_id], "goldfish"))
            service.listener.announce(result)
            assert reader.next("result")[1]["id"] == job_id
            if not left:
                assert reader.next() == ("end", {"left": 0})
    assert service.app.extensions["irs"].streams.count == 0


def test_the_place_is_told_when_it_changes(service, monkeypatch):
    monkeypatch.setattr(events, "PLACE", 0.0)
    service.depth = 7
    with Reader(service, send(service, "a.jpg")) as reader:
        assert reader.next("queue")[1]["position"] == 7
        service.depth = 3
        assert reader.next("queue")[1]["position"] == 3


def test_a_job_of_another_process_is_looked_for(service, monkeypatch):
    monkeypatch.setattr(streams, "LOOK", 0.01)
    job = elsewhere(service)
    with Reader(service, [job.id]) as reader:
        pending = service.app.extensions["irs"].cloud.upkeep.pending
        assert reader.next()[0] == "queue"
        until(lambda: len(pending) == 1)  # and looked after, from now on
        service.results.write(done(job))  # and nobody says so
        assert reader.next("result")[1]["id"] == job.id
        assert reader.next() == ("end", {"left": 0})


def test_a_fault_of_s3_is_waited_out(service, monkeypatch):
    monkeypatch.setattr(streams, "LOOK", 0.01)
    job = elsewhere(service)
    service.results.write(done(job))
    read, failing = service.results.read, threading.Event()

    def reading(job_id):
        if not failing.is_set():
            failing.set()
            raise errors.Unreachable("S3 is away")
        return read(job_id)

    monkeypatch.setattr(service.results, "read", reading)
    with Reader(service, [job.id]) as reader:
        assert reader.next("result")[1]["id"] == job.id
    assert failing.is_set()


def test_an_id_of_nothing_is_told_as_such(service):
    stranger = str(uuid.uuid4())
    with Reader(service, [stranger, stranger]) as reader:
        assert reader.next("unknown") == ("unknown", {"id": stranger, "status": "unknown"})
        assert reader.next() == ("end", {"left": 0})


@pytest.mark.parametrize("how", ["drain", "time"])
def test_it_ends_in_good_order_and_says_what_is_left(make, how):
    clock = Clock()
    service = make(clock=clock)
    ids = send(service, "a.jpg", "b.jpg")
    with Reader(service, ids) as reader:
        assert reader.next()[0] == "queue"
        if how == "drain":
            service.app.extensions["irs"].drain.begin(10)
        else:
            clock.now += events.LIFE
        assert reader.next("end") == ("end", {"left": 2})
        assert reader.ends()
    if how == "drain":
        answer = service.client.post("/v1/events", json={"ids": ids})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_silent_stream_has_a_heartbeat_and_a_client_that_has_gone_frees_its_place(make):
    clock = Clock()
    service = make(clock=clock)
    gone = threading.Event()
    ids = send(service, "a.jpg")
    with Reader(service, ids, **{"waitress.client_disconnected": gone.is_set}) as reader:
        assert reader.next()[0] == "queue"
        clock.now += events.BEAT
        assert next(reader._blocks).startswith(b": ")
        gone.set()
        assert reader.ends()
    assert service.app.extensions["irs"].streams.count == 0


def test_there_are_only_so_many(service, monkeypatch):
    monkeypatch.setattr(streams, "STREAMS", 1)
    ids = send(service, "a.jpg")
    with Reader(service, ids):
        answer = service.client.post("/v1/events", json={"ids": ids})
        assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"] == str(events.AGAIN)
        assert "irs_event_streams 1.0" in service.client.get("/metrics").text
    with Reader(service, ids):
        pass


@pytest.mark.parametrize("body", [
    {}, {"ids": []}, {"ids": "7f3c2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11"}, {"ids": ["x"]}, {"ids": [1]},
    {"ids": [None]}, {"ids": [str(uuid.UUID(int=n)) for n in range(streams.JOBS + 1)]}])
def test_what_names_no_jobs_is_refused(service, body):
    answer = service.client.post("/v1/events", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert "ids" in answer.json["detail"]


def test_many_jobs_of_other_processes_are_no_storm_of_looks(make):
    clock = Clock()
    service = make(clock=clock)
    web = service.app.extensions["irs"]
    ids = [elsewhere(service, f"{n}.jpg").id for n in range(100)]
    looked, read = [], service.results.read
    service.results.read = lambda job_id: (looked.append(job_id), read(job_id))[1]
    with web.streams.open(ids, retry_after=1) as stream:
        def look():
            before = len(looked)
            stream.look()
            until(lambda: not any(job.looking for job in stream._open.values()))
            return len(looked) > before

        while look():
            assert len(looked) <= streams.LOOKS
        assert looked == ids[:streams.LOOKS]
        clock.now += 1
        look()
        assert len(looked) > streams.LOOKS


def test_next_to_one_that_is_done_others_are_looked_for_sooner(make):
    clock = Clock()
    service = make(clock=clock)
    web = service.app.extensions["irs"]
    jobs = [elsewhere(service, f"{n}.jpg") for n in range(20)]
    with web.streams.open([job.id for job in jobs], retry_after=1) as stream:
        for job in stream._open.values():  # long looked for in vain
            job.looked, job.due = clock(), clock() + streams.LOOK_MOST
        web.cloud.done(done(jobs[0]))
        soon = [job.number for job in stream._open.values() if job.due <= clock() + streams.LOOK]
        assert soon == list(range(1, 1 + streams.NEXT))
