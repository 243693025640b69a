"""`/v1/stats/history`, and what `/v1/stats` makes of the scaler's facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from irs import errors
from irs.aws.queues import Depth
from irs.domain import chronicle
from irs.domain.chronicle import Decision, Hour, Point
from irs.domain.facts import Facts, Look
from irs.domain.observing import Report
from irs.domain.states import Doing
from irs.testing import FakeClock, FaultPlan, MemoryObjects
from irs.web.history import Shelf
from irs.web.stats import Sight
from tests.unit.web.test_web_stats import decision

NOTHING = Depth(visible=0, in_flight=0, delayed=0)


def facts(now: datetime, *, today: float = 60.0, last: float = 0.0):
    """As the scaler writes them, ``last`` seconds ago, of one instance that works for ``today`` seconds."""
    then = now - timedelta(seconds=last)
    kept = Facts({}, epoch=1)
    born = then - timedelta(seconds=today)
    doing = Doing(id="i-0", name="AppTier-Instance-1", state="busy", launched_at=born, images=500,
                  running=8, reported_at=then)
    report = Report(instance="i-0", at=then, started_at=born, done=500, waits=(0, 0, 3), infers=(9,))
    kept.look(Look(now=born, visible=3, in_flight=0, delayed=0, left=0))
    kept.look(Look(now=then, visible=3, in_flight=0, delayed=0, left=0, reports=[report], doings=[doing],
                   billed={"i-0": born}, active=frozenset({"i-0"})))
    kept.decided(Decision(at=then, text="queue 3, need 2, have 1: launching 1"))
    return json.loads(json.dumps(kept.told()))


def put(service, *points, decisions=(), hour=None):
    start = chronicle.hour_of(points[0].at if hour is None else hour)
    made = Hour(start=start).with_decisions(decisions)
    for point in points:
        made = made.with_point(point)
    service.records.put(chronicle.key("irs", start), made.to_json())


def midday(now):
    """Whether a minute ago was today."""
    return (now - timedelta(seconds=61)).date() == now.date()


def test_stats_tell_of_instances_ages_latency_and_today(make):
    now = datetime.now(UTC)
    service = make(instance_price=36.0, budget=2.5)
    service.sight = Sight(depth=NOTHING, decision=decision(), facts=facts(now), dead=2)
    told = service.client.get("/v1/stats").json
    assert told["queue"]["dead"] == 2
    assert 60 <= told["queue"]["oldest_seconds"] < 100
    (instance,) = told["fleet"]["instances"]
    assert (instance["id"], instance["state"], instance["images"], instance["running"]) == (
        "i-0", "busy", 500, 8)
    assert 60 <= instance["age_seconds"] < 100
    assert 0.001 < told["latency"]["wait_p50"] < told["latency"]["wait_p95"] <= 0.002
    assert told["latency"]["infer_p95"] <= 0.001
    assert told["cost"]["budget_per_day"] == 2.5
    if midday(now):
        assert (told["cost"]["today_dollars"], told["cost"]["today_images"]) == (0.6, 500)
        assert told["cost"]["dollars_per_1000_images"] == 1.2


def test_old_facts_say_nothing_of_now(make):
    now = datetime.now(UTC)
    service = make(instance_price=36.0)
    service.sight = Sight(depth=NOTHING, decision=decision(), facts=facts(now, last=70))
    told = service.client.get("/v1/stats").json
    assert told["queue"]["oldest_seconds"] is None
    assert set(told["latency"].values()) == {None}
    assert told["fleet"]["instances"]
    service = make(instance_price=36.0)
    service.sight = Sight(depth=NOTHING, decision=decision(), facts=facts(now, last=86_400))
    assert service.client.get("/v1/stats").json["cost"]["today_dollars"] is None


@pytest.mark.parametrize("change", [
    {"until": None}, {"until": "2026-01-01T12:00:00"}, {"today": {}}, {"instances": [{}]}, {"latency": {}},
    {"latency": dict.fromkeys(("wait_p50", "wait_p95", "infer_p50", "infer_p95"), "long")},
    {"decisions": [{}]}, {"oldest_at": 5}, {"instances": [{"state": "asleep"}]}])
def test_facts_that_cannot_be_read_are_none(service, events, change):
    service.sight = Sight(depth=NOTHING, decision=decision(), facts=facts(datetime.now(UTC)) | change)
    answer = service.client.get("/v1/stats")
    assert (answer.status_code, answer.json["fleet"]["instances"]) == (200, [])
    assert [e["event"] for e in events if e["log_level"] == "warning"] == ["web.facts_unreadable"]


def test_the_last_minutes(make):
    now = datetime.now(UTC)
    service = make(instance_price=3.6)
    old, new = (chronicle.floor(now - timedelta(minutes=ago)) for ago in (100, 2))
    put(service, Point(at=old, images=1))
    texts = [Decision(at=new, text="first"), Decision(at=new + timedelta(seconds=5), text="second")]
    put(service, Point(at=new, images=9, failed=2, busy=1.5, wait_p50=0.2, instance_seconds=90, launched=1,
                       visible=3, oldest_seconds=2.5), decisions=texts)
    service.sight = Sight(depth=NOTHING, facts=facts(now))
    told = service.client.get("/v1/stats/history").json
    assert told["step_seconds"] == 60
    assert [p["images"] for p in told["points"]] == [1, 9]
    point = told["points"][1]
    assert (point["failed"], point["busy"], point["wait_p50"], point["infer_p95"]) == (2, 1.5, 0.2, None)
    assert (point["dollars"], point["oldest_seconds"], point["dead"]) == (0.09, 2.5, None)
    assert [d["text"] for d in told["decisions"]] == [
        "queue 3, need 2, have 1: launching 1", "second", "first"]
    assert len(service.client.get("/v1/stats/history?minutes=60").json["points"]) == 1
    assert service.client.get("/v1/stats/history?minutes=1").json["points"] == []


def test_without_a_price_there_are_no_dollars_and_without_a_scaler_no_points(service):
    assert service.client.get("/v1/stats/history").json == {
        "step_seconds": 60, "points": [], "decisions": []}
    put(service, Point(at=datetime.now(UTC) - timedelta(minutes=2)))
    other = service.app.extensions["irs"].history
    assert [h.points for h in other.hours.value() if h.points] == [], "it was read a moment ago"


@pytest.mark.parametrize("asked", ["0", "1441", "x", "-5", "1.5", "", "99999999999", "²"])
def test_minutes_that_are_none(service, asked):
    answer = service.client.get(f"/v1/stats/history?minutes={asked}")
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert answer.json["detail"] == "minutes is a whole number from 1 to 1440"


def test_at_most_fifty_decisions(service):
    now = datetime.now(UTC)
    put(service, hour=now,
        decisions=[Decision(at=now - timedelta(seconds=n), text=str(n)) for n in range(60)])
    told = service.client.get("/v1/stats/history").json["decisions"]
    assert [d["text"] for d in told] == [str(n) for n in range(50)]


def test_hours_that_are_over_are_read_once(make):
    clock = FakeClock()
    asked = []

    class Counting(MemoryObjects):
        def get(self, key, **more):
            asked.append(key)
            return super().get(key, **more)

    records = Counting()
    at = clock.now()
    records.put(chronicle.key("irs", at), Hour(start=chronicle.hour_of(at)).with_point(
        Point(at=at, images=5)).to_json())
    shelf = Shelf(make().settings, lambda: records, now=clock.now,
                  clock=lambda: clock.now().timestamp())
    assert [h.points[at].images for h in shelf._look() if h.points] == [5]
    assert len(asked) == 25
    for _ in range(10):
        clock.advance(6)
        shelf._look()
    # The one before may be written still, five minutes long; the one under way is.
    assert len(asked) == 25 + 2 * 10
    del asked[:]
    clock.advance(1000)
    shelf._look()
    assert len(asked) == 25


def test_an_hour_that_is_none_is_said_and_empty(service, events):
    service.records.put(chronicle.key("irs", datetime.now(UTC)), b"nonsense")
    assert service.client.get("/v1/stats/history").json["points"] == []
    assert [e["event"] for e in events if e["log_level"] == "warning"] == ["web.history_unreadable"]


def test_a_bucket_that_cannot_be_reached_is_503(make):
    records = FaultPlan().fail("get", 1, errors.Unreachable("no answer")).wrap(MemoryObjects())
    answer = make(records=records).client.get("/v1/stats/history")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
