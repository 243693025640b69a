"""Callbacks end to end: real web processes, a real worker, and a client's server on a socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs import signing
from irs.aws.objects import Objects
from irs.callbacks.records import OPEN, OVER
from irs.results.store import ResultStore
from tests.integration.conftest import Service, Web, Worker, form, until
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.integration

SECRETS = ("old-" + "o" * 24, "new-" + "n" * 24)


@pytest.fixture(scope="module")
def service(cloud: Any, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud, callback_secret=",".join(SECRETS), callback_networks=("127.0.0.0/8",))


@pytest.fixture(scope="module")
def web(service: Service) -> Web:
    return service.web(script="quick_web.py")


@pytest.fixture(scope="module")
def worker(service: Service) -> Worker:
    return service.worker()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def submit(web: Web, photo: bytes, url: str) -> str:
    body, kind = form(("coffee.jpg", photo))
    field = (f'--{kind.partition("boundary=")[2]}\r\nContent-Disposition: form-data; name="callback_url"'
             f"\r\n\r\n{url}\r\n").encode()
    answer = web.call("POST", "/v1/images", field + body, {"Content-Type": kind})
    assert answer.status == 202, answer.text
    return answer.json["id"]


def state(web: Web, job_id: str) -> dict[str, Any]:
    return web.call("GET", f"/v1/images/{job_id}/callback").json


def test_a_result_is_called_back_and_its_signatures_hold(web, worker, service, receiver, photos):
    job_id = submit(web, photos["coffee"], receiver.url("/hook?token=x"))
    until(lambda: state(web, job_id)["state"] == "delivered")
    (call,) = receiver.calls
    assert call.path == "/hook?token=x"
    assert json.loads(call.body)["label"] == "espresso"
    stored = ResultStore(service.settings).read(job_id)
    assert call.body == stored.to_json()
    assert call.headers["webhook-id"] == job_id
    assert {name: call.headers[name] for name in call.headers if name.startswith("webhook-")} == \
        signing.headers([secret.encode() for secret in SECRETS], job_id, call.body,
                        int(call.headers["webhook-timestamp"]))
    objects = Objects(service.settings, service.settings.output_bucket)
    assert f"{OVER}{job_id}.json" in list(objects.keys(OVER))
    assert list(objects.keys(OPEN)) == []
    assert "token" not in web.output
    assert 'irs_callbacks_total{outcome="delivered"} 1.0' in web.call("GET", "/metrics").text


def test_a_batch_is_called_back_when_it_has_finished(web, worker, receiver, photos):
    body, kind = form(*((f"{number}.jpg", photos["coffee"]) for number in range(3)))
    url = receiver.url("/batch").replace(":", "%3A").replace("/", "%2F")
    answer = web.call("POST", f"/v1/batches?callback_url={url}", body, {"Content-Type": kind})
    assert answer.status == 202, answer.text
    address = f"/v1/batches/{answer.json['id']}"
    until(lambda: web.call("GET", f"{address}/callback").json["state"] == "delivered", 25)
    (call,) = receiver.calls
    assert (call.path, call.headers["webhook-id"]) == ("/batch", answer.json["id"])
    told = json.loads(call.body)
    assert told["counts"] == {"queued": 0, "done": 3, "failed": 0, "cancelled": 0}
    assert told == web.call("GET", address).json


def test_a_receiver_that_is_down_is_called_again(web, worker, receiver, photos):
    mended = threading.Event()
    receiver.answer = lambda number: 204 if mended.is_set() else 503
    receiver.text = b""
    job_id = submit(web, photos["coffee"], receiver.url())
    told = until(lambda: "last_error" in (now := state(web, job_id)) and now)
    assert (told["state"], told["last_error"]) == ("pending", "answered 503")
    assert "next_at" in told
    mended.set()
    until(lambda: state(web, job_id)["state"] == "delivered")
    assert len(receiver.calls) >= 2
    assert {call.headers["webhook-id"] for call in receiver.calls} == {job_id}


def test_receivers_that_never_answer_do_not_hold_the_others_up(web, worker, receiver, photos):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server((f"127.0.0.{n}", 0))) for n in (2, 3, 4)]
        held = [submit(web, photos["coffee"], "http://{}:{}/".format(*one.getsockname()))
                for one in silent for _ in range(2)]
        good = {submit(web, photos["coffee"], receiver.url()) for _ in range(12)}
        until(lambda: {call.headers["webhook-id"] for call in receiver.calls} == good, 50)
        # And no attempt at the others has ended.
        assert not any("last_error" in state(web, job_id) for job_id in held)


def test_a_name_that_leads_inside_is_not_called(web, worker, service, receiver, photos):
    """`localhost` is a sound name; what it resolves to is judged when it is called."""
    strict = Service(service.settings.model_copy(update={"callback_networks": ()}),
                     service._directory, service._stack)
    process = strict.web(script="quick_web.py")
    job_id = submit(process, photos["coffee"], receiver.url(host="localhost").replace("http:", "https:"))
    assert "not public" in until(lambda: state(process, job_id).get("last_error"))
    assert receiver.calls == []
    process.stop()


def test_a_web_process_that_is_killed_before_the_delivery_is_followed_by_another(
        web, worker, service, photos):
    doomed = service.web()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and does not answer
        port = silent.getsockname()[1]
        job_id = submit(doomed, photos["coffee"], f"http://127.0.0.1:{port}/hook")
        silent.settimeout(20)
        with silent.accept()[0]:  # the result is there, and the delivery under way
            doomed.popen.kill()
            doomed.popen.wait(10)
    with receiving(port=port) as receiver:
        until(lambda: state(web, job_id)["state"] == "delivered")
        assert [call.headers["webhook-id"] for call in receiver.calls] == [job_id]


def test_sigterm_lets_a_callback_that_is_under_way_end(web, worker, service, photos):
    process = service.web()
    with socket.create_server(("127.0.0.1", 0)) as slow:
        job_id = submit(process, photos["coffee"], f"http://127.0.0.1:{slow.getsockname()[1]}/hook")
        slow.settimeout(20)
        with slow.accept()[0] as peer:
            peer.recv(65_536)
            process.popen.terminate()
            until(lambda: process.said("web.draining"), 10)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert process.popen.wait(20) == 0
    told = state(web, job_id)
    assert (told["state"], told["last_status"]) == ("delivered", 200)
