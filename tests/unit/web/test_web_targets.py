"""What Prometheus is told of the workers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from irs import errors
from irs.domain import observing
from irs.domain.observing import Report


def report(name, **more):
    """A worker's, as its last one."""
    at = datetime.now(UTC) - timedelta(seconds=more.pop("ago", 1))
    return Report(**{"instance": name, "at": at, "started_at": at, "metrics": "10.0.0.7:9101", **more})


def put(service, *reports):
    for each in reports:
        service.records.put(observing.key(service.settings.cluster, each.instance), each.to_json())


def ask(service):
    return service.client.get("/v1/targets").json


def test_a_worker_is_named_with_its_address(service):
    put(service, report("i-1"), report("host-42", metrics="[fd00::7]:9101"))
    assert ask(service) == [
        {"targets": ["[fd00::7]:9101"], "labels": {"cluster": "irs", "instance": "host-42"}},
        {"targets": ["10.0.0.7:9101"], "labels": {"cluster": "irs", "instance": "i-1"}}]


@pytest.mark.parametrize(("more", "listed"), [
    ({"metrics": None}, False),
    ({"ago": 200}, True),  # vanished without a word: somebody should see that
    ({"ago": 200, "draining": True}, False),
    ({"draining": True}, True),
    ({"ago": 400}, False),
], ids=str)
def test_who_is_listed(service, more, listed):
    put(service, report("i-1", **more))
    assert bool(ask(service)) == listed


@pytest.mark.parametrize("address", [
    "10.0.0.7", "10.0.0.7:0", "http://10.0.0.7:1", "10.0.0.7:9101/x", "a b:1", "@evil:80", ""])
def test_prometheus_is_sent_to_a_host_and_a_port_or_nowhere(service, address):
    put(service, report("i-1", metrics=address))
    assert ask(service) == []


def test_what_is_no_report_harms_nobody(service, events):
    put(service, report("i-1"))
    folder = observing.folder(service.settings.cluster)
    service.records.put(f"{folder}i-2.json", b"?")
    service.records.put(f"{folder}batches/b.json", b"?")
    assert [group["labels"]["instance"] for group in ask(service)] == ["i-1"]
    assert [event["key"] for event in events if event["event"] == "web.report_unreadable"] == [
        f"{folder}i-2.json"]


def test_where_the_bucket_cannot_be_asked_prometheus_keeps_what_it_has(service, monkeypatch):
    """An empty list would make it forget all of them; 503 does not."""
    def refuse(_prefix):
        raise errors.Unreachable("no S3")

    monkeypatch.setattr(service.records, "entries", refuse)
    assert service.client.get("/v1/targets").status_code == 503
