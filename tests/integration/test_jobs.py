"""Repeated, cancelled and waiting jobs, with two real web processes and a worker that comes late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from irs.audit import account
from irs.audit.account import Books
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import claims, journal
from irs.domain.claims import Claim
from irs.domain.jobs import Status
from irs.results.store import ResultStore
from irs.scaler.loop import build
from irs.testing.proxy import Hang, LoseReply, Proxy, Rule
from tests.integration.conftest import Answer, Service, Web, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def service(cloud: Any, make_service: Callable[..., Service]) -> Iterator[Service]:
    service = make_service(cloud)
    yield service
    fleet = Fleet(service.settings)
    fleet.terminate([instance.id for instance in fleet.describe()])


@pytest.fixture(scope="module")
def webs(service: Service) -> tuple[Web, Web]:
    return service.web(), service.web()


def submit(web: Web, image: bytes, **headers: str) -> Answer:
    return web.call("POST", "/v1/images?name=a.jpg", image, {
        "Content-Type": "image/jpeg", **{k.replace("_", "-"): v for k, v in headers.items()}})


def waiting(service: Service) -> int:
    return Queue(service.settings, service.settings.input_queue).depth().visible


def test_a_queued_job_knows_of_the_instance_that_boots(
        service: Service, webs: tuple[Web, Web], photos: dict[str, bytes]) -> None:
    assert "estimate_seconds" not in submit(webs[0], photos["coffee"]).json, "no scaler has written so far"
    assert build(service.settings).tick()
    assert Fleet(service.settings).describe(), "it launched what nobody runs here"
    job = submit(webs[0], photos["coffee"]).json
    # A look at the fleet serves a process for some seconds, also one that found no scaler.
    seconds = until(lambda: webs[1].call("GET", job["location"]).json.get("estimate_seconds"), 20)
    told = journal.Journal.from_json(Objects(service.settings, service.settings.output_bucket).get(
        journal.key(service.settings.cluster))).decision
    assert told["ready"] == 0
    assert max(told["booting"]) - 20 < seconds < max(told["booting"]) + 10


def test_a_repeat_at_any_process_is_the_first_job(service: Service, webs: tuple[Web, Web],
                                                  photos: dict[str, bytes]) -> None:
    inputs = Objects(service.settings, service.settings.input_bucket)
    before = set(inputs.keys())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(
            lambda n: submit(webs[n % 2], photos["coffee"], Idempotency_Key="at-once"), range(8)))
    assert {answer.status for answer in answers} == {202}
    (job_id,) = {answer.json["id"] for answer in answers}
    sent = waiting(service)
    assert {submit(web, photos["coffee"], Idempotency_Key="at-once").json["id"] for web in webs} == {job_id}
    assert waiting(service) == sent, "what is known to be under way is not sent again"
    other = submit(webs[1], photos["rocket"], Idempotency_Key="at-once")
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    assert set(inputs.keys()) - before == {f"{job_id}/a.jpg"}


def test_a_process_that_is_killed_between_claim_and_send_leaves_the_rest_to_the_repeat(
        service: Service, webs: tuple[Web, Web], photos: dict[str, bytes], tmp_path: Path) -> None:
    settings = service.settings
    records = Objects(settings, settings.output_bucket)
    place = claims.key("", "killed")
    with Proxy(str(settings.aws_endpoint_url)) as proxy, ExitStack() as stack:
        doomed = Service(settings.model_copy(update={"aws_endpoint_url": proxy.endpoint}),
                         tmp_path, stack).web()
        proxy.add(Rule(service="s3", operations={"PutObject"}, target="/requests/", action=LoseReply(),
                       count=1))
        assert submit(doomed, photos["coffee"], Idempotency_Key="lost").status == 503
        made = Claim.from_json(records.get(claims.key("", "lost")))
        assert submit(doomed, photos["coffee"], Idempotency_Key="lost").json["id"] == made.id
        proxy.add(Rule(service="s3", operations={"PutObject"}, target=settings.input_bucket, action=Hang()))
        with ThreadPoolExecutor(1) as pool:
            cut_off = pool.submit(submit, doomed, photos["coffee"], Idempotency_Key="killed")
            until(lambda: records.exists(place), what="the claim")
            doomed.popen.kill()
            assert isinstance(cut_off.exception(20), OSError)
    claimed = Claim.from_json(records.get(place))
    sent = waiting(service)
    answers = [submit(web, photos["coffee"], Idempotency_Key="killed") for web in webs]
    assert {(answer.status, answer.json["id"]) for answer in answers} == {(202, claimed.id)}
    assert waiting(service) == sent + 1


def test_who_waits_at_one_process_is_told_that_another_cancelled(
        service: Service, webs: tuple[Web, Web], photos: dict[str, bytes]) -> None:
    first, second = webs
    inputs = Objects(service.settings, service.settings.input_bucket)
    before = set(inputs.keys())
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(first.upload, ("b.jpg", photos["rocket"]))
        (key,) = until(lambda: set(inputs.keys()) - before)
        job_id = key.split("/")[0]
        answer = second.call("DELETE", f"/v1/images/{job_id}")
        assert (answer.status, answer.json["status"]) == (200, "cancelled")
        assert (told.result(20).status, told.result().text) == (410, "(b, error: cancelled)\n")
    assert not first.said("web.announcement_missed"), "it was told, and need not have looked"
    assert second.call("DELETE", f"/v1/images/{job_id}").json == answer.json
    assert set(inputs.keys()) == before


def test_the_worker_classifies_what_was_repeated_once_and_what_was_cancelled_never(
        service: Service, webs: tuple[Web, Web], photos: dict[str, bytes]) -> None:
    results = ResultStore(service.settings)
    gone = submit(webs[0], photos["coffee"]).json["id"]
    webs[1].call("DELETE", f"/v1/images/{gone}")
    worker = service.worker()
    repeated = submit(webs[0], photos["coffee"], Idempotency_Key="at-once", Prefer="wait=30")
    assert (repeated.status, repeated.json["label"]) == (200, "espresso")
    queue = Queue(service.settings, service.settings.input_queue)
    until(lambda: (depth := queue.depth()).visible + depth.in_flight == 0, what="all messages gone")
    assert any(gone in line and '"cancelled"' in line for line in worker.output.splitlines())
    assert results.read(gone).status is Status.CANCELLED
    books = account.audit(Books.of(service.settings))
    assert books.balanced
    assert (books.cancelled, books.failed, books.lost) == (2, 0, 0)
    assert books.done == books.uploads - 2
    finished = webs[0].call("DELETE", f"/v1/images/{repeated.json['id']}")
    assert (finished.status, finished.json["status"]) == (200, "done")
