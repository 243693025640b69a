"""in = out, and every way in which it can fail to be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from irs import errors
from irs.audit import account, listing, uploads
from irs.audit.account import Books
from irs.audit.balance import Account
from irs.aws.objects import Entry
from irs.bulk.store import Batches
from irs.domain import bulk, keys
from irs.domain.bulk import FILES, Batch
from irs.domain.jobs import Job, Result, Status
from irs.domain.pacing import Backlog
from irs.results.store import ResultStore
from tests.unit.audit.auditkit import FOREIGN, World, done, failed, job, message


class Service(World):
    """With results as objects, as the account reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.results = ResultStore(None, objects=self.outputs)  # type: ignore[assignment,arg-type]
        self.resent: list[str] = []

    def books(self) -> Books:
        def send(of: Job, *, reply_to: str) -> None:
            self.resent.append(of.id)
            self.send(of)

        return Books(inputs=self.inputs, outputs=self.outputs, results=self.results, work=self.work,
                     dead=self.dead, send=lambda: send, announce=self.announce, receives=5,
                     batches=Batches(self.outputs, "irs"), most=100)

    def audit(self, **options: Any) -> Account:
        return account.audit(self.books(), now=self.clock.now(),
                             wait=options.pop("wait", lambda seconds: None), **options)

    def old(self, count: int = 1) -> list[Job]:
        """Jobs uploaded a minute ago."""
        jobs = [self.upload(job()) for _ in range(count)]
        self.clock.advance(60)
        return jobs


@pytest.fixture
def service() -> Service:
    return Service()


def test_nothing_is_balanced(service: Service) -> None:
    assert service.audit() == Account()
    assert service.audit().balanced


def test_every_outcome_is_counted(service: Service) -> None:
    a, b, c, d = service.old(4)
    service.results.write(done(a))
    service.results.write(failed(b))
    service.results.write(Result(id=c.id, image=c.image, status=Status.CANCELLED))
    service.work.send(message(d))
    found = service.audit()
    assert (found.uploads, found.done, found.failed, found.cancelled, found.queued, found.lost) == (
        4, 1, 1, 1, 1, 0)
    assert found.balanced
    assert found.troubles() == {}


def test_an_upload_without_a_result_and_an_empty_queue_is_lost_and_named(service: Service) -> None:
    jobs = service.old(3)
    service.results.write(done(jobs[0]))
    found = service.audit()
    assert not found.balanced
    assert found.lost == 2
    assert sorted(found.missing) == sorted(j.id for j in jobs[1:])
    assert list(found.troubles()) == ["lost"]


def test_more_than_the_queue_can_hold_are_lost_some_of_those_listed(service: Service) -> None:
    jobs = service.old(5)
    for each in jobs[:2]:
        service.work.send(message(each))
    service.work.receive(1)
    found = service.audit()
    assert (found.queued, found.lost, found.visible, found.in_flight) == (2, 3, 1, 1)
    assert list(found.troubles()) == ["3 of these are lost"]
    assert len(found.missing) == 5


def test_counts_that_are_late_get_a_second_look(service: Service) -> None:
    (mine,) = service.old()
    assert service.audit(wait=lambda seconds: service.work.send(message(mine))).balanced


def test_an_upload_of_a_moment_ago_may_yet_be_sent(service: Service) -> None:
    service.upload(job())
    service.clock.advance(account.YOUNG - 1)
    found = service.audit()
    assert (found.young, found.balanced) == (1, True)
    service.clock.advance(2)
    assert service.audit().lost == 1


def test_what_is_finished_while_the_listing_runs_is_done(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine,) = service.old()
    real = service.work.depth

    def depth() -> Any:
        service.results.write(done(mine))
        return real()

    monkeypatch.setattr(service.work, "depth", depth)
    found = service.audit()
    assert (found.done, found.lost) == (1, 0)


def test_a_result_without_an_upload_is_named(service: Service) -> None:
    service.results.write(done(mine := job()))
    found = service.audit()
    assert found.orphans == [mine.id]
    assert not found.balanced


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": "x"}', b"\0" * 100])
def test_an_object_that_is_no_result_counts_as_absent(service: Service, content: bytes) -> None:
    (mine,) = service.old()
    service.outputs.put(keys.output_key(mine.id), content)
    found = service.audit()
    assert (found.invalid, found.missing, found.lost) == ([mine.id], [mine.id], 1)


def test_another_jobs_result_in_its_place_counts_as_absent(service: Service) -> None:
    mine, other = service.old(2)
    service.results.write(done(other))
    service.outputs.put(keys.output_key(mine.id), done(other).to_json())
    assert service.audit().missing == [mine.id]


def test_dead_letters_with_and_without_a_result(service: Service) -> None:
    a, b = service.old(2)
    service.results.write(failed(a))
    for each in (message(a), message(b), FOREIGN[0]):
        service.dead.send(each)
    found = service.audit()
    assert (found.letters, found.foreign_letters, found.unnamed, found.missing) == (3, 1, [b.id], [])
    assert not found.balanced
    assert service.dead.depth().visible == 3


def test_since_leaves_out_what_came_before(service: Service) -> None:
    service.old(2)
    service.results.write(done(job()))
    service.clock.advance(3600)
    since = service.clock.now() - timedelta(minutes=30)
    (mine,) = service.old()
    service.results.write(done(mine))
    found = service.audit(since=since)
    assert (found.uploads, found.done, found.orphans, found.balanced) == (1, 1, [], True)


def test_objects_that_are_no_jobs_are_counted_beside(service: Service) -> None:
    service.inputs.put("readme.txt", b"")
    service.inputs.put(f"{keys.new_id()}.jpg", b"")
    service.outputs.put("index.html", b"")
    service.outputs.put(f"{keys.new_id()}.json.bak", b"")
    service.outputs.put("scaler/irs.json", b"")
    service.outputs.put("fleet/irs/i-1.json", b"")
    found = service.audit()
    assert (found.foreign_objects, found.uploads, found.balanced) == (4, 0, True)


def test_what_clients_have_put_there_themselves_is_no_upload_yet(service: Service) -> None:
    announced = keys.new_id()
    service.inputs.put(keys.ticket_key(announced), b"{}")
    service.inputs.put(keys.staged_key(announced, "cat.png"), b"")
    (mine,) = service.old()
    service.results.write(done(mine))
    found = service.audit()
    assert (found.foreign_objects, found.uploads, found.balanced) == (0, 1, True)
    assert uploads.find(service.inputs, announced) is None


def test_several_objects_of_one_upload_are_one(service: Service) -> None:
    (mine,) = service.old()
    service.inputs.put(f"{mine.id}/zzz.png", b"")
    service.results.write(done(mine))
    assert service.audit().uploads == 1


def test_repair_sends_what_is_lost_and_names_dead_letters(service: Service) -> None:
    lost, buried, fine = service.old(3)
    service.results.write(done(fine))
    service.dead.send(message(buried))
    found = service.audit()
    assert account.repair(service.books(), found) == 2
    assert service.resent == [lost.id]
    assert service.results.read(buried.id).error.code == "dead_letter"
    again = service.audit()
    assert (again.balanced, again.queued, again.failed) == (True, 1, 1)


def test_repair_of_a_balanced_account_sends_nothing(service: Service) -> None:
    (mine,) = service.old()
    service.work.send(message(mine))
    assert account.repair(service.books(), service.audit()) == 0
    assert service.resent == []


def test_the_json_has_every_id_and_the_verdict(service: Service) -> None:
    (mine,) = service.old()
    told = service.audit().as_dict()
    assert (told["balanced"], told["lost"], told["missing"]) == (False, 1, [mine.id])


def test_a_listing_out_of_order_is_refused(service: Service) -> None:
    """Walked side by side it would make uploads and results miss each other."""
    jobs = sorted(service.old(3), key=lambda each: each.id, reverse=True)

    class Shuffled:
        def entries(self, prefix: str = "") -> Iterator[Entry]:
            for each in jobs:
                yield Entry(key=each.key, modified=service.clock.now())

    books = service.books()
    object.__setattr__(books, "inputs", Shuffled())
    with pytest.raises(errors.Permanent, match="order"):
        account.audit(books, now=service.clock.now())


def test_reads_run_ahead_no_further_than_the_window() -> None:
    """Constant memory however many results there are."""
    asked, most, lock = 0, 0, threading.Lock()
    taken = 0

    class Results:
        def read(self, job_id: str) -> Any:
            return done(job())

    def ids() -> Iterator[str]:
        nonlocal asked, most
        for number in range(3000):
            with lock:
                asked += 1
                most = max(most, asked - taken)
            yield str(number)

    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        for _ in account._read(Results(), ids(), pool):
            taken += 1
    assert taken == 3000
    assert most <= account.WINDOW


def test_merging_two_listings() -> None:
    at = World().clock.now()
    left, right = [(name, at) for name in "abdf"], [(name, at) for name in "bcfg"]
    merged = [(i, bool(a), bool(b)) for i, a, b in listing.merged(iter(left), iter(right))]
    assert merged == [("a", True, False), ("b", True, True), ("c", False, True), ("d", True, False),
                      ("f", True, True), ("g", False, True)]


# -- batches ---------------------------------------------------------------------------------
def batch(service: Service, count: int, *, recorded: bool = True) -> list[Job]:
    """The members of a batch that runs, none of which has been sent."""
    batch_id, batches = keys.new_id(), Batches(service.outputs, "irs")
    batches.tell(batch_id, Backlog(at=service.clock.now()))
    if recorded:
        batches.create(Batch(id=batch_id, created=service.clock.now(), source=FILES, total=count))
    jobs = []
    for number in range(count):
        job_id = bulk.member_id(batch_id, number)
        jobs.append(service.upload(Job(id=job_id, image="a.png", key=keys.input_key(job_id, "a.png"),
                                       received=service.clock.now())))
    service.clock.advance(60)
    return jobs


@pytest.mark.parametrize("recorded", [True, False], ids=["running", "being made"])
def test_what_a_batch_has_yet_to_send_is_not_lost(service: Service, recorded: bool) -> None:
    jobs = batch(service, 5, recorded=recorded)
    service.results.write(done(jobs[0]))
    (lost,) = service.old()
    found = service.audit()
    assert (found.uploads, found.done, found.batched, found.lost, found.missing) == (6, 1, 4, 1, [lost.id])
    assert account.repair(service.books(), found) == 1
    assert service.resent == [lost.id]


def test_a_batch_alone_is_balanced_and_one_that_has_ended_looks_after_nothing(service: Service) -> None:
    jobs = batch(service, 5)
    assert service.audit().balanced
    for batch_id, _ in list(Batches(service.outputs, "irs").running()):
        Batches(service.outputs, "irs").ended(batch_id)
    found = service.audit()
    assert (found.batched, sorted(found.missing)) == (0, sorted(job.id for job in jobs))
