"""Nothing is lost without a trace: real web and worker processes, the real emulator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from irs.audit.account import Books, audit
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import keys
from irs.results.store import ResultStore
from tests.integration.conftest import ROOT, Service, environment, until

pytestmark = pytest.mark.integration


def _run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "irs", *arguments], env=environment(service.settings),
                          cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def irs(service: Service, *arguments: str, code: int = 0) -> str:
    """The command's stdout."""
    done = _run(service, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def account(service: Service, *arguments: str, code: int = 0) -> Any:
    return json.loads(irs(service, "audit", "--json", *arguments, code=code))


@pytest.fixture
def service(cloud: Any, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud, requeue_after=3, visibility_timeout=10, max_batch=2)


#: Two uploads that nobody has sent, one of them with an object in its result's place.
Forgotten = tuple[Service, str, str]


@pytest.fixture(scope="module", autouse=True)
def forgotten(cloud: Any, make_service: Callable[..., Service], photos: dict[str, bytes]) -> Forgotten:
    """Made first and looked at last: they must be ten seconds old to be missed."""
    service = make_service(cloud, requeue_after=3, visibility_timeout=10, max_batch=2)
    inputs = Objects(service.settings, service.settings.input_bucket)
    outputs = Objects(service.settings, service.settings.output_bucket)
    lost, broken = keys.new_id(), keys.new_id()
    for job_id in (lost, broken):
        inputs.put(keys.input_key(job_id, "Käse.jpg"), photos["coffee"], metadata={"name": "Käse.jpg"})
    outputs.put(keys.output_key(broken), b'{"id":')
    outputs.put("scaler/x.json", b"{}")
    return service, lost, broken


def submit(web: Any, photo: bytes) -> str:
    answer = web.call("POST", "/v1/images", photo, {"Content-Type": "image/jpeg"})
    assert answer.status == 202
    return str(answer.json["id"])


def status(web: Any, job_id: str) -> Any:
    return web.call("GET", f"/v1/images/{job_id}").json


def test_a_purged_queue_loses_no_job(service: Service, photos: dict[str, bytes]) -> None:
    web = service.web(script="quick_web.py")
    ids = [submit(web, photos["rocket"]) for _ in range(3)]
    queue = Queue(service.settings, service.settings.input_queue)
    assert queue.purge() == 3
    until(lambda: queue.depth().visible == 3, 40, "sent again")
    service.worker()
    until(lambda: all(status(web, job_id)["status"] == "done" for job_id in ids), 30, "done")
    found = account(service)
    assert (found["balanced"], found["uploads"], found["done"]) == (True, 3, 3)
    assert "irs_requeued_jobs_total 3.0" in web.call("GET", "/metrics").text


def test_a_web_process_adopts_the_jobs_of_one_that_was_killed(
        service: Service, photos: dict[str, bytes]) -> None:
    first = service.web(script="quick_web.py")
    job_id = submit(first, photos["rocket"])
    first.popen.send_signal(signal.SIGKILL)
    first.popen.wait(10)
    queue = Queue(service.settings, service.settings.input_queue)
    queue.purge()
    second = service.web(script="quick_web.py")
    assert status(second, job_id)["status"] == "queued"
    until(lambda: queue.depth().visible == 1, 40, "sent again")
    service.worker()
    until(lambda: status(second, job_id)["status"] == "done", 30, "done")


def test_a_deleted_queue_is_504_until_it_is_there_again(
        service: Service, photos: dict[str, bytes]) -> None:
    from irs.aws import provision

    web = service.web(script="quick_web.py")
    job_id = submit(web, photos["rocket"])
    Queue(service.settings, service.settings.input_queue).drop()
    answer = until(lambda: (now := web.call("GET", f"/v1/images/{job_id}")).status == 504 and now,
                   40, "lost")
    assert answer.json["id"] == job_id
    assert int(answer.headers["Retry-After"]) > 0
    provision.ensure(service.settings)
    service.worker()
    until(lambda: status(web, job_id)["status"] == "done", 60, "done after the queue is back")


def test_dead_letters_are_named_audited_and_sent_back(
        service: Service, photos: dict[str, bytes]) -> None:
    """A job whose worker dies each time, here by a receive that nobody answers."""
    settings = service.settings
    web = service.web(script="quick_web.py")
    job_id = submit(web, photos["rocket"])
    work, dead = Queue(settings, settings.input_queue), Queue(settings, settings.dead_letter_queue)

    def spent() -> bool:
        work.receive(wait=0, visibility=0)
        return dead.depth().visible == 1

    until(spent, 30, "a dead letter")
    dead.send("hello")
    waiting = web.call("GET", f"/v1/images/{job_id}", headers={"Prefer": "wait=60"})
    assert waiting.json["error"]["code"] == "dead_letter"
    found = account(service)
    assert (found["failed"], found["letters"], found["foreign_letters"], found["unnamed"]) == (1, 2, 1, [])
    assert irs(service, "redrive", job_id) == f"{job_id}  sent\n"
    assert ResultStore(settings).read(job_id) is None
    service.worker()
    until(lambda: status(web, job_id)["status"] == "done", 30, "done after the redrive")
    found = account(service)
    assert (found["balanced"], found["done"], found["letters"]) == (True, 1, 1)
    irs(service, "redrive", job_id, code=1)


def test_audit_finds_and_repairs_what_nobody_remembers(forgotten: Forgotten) -> None:
    service, lost, broken = forgotten
    # Here, as a process for each look would hold up everybody else's.
    until(lambda: audit(Books.of(service.settings)).young == 0, 40, "old enough")
    found = account(service, code=1)
    assert (found["lost"], found["invalid"]) == (2, [broken])
    assert sorted(found["missing"]) == sorted([lost, broken])
    assert account(service, "--repair", code=1)["repaired"] == 2
    assert account(service)["queued"] == 2
    service.worker()
    results = ResultStore(service.settings)
    until(lambda: results.read(lost) and results.read(broken), 30, "done")
    assert results.read(lost).image == "Käse.jpg"
    assert account(service)["done"] == 2
