"""``POST /v1/events`` on real processes: two web tiers, a worker, and clients that hang up."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.conformity import events
from tests.integration.conftest import Service, Web, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def service(cloud, make_service: Callable[..., Service]) -> Service:
    return make_service(cloud)


@pytest.fixture(scope="module")
def webs(service: Service) -> tuple[Web, Web]:
    return service.web(), service.web()


def send(web: Web, data: bytes, count: int) -> list[str]:
    kind = {"Content-Type": "image/jpeg"}
    return [web.call("POST", f"/v1/images?name={number}.jpg", data, kind).json["id"]
            for number in range(count)]


def follow(web: Web, ids: list[str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("POST", "/v1/events", json.dumps({"ids": ids}), {"Content-Type": "application/json"})
    return connection.getresponse()


def told(answer: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    """Events as they come."""
    block = b""
    while line := answer.readline():
        block += line
        if line == b"\n":
            yield from events(block)
            block = b""


def streams(web: Web) -> float:
    (line,) = (line for line in web.call("GET", "/metrics").text.splitlines()
               if line.startswith("irs_event_streams "))
    return float(line.split()[1])


def test_before_there_is_a_worker_streams_are_silent_and_end_with_their_clients(webs, photos):
    web, _ = webs
    with closing(follow(web, send(web, photos["coffee"], 1))) as answer:
        assert answer.getheader("Content-Type") == "text/event-stream"
        assert answer.getheader("X-Accel-Buffering") == "no"
        assert next(told(answer))["event"] == "queue"
        assert streams(web) == 1
    until(lambda: streams(web) == 0, 10, "the place of a client that has gone is free")


def test_a_process_that_stops_ends_its_streams_and_another_goes_on(service, webs, photos):
    stopping = service.web()
    ids = send(stopping, photos["coffee"], 1)
    with closing(follow(stopping, ids)) as answer:
        heard = told(answer)
        assert next(heard)["event"] == "queue"
        began = time.monotonic()
        stopping.popen.terminate()
        last = [event for event in heard if event["event"] != "queue"]
        assert last == [{"event": "end", "data": '{"left":1}'}]
        assert stopping.popen.wait(20) == 0
        # Long before the 30 s that those who wait for a label are given.
        assert time.monotonic() - began < 15
    with closing(follow(webs[0], ids)) as answer:
        assert next(told(answer))["event"] == "queue"


def test_jobs_of_both_processes_are_told_of_on_one_stream(webs, service, photos):
    """And in their time: those of the other process are found while the queue moves."""
    here, there = webs
    ours, theirs = send(here, photos["coffee"], 10), send(there, photos["rocket"], 10)
    ids = [job for pair in zip(ours, theirs, strict=True) for job in pair]
    with closing(follow(here, ids)) as answer:
        service.worker()
        heard: dict[str, Any] = {}
        for event in told(answer):
            if event["event"] == "result":
                result = json.loads(event["data"])
                heard[result["id"]] = (result["label"], time.monotonic())
        assert event == {"event": "end", "data": '{"left":0}'}
    assert [heard[job_id][0] for job_id in ids] == ["espresso", "missile"] * 10
    until(lambda: streams(here) == 0, 10)
