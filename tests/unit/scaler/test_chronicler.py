"""The scaler writes down what it sees: who, when, and whatever S3 does meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from irs import errors
from irs.domain import chronicle, latency
from irs.domain.chronicle import Hour
from irs.testing import FaultPlan, MemoryQueue
from tests.unit.scaler.test_loop import Rig, named


def history(rig: Rig) -> list[Hour]:
    return [Hour.from_json(found.data) for key, found in sorted(rig.objects.stored.items())
            if key.startswith(chronicle.folder("irs"))]


def points(rig: Rig) -> list[Any]:
    return [point for hour in history(rig) for _, point in sorted(hour.points.items())]


def facts(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.objects.get("scaler/irs.json"))["facts"]


def puts(rig: Rig) -> list[int]:
    """Writes of the history so far, counted by a wrapper."""
    count = [0]
    put = rig.objects.put

    def counted(key: str, *args: Any, **more: Any) -> str:
        count[0] += "/history/" in key
        return put(key, *args, **more)

    rig.objects.put = counted  # type: ignore[method-assign]
    return count


def test_a_minute_is_written_when_it_is_over_and_once() -> None:
    rig = Rig(max_instances=2)
    count = puts(rig)
    rig.fill(10)
    rig.rounds(20)
    assert (count, history(rig)) == ([0], [])
    rig.rounds(20)
    assert count == [1]
    rig.rounds(61)
    (hour,) = history(rig)
    assert (count, len(hour.points)) == ([5], 5)
    first = points(rig)[0]
    assert (first.looks, first.visible, first.launched, first.oldest_seconds) == (20, 10, 2, 57)
    assert first.booting == pytest.approx(39 / 20)
    assert [d.text for d in hour.decisions] == [
        "queue 10, need 1, have 0: launching 1", "queue 10, need 2, have 1: launching 1",
        "queue 10, need 2, have 2: at the maximum"]


def test_what_is_now_is_in_the_journal() -> None:
    rig = Rig(max_instances=1)
    rig.fill(10)
    rig.rounds(2)
    (name,) = rig.report(done=4, running=2, waits=latency.trimmed([0] * 10 + [4]))
    rig.rounds(3)
    told = facts(rig)
    assert [(i["id"], i["state"], i["images"], i["running"]) for i in told["instances"]] == [
        (name, "busy", 4, 2)]
    assert told["today"]["images"] == 4
    assert told["today"]["instance_seconds"] > 0
    assert told["latency"]["wait_p95"] > 0
    assert told["oldest_at"] == "2026-01-01T12:00:00+00:00"
    assert told["decisions"][0]["text"] == "queue 10, need 1, have 1: at the maximum"


def test_it_changes_no_decision() -> None:
    """Whatever S3 does to the history, the fleet is the same."""
    fleets = []
    for plan in (FaultPlan(), FaultPlan().fail("keys", 1, errors.AccessDenied("S3: denied")).fail(
            "get_tagged", 2, errors.Unreachable("S3: timeout"))):
        rig = Rig(plan=plan, max_instances=4)
        rig.fill(10)
        fleets.append(rig.rounds(60))
    assert fleets[0] == fleets[1]


def test_a_standby_writes_nothing_and_goes_on_with_the_hour() -> None:
    rig = Rig(max_instances=1)
    rig.fill(10)
    rig.rounds(2)
    rig.report(done=1)
    rig.rounds(19)
    standby = rig.another("two")
    count = puts(rig)
    for _ in range(40):
        standby.tick()
        rig.clock.advance(1)
        rig.scaler.keep()
    assert count == [0]
    # The first one is gone, with what it had not written of its second minute.
    for _ in range(30):
        standby.tick()
        rig.clock.advance(3)
    (hour,) = history(rig)
    assert standby.leads
    assert [point.looks for _, point in sorted(hour.points.items())] == [20, 3, 20]
    assert [d.text for d in hour.decisions][:2] == [
        "queue 10, need 1, have 0: launching 1", "queue 10, need 1, have 1: at the maximum"]
    assert facts(rig)["today"]["images"] == 1


def test_one_that_ends_in_order_writes_the_minute_that_it_began() -> None:
    rig = Rig(max_instances=1)
    rig.fill(10)
    rig.rounds(3)
    rig.scaler.close()
    (half,) = points(rig)
    rig.scaler = rig.another("two")
    rig.rounds(20)
    rig.scaler.close()
    first, second = points(rig)
    assert (half.looks, first.looks, second.looks) == (3, 20, 3)
    assert first.launched == 1, "counted by the first one alone"


@pytest.mark.parametrize("after", [False, True])
def test_what_could_not_be_written_is_written_later(events: list[Any], after: bool) -> None:
    rig = Rig()
    writes = [0]
    put = rig.objects.put

    def failing(key: str, *args: Any, **more: Any) -> str:
        if "/history/" not in key:
            return put(key, *args, **more)
        writes[0] += 1
        if writes[0] in (1, 2):
            if after:
                put(key, *args, **more)
            raise errors.Unreachable("S3: timeout", code="ReadTimeout")
        return put(key, *args, **more)

    rig.objects.put = failing  # type: ignore[method-assign]
    rig.rounds(81)
    assert [p.looks for p in points(rig)] == [20, 20, 20, 20], "each once"
    assert [e["log_level"] for e in named(events, "scaler.history_failed")] == ["warning", "debug"]


def test_another_writer_of_the_hour_is_no_loss() -> None:
    rig = Rig()
    rig.rounds(21)
    key = chronicle.key("irs", rig.clock.now())
    mine = Hour.from_json(rig.objects.get(key))
    theirs = mine.with_point(chronicle.Point(at=mine.start + timedelta(minutes=30), images=7))
    rig.objects.put(key, theirs.to_json())
    rig.rounds(20)
    assert [p.images for p in points(rig)] == [0, 0, 7]


def test_what_is_there_and_no_hour_is_said_and_replaced(events: list[Any]) -> None:
    rig = Rig()
    rig.objects.put("scaler/irs/history/2026-01-01T12.json", b"nonsense")
    rig.rounds(21)
    assert len(points(rig)) == 1
    assert len(named(events, "scaler.history_unreadable")) == 1


def test_facts_that_are_none_are_begun_anew(events: list[Any]) -> None:
    rig = Rig()
    rig.rounds(2)
    rig.scaler.close()
    raw = json.loads(rig.objects.get("scaler/irs.json"))
    rig.objects.put("scaler/irs.json", json.dumps(raw | {"facts": {"until": 5}}).encode())
    rig.scaler = rig.another("two")
    rig.rounds(3)
    assert facts(rig)["today"]["images"] == 0
    assert len(named(events, "scaler.facts_unreadable")) == 1


def test_an_instance_that_went_while_nobody_looked_is_not_paid_for() -> None:
    rig = Rig(max_instances=1)
    rig.fill(1)
    rig.rounds(10)
    rig.scaler.close()
    before = facts(rig)["today"]["instance_seconds"]
    assert before > 20
    rig.queue.purge()
    rig.ec2.terminate([i.id for i in rig.ec2.actual()])
    rig.clock.advance(900)
    rig.scaler = rig.another("two")
    rig.rounds(5)
    assert facts(rig)["today"]["instance_seconds"] == before


def test_old_hours_go() -> None:
    rig = Rig()
    for name in ("2025-12-30T10", "2025-12-30T12", "2025-12-31T00"):
        rig.objects.put(f"scaler/irs/history/{name}.json", b"{}")
    rig.objects.put("scaler/irs/history/odd.json", b"not ours")
    rig.rounds(21)
    left = {key.rpartition("/")[2] for key in rig.objects.stored if "/history/" in key}
    assert left == {"2025-12-30T12.json", "2025-12-31T00.json", "2026-01-01T12.json", "odd.json"}
    rig.rounds(1200)
    assert "scaler/irs/history/2025-12-30T12.json" not in rig.objects.stored
    assert len(history_keys(rig)) >= 2


def history_keys(rig: Rig) -> list[str]:
    return [key for key in rig.objects.stored if key.startswith("scaler/irs/history/2026")]


def test_dead_letters_are_counted_once_a_minute(events: list[Any]) -> None:
    rig = Rig()
    letters, asked = MemoryQueue("dead", clock=rig.clock), [0]

    class Counting:
        def depth(self) -> Any:
            asked[0] += 1
            if asked[0] == 2:
                raise errors.AccessDenied("SQS: denied")
            return letters.depth()

    rig.scaler._letters = Counting()
    letters.send("x")
    letters.send("y")
    letters.receive(1)
    rig.rounds(61)
    assert asked[0] == 4
    assert [p.dead for p in points(rig)] == [2, 2, 2], "one of them is being looked at"
    assert [e["log_level"] for e in named(events, "scaler.dead_letters_unknown")] == ["warning"]


def test_a_dry_run_writes_nothing() -> None:
    rig = Rig(dry_run=True)
    rig.fill(5)
    rig.rounds(45)
    assert not rig.objects.stored
