"""The same bytes are classified once, and every request has a job of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from irs import errors
from irs.domain import reuse as rules
from irs.domain.jobs import Job, ModelInfo, Result, Status, stamp
from irs.testing import MemoryObjects
from irs.web import reuse as reuse_module
from irs.web import waiting
from irs.web.reuse import Reuse
from tests.unit.web.webkit import Service, done, failed, picture

A, B = picture(), picture(size=(31, 30))


class Worker:
    """Answers for the bytes that it is given, under ``version``."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.version = "sha256:0123456789ab"
        self.jobs: list[Job] = []

    def result(self, job: Job, like: Result | None = None) -> Result:
        self.jobs.append(job)
        digest = hashlib.sha256(self.service.objects.stored[job.key].data).hexdigest()
        made = done(job)
        assert made.model is not None
        assert made.input is not None
        model = dataclasses.replace(made.model, version=self.version)
        times = {"finished": stamp(datetime.now(UTC))}
        if like is not None:
            return dataclasses.replace(like, model=model, times=times)
        return dataclasses.replace(made, model=model, times=times,
                                   input=dataclasses.replace(made.input, sha256=digest))


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    service = make(reuse="process")
    service.work = Worker(service).result
    return service


def cloud(service: Service) -> Any:
    return service.app.extensions["irs"].cloud


def outcomes(service: Service) -> dict[str, float]:
    text = service.client.get("/metrics").text
    return {name: float(text.split(f'irs_reuse_total{{outcome="{name}"}} ')[1].split("\n")[0])
            for name in ("hit", "miss", "coalesced")}


def post(service: Service, name: str, data: bytes = A, **headers: str) -> Any:
    return service.post((name, data), headers={"Accept": "application/json", **headers})


def result(answer: Any) -> Any:
    (found,) = answer.json["results"]
    return found


@contextmanager
def followers(service: Service, count: int, **headers: str) -> Any:
    """One client leads and ``count`` follow; nobody has an answer so far. Yields their futures."""
    service.work = lambda job: None
    with ThreadPoolExecutor(count + 1) as pool:
        lead: Future[Any] = pool.submit(post, service, "lead.jpg")
        assert service.arrived.wait(5)
        follow = [pool.submit(post, service, f"f{n}.jpg", A, **headers) for n in range(count)]
        wait_for(lambda: sum(map(len, cloud(service).reuse._followers.values())) == count)
        yield lead, follow


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


# -- what was answered before -----------------------------------------------------------------
def test_the_second_is_answered_without_a_task_and_is_a_job_of_its_own(service: Service) -> None:
    first, second = result(post(service, "one.jpg")), result(post(service, "two.png"))
    assert len(service.sent) == 1
    assert (second["result"], second["image"], second["reused"]) == ("(two, tench)", "two.png", True)
    assert second["id"] != first["id"]
    assert first["id"] not in str(second)
    assert (second["attempts"], second["instance"]) == (0, "")
    assert second["predictions"] == first["predictions"]
    assert "reused" not in first
    # Its upload and its result are stored; whoever asks for it has the same.
    assert f"{second['id']}/two.png" in service.objects.stored
    assert service.results.stored[second["id"]].as_dict() == second
    assert service.client.get(f"/v1/images/{second['id']}").json == second
    assert outcomes(service) == {"hit": 1, "miss": 1, "coalesced": 0}


def test_other_bytes_are_another_image(service: Service) -> None:
    post(service, "a.jpg")
    post(service, "a.jpg", B)
    assert len(service.sent) == 2


def test_v1_reuses_too(service: Service) -> None:
    post(service, "a.jpg")
    answer = service.client.post("/v1/images?name=b.jpg", data=A, content_type="image/jpeg")
    assert (answer.status_code, answer.json["image"], answer.json["reused"]) == (200, "b.jpg", True)


def test_off_is_off(make: Callable[..., Service]) -> None:
    service = make(reuse="off")
    service.work = Worker(service).result
    post(service, "a.jpg")
    assert "reused" not in result(post(service, "b.jpg"))
    assert len(service.sent) == 2


def test_whoever_does_not_say_whose_request_it_is_reuses_nothing(service: Service) -> None:
    class File:
        name, id, callback_url = "x.jpg", None, None

        def read(self) -> bytes:
            return A

        def release(self) -> None:
            pass

    post(service, "a.jpg")
    service.app.extensions["irs"].dispatcher.classify([File()], 0, lambda: False)
    assert len(service.sent) == 2


@pytest.mark.parametrize(("code", "reused"), [
    ("undecodable", True), ("too_large", True), ("gave_up", False), ("dead_letter", False),
    ("input_missing", False)])
def test_a_fault_of_the_bytes_is_reused_and_one_of_the_service_is_not(
        service: Service, code: str, reused: bool) -> None:
    worker = Worker(service)
    service.work = lambda job: worker.result(job, failed(job, code))
    first, second = post(service, "a.jpg"), post(service, "b.jpg")
    assert first.status_code == second.status_code
    assert result(second)["error"] == result(first)["error"]
    assert result(second).get("reused", False) is reused
    assert len(service.sent) == (1 if reused else 2)


def test_a_new_model_is_asked_again(service: Service) -> None:
    worker = Worker(service)
    service.work = worker.result
    post(service, "a.jpg")
    worker.version = "sha256:ba9876543210"
    post(service, "b.jpg", B)  # tells what the fleet runs now
    again = result(post(service, "a.jpg"))
    assert again["model"]["version"] == worker.version
    assert len(service.sent) == 3


def test_a_model_on_trial_neither_answers_again_nor_makes_the_others_forget(service: Service) -> None:
    worker = Worker(service)
    service.work = worker.result
    post(service, "a.jpg")
    service.work = lambda job: dataclasses.replace(worker.result(job), model=ModelInfo(
        name="resnet18", version="sha256:0", engine="onnxruntime", canary=True))
    assert result(post(service, "b.jpg", B))["model"]["canary"] is True
    post(service, "c.jpg", B)
    assert len(service.sent) == 3
    assert result(post(service, "a.jpg"))["reused"] is True
    assert len(service.sent) == 3


def test_a_result_that_waited_to_be_heard_teaches_nothing(service: Service) -> None:
    worker = Worker(service)
    service.work = lambda job: dataclasses.replace(
        worker.result(job), times={"finished": "2026-01-01T00:00:00.000Z"})
    post(service, "a.jpg")
    post(service, "b.jpg")
    assert len(service.sent) == 2


def test_a_result_of_other_bytes_is_not_filed(service: Service) -> None:
    service.work = lambda job: dataclasses.replace(done(job), times={"finished": stamp(datetime.now(UTC))})
    post(service, "a.jpg")
    post(service, "b.jpg")
    assert len(service.sent) == 2


def test_an_answer_that_cannot_be_stored_is_classified_after_all(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    post(service, "a.jpg")
    write, failing = service.results.write, [True]

    def fails_once(result: Result) -> Result:
        if failing:
            raise errors.Unreachable("timeout" if failing.pop() else "")
        return write(result)

    monkeypatch.setattr(service.results, "write", fails_once)
    answer = result(post(service, "b.jpg"))
    assert (answer["result"], "reused" in answer) == ("(b, tench)", False)
    assert len(service.sent) == 2


def test_an_upload_that_cannot_be_stored_is_503_and_stands_in_nobodys_way(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        def fails(*_args: Any, **_more: Any) -> str:
            raise errors.Unreachable("timeout")
        patch.setattr(service.objects, "put", fails)
        assert post(service, "a.jpg").status_code == 503
    assert result(post(service, "b.jpg"))["label"] == "tench"


def test_reused_answers_say_nothing_about_the_pace(service: Service) -> None:
    for n in range(3):
        post(service, f"{n}.jpg")
    assert service.app.extensions["irs"].estimates.pace() is None  # one result in a minute


# -- duplicates at the same moment -------------------------------------------------------------
def test_many_at_once_are_classified_once_and_each_has_its_own(service: Service) -> None:
    with followers(service, 20) as (lead, follow):
        assert len(service.objects.stored) == 1, "a follower is not stored before it is answered"
        (job,) = service.sent
        service.finish(Worker(service).result(job))
    answers = [result(item.result()) for item in (lead, *follow)]
    assert [answer["result"] for answer in answers] == [
        "(lead, tench)", *(f"(f{n}, tench)" for n in range(20))]
    assert len({answer["id"] for answer in answers}) == 21
    assert len(service.sent) == 1
    assert len(service.objects.stored) == 21
    assert service.results.stored.keys() == {key.split("/")[0] for key in service.objects.stored}
    assert outcomes(service) == {"hit": 0, "miss": 1, "coalesced": 20}
    assert cloud(service).reuse._followers == {}


def test_duplicates_in_one_request_are_classified_once(service: Service) -> None:
    release, held = threading.Event(), service.work

    def work(job: Job) -> Result | None:
        assert release.wait(5)
        return held(job)

    service.work = work
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.post, *[(f"{n}.jpg", A) for n in range(5)])
        wait_for(lambda: sum(map(len, cloud(service).reuse._followers.values())) == 4)
        release.set()
    assert answer.result().text == "".join(f"({n}, tench)\n" for n in range(5))
    assert len(service.sent) == 1


@pytest.mark.parametrize("end", ["gave_up", "cancelled"])
def test_followers_never_fail_with_whom_they_follow(service: Service, end: str) -> None:
    with followers(service, 3) as (lead, follow):
        (job,) = service.sent
        worker = Worker(service)
        service.work = worker.result
        bad = failed(job, "gave_up") if end == "gave_up" else Result(
            id=job.id, image=job.image, status=Status.CANCELLED)
        service.finish(bad)
    assert result(lead.result())["status"] == ("failed" if end == "gave_up" else "cancelled")
    assert [result(item.result())["result"] for item in follow] == [f"(f{n}, tench)" for n in range(3)]


def test_followers_of_a_job_that_could_not_be_sent_are_sent_themselves(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sending, fail = threading.Event(), threading.Event()
    worker, first = Worker(service), [True]

    def work(job: Job) -> Result:
        if first:
            first.clear()
            sending.set()
            assert fail.wait(5)
            raise errors.Unreachable("timeout")
        return worker.result(job)

    service.work = work
    with ThreadPoolExecutor(2) as pool:
        lead = pool.submit(post, service, "lead.jpg")
        assert sending.wait(5)
        follow = pool.submit(post, service, "f.jpg")
        wait_for(lambda: cloud(service).reuse._followers)
        fail.set()
    assert lead.result().status_code == 503
    assert result(follow.result())["result"] == "(f, tench)"


def test_a_follower_whose_wait_ends_is_sent_before_it_is_told_202(service: Service) -> None:
    with followers(service, 2, Prefer="wait=1") as (lead, follow):
        waited = [item.result() for item in follow]
        assert [answer.status_code for answer in waited] == [202, 202]
        told = {result(answer)["id"] for answer in waited}
        assert told <= {job.id for job in service.sent}
        assert told <= {key.split("/")[0] for key in service.objects.stored}
        service.finish(Worker(service).result(service.sent[0]))
    assert result(lead.result())["label"] == "tench"


def test_who_does_not_wait_follows_nobody(service: Service) -> None:
    service.work = lambda job: None
    for name in "ab":
        assert post(service, f"{name}.jpg", Prefer="wait=0").status_code == 202
    assert len(service.sent) == 2


def test_what_nobody_waited_for_is_learnt_from_its_announcement(service: Service) -> None:
    service.work = lambda job: None
    post(service, "a.jpg", Prefer="wait=0")
    service.finish(Worker(service).result(service.sent[0]))
    assert result(post(service, "b.jpg"))["reused"] is True


def test_a_lost_announcement_is_made_up_for_by_a_look(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK", 0.1)
    service.announcing = False
    service.work = lambda job: None
    post(service, "lead.jpg", Prefer="wait=0")
    service.results.write(Worker(service).result(service.sent[0]))
    answer = result(post(service, "f.jpg"))  # follows, and looks for itself
    assert (answer["result"], answer["reused"]) == ("(f, tench)", True)


def test_a_stopping_process_sends_what_follows_at_once(service: Service) -> None:
    with followers(service, 2) as (_, follow):
        service.app.extensions["irs"].drain.begin(0.5)
        told = {result(item.result())["id"] for item in follow}
        assert told <= {job.id for job in service.sent}


def test_a_job_that_takes_long_is_followed_no_more(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse_module, "LEADS", 0.0)
    service.work = lambda job: None
    post(service, "a.jpg", Prefer="wait=0")
    service.work = Worker(service).result
    assert "reused" not in result(post(service, "b.jpg"))


def test_what_is_remembered_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse_module, "LIMIT", 3)
    service.work = lambda job: None
    for n in range(5):
        post(service, f"{n}.jpg", picture(size=(10 + n, 10)), Prefer="wait=0")
    assert len(cloud(service).reuse._asked) == len(cloud(service).reuse._leads) == 3


# -- whose answers ----------------------------------------------------------------------------
def test_keys_have_answers_of_their_own(make: Callable[..., Service]) -> None:
    secrets = {name: f"{name}-" + "s" * 16 for name in ("mine", "theirs")}
    service = make(reuse="process", api_keys=",".join(f"{n}:{s}" for n, s in secrets.items()))
    service.work = Worker(service).result

    def ask(name: str) -> Any:
        return result(post(service, "a.jpg", **{"X-API-Key": secrets[name]}))

    assert "reused" not in ask("theirs")
    assert "reused" not in ask("mine")
    assert ask("theirs")["reused"] is True
    assert len(service.sent) == 2


# -- shared answers ---------------------------------------------------------------------------
class Process:
    """One web process's reuse over an index that others have too; writes at once."""

    def __init__(self, index: Any) -> None:
        self.reuse = Reuse("shared", lambda: index, lambda act, *args: act(*args))

    def ask(self, job: Job, *, follow: bool = False, client: str = "") -> reuse_module.Claim:
        return self.reuse.claim(job, A, client, follow=follow)

    def classify(self, job: Job, **more: Any) -> None:
        self.ask(job, **more)
        self.reuse.heard(worked(job))


def job(number: int) -> Job:
    job_id = f"00000000-0000-4000-8000-{number:012}"
    return Job(id=job_id, image=f"{number}.jpg", key=f"{job_id}/{number}.jpg", received=datetime.now(UTC))


def worked(job: Job, sha256: str = hashlib.sha256(A).hexdigest()) -> Result:
    made = done(job)
    assert made.input is not None
    return dataclasses.replace(made, times={"finished": stamp(datetime.now(UTC))},
                               input=dataclasses.replace(made.input, sha256=sha256))


def test_another_process_knows_what_one_has_heard() -> None:
    index = MemoryObjects()
    Process(index).classify(job(1))
    other = Process(index)
    answer = other.ask(job(2)).answer
    assert answer is not None
    assert (answer.id, answer.image, answer.label) == (job(2).id, "2.jpg", "tench")
    assert list(index.stored) == [rules.index_key(hashlib.sha256(A).hexdigest())]


def test_shared_answers_are_each_clients_own() -> None:
    index = MemoryObjects()
    Process(index).classify(job(1), client="mine")
    assert Process(index).ask(job(2), client="theirs").answer is None
    assert Process(index).ask(job(2)).answer is None
    assert Process(index).ask(job(2), client="mine").answer is not None


def test_followers_of_a_shared_answer_have_it_too() -> None:
    index = MemoryObjects()
    Process(index).classify(job(1))

    class Slow(MemoryObjects):
        def get(self, key: str, **more: Any) -> bytes:
            claims.append(other.ask(job(3), follow=True))
            return index.get(key, **more)

    claims: list[reuse_module.Claim] = []
    other = Process(Slow())
    assert other.ask(job(2)).answer is not None
    (claim,) = claims
    assert claim.lead is not None
    assert claim.lead.result is not None
    assert other.reuse.settle(job(3), A, claim.lead.result).answer is not None


def test_an_index_that_fails_costs_only_the_reuse(events: list[Any]) -> None:
    class Broken:
        def get(self, key: str, **_: Any) -> bytes:
            raise errors.Unreachable("timeout")

        def put(self, key: str, data: bytes, **_: Any) -> str:
            raise errors.AccessDenied("no")

    process = Process(Broken())
    process.classify(job(1))
    assert process.ask(job(2)).answer is not None  # its own memory
    assert {e["event"] for e in events} >= {"reuse.index_unread", "reuse.index_unwritten"}


def test_a_foreign_object_in_the_index_is_no_answer() -> None:
    index = MemoryObjects()
    index.put(rules.index_key(hashlib.sha256(A).hexdigest()), b"x" * 200_000)
    assert Process(index).ask(job(1)).answer is None
    index.put(rules.index_key(hashlib.sha256(A).hexdigest()), b"hello")
    assert Process(index).ask(job(2)).answer is None


def test_writes_that_pile_up_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse_module, "WRITES", 2)
    held: list[Any] = []
    index = MemoryObjects()
    process = Reuse("shared", lambda: index, lambda act, *args: held.append((act, args)))
    for number in range(4):
        data = bytes([number])
        process.claim(job(number), data, "", follow=False)
        process.heard(worked(job(number), hashlib.sha256(data).hexdigest()))
    assert len(held) == 2
    for act, args in held:
        act(*args)
    assert len(index.stored) == 2
    process.claim(job(9), b"9", "", follow=False)
    process.heard(worked(job(9), hashlib.sha256(b"9").hexdigest()))
    assert len(held) == 3, "what is written makes room"
