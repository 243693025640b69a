from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from irs import errors
from irs.aws.queues import Depth
from irs.testing import FakeClock
from irs.web.estimates import Estimates
from irs.web.stats import Sight
from tests.unit.web.webkit import picture

DEPTH = Depth(visible=12, in_flight=4, delayed=1)


def decision(**more):
    """As `irs.scaler.telling` writes it, three seconds ago."""
    return {
        "at": (datetime.now(UTC) - timedelta(seconds=3)).isoformat(), "reason": "backlog", "tick": 7,
        "policy": "predictive", "visible": 12, "in_flight": 4, "arrived": 100, "finished": 84, "done": 80,
        "pending": 1, "running": 3, "stopped": 2, "draining": 1, "launch": 1, "terminate": 0,
        "min": 0, "max": 19, "count_lag": 0.0, "service_seconds": 0.031, "boot_seconds": None, **more}


def test_queue_fleet_process_and_cost(make):
    service = make(instance_price=0.1, max_waiting=50)
    service.sight = Sight(depth=DEPTH, decision=decision())
    told = service.client.get("/v1/stats").json
    assert told["queue"] == {
        "visible": 12, "in_flight": 4, "delayed": 1, "oldest_seconds": None, "dead": None}
    fleet = told["fleet"]
    assert (fleet["running"], fleet["pending"], fleet["stopped"], fleet["draining"]) == (3, 1, 2, 1)
    assert (fleet["min"], fleet["max"], fleet["reason"]) == (0, 19, "backlog")
    assert (fleet["service_seconds"], fleet["boot_seconds"]) == (0.031, None)
    assert 3 <= fleet["age_seconds"] < 60
    assert told["process"] == {"waiting_clients": 0, "max_waiting": 50, "pending_jobs": 0, "lost_jobs": 0,
                               "results_per_second": 0.0}
    assert told["cost"] == {
        "dollars_per_hour": 0.3, "instance_price": 0.1, "budget_per_day": None, "today_dollars": None,
        "today_images": None, "dollars_per_1000_images": None}


def test_jobs_without_a_result_are_pending(service):
    service.work = lambda job: None
    service.client.post("/v1/images", data=picture(), content_type="image/jpeg")
    assert service.client.get("/v1/stats").json["process"]["pending_jobs"] == 1


def test_without_a_scaler_there_is_no_fleet_and_no_cost(make):
    service = make(instance_price=0.1)
    told = service.client.get("/v1/stats").json
    assert (told["fleet"], told["cost"]) == (None, None)


def test_without_a_price_there_is_no_cost(service):
    service.sight = Sight(depth=DEPTH, decision=decision())
    assert service.client.get("/v1/stats").json["cost"] is None


@pytest.mark.parametrize("change", [
    {"running": "many"}, {"at": "yesterday"}, {"at": None}, {"at": "2026-11-22T21:30:00"}, {"running": -1}])
def test_a_decision_that_cannot_be_read_is_none(service, events, change):
    service.sight = Sight(depth=DEPTH, decision=decision(**change))
    answer = service.client.get("/v1/stats")
    assert (answer.status_code, answer.json["fleet"]) == (200, None)
    assert [e["event"] for e in events if e["log_level"] == "warning"] == ["web.decision_unreadable"]


def test_a_clock_that_is_behind_makes_no_negative_age(service):
    ahead = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    service.sight = Sight(depth=DEPTH, decision=decision(at=ahead))
    assert service.client.get("/v1/stats").json["fleet"]["age_seconds"] == 0


def test_everybody_shares_one_look(service):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: service.client.get("/v1/stats").status_code, range(100)))
    assert answers == [200] * 100
    assert service.looks < 20  # one each second, however slow the machine


def test_a_cloud_that_cannot_be_reached_is_503(service):
    service.sight = errors.Unreachable("no answer")
    answer = service.client.get("/v1/stats")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "no answer" not in answer.text


def test_throughput_is_of_the_last_minute():
    clock = FakeClock()
    estimates = Estimates(lambda: 0, lambda: clock.now().timestamp())
    assert estimates.throughput() == 0
    estimates.finished()
    assert estimates.throughput() == pytest.approx(1 / 60)
    clock.advance(50)
    for _ in range(59):
        estimates.finished()
    assert estimates.throughput() == pytest.approx(1)
    clock.advance(11)
    assert estimates.throughput() == pytest.approx(59 / 60)
    for _ in range(20_000):
        estimates.finished()
    clock.advance(10)
    assert estimates.throughput() == pytest.approx(1000)  # of the 10,000 that are remembered
