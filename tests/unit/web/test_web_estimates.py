"""What a client that waits is told, with a scaler and without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from irs import errors
from irs.domain.journal import Journal
from irs.domain.waits import Outlook
from irs.testing import FaultPlan, MemoryObjects
from irs.web import fleet
from irs.web.estimates import FLEET, GAP, Estimates
from tests.unit.web.webkit import Service, picture

BOOTS = Outlook(running=0, booting=(30.0,), service=2.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """An estimate's two sources, and how often each was asked."""

    def __init__(self, visible: int, outlook: Outlook | Exception | None) -> None:
        self.clock, self.visible, self.outlook, self.looks = Clock(), visible, outlook, 0
        self.estimates = Estimates(lambda: self.visible, self.clock, fleet=self.look, fresh=-1, patience=5)

    def look(self) -> Outlook | None:
        self.looks += 1
        if isinstance(self.outlook, Exception):
            raise self.outlook
        return self.outlook

    def seconds(self) -> float | None:
        place = self.estimates.place()
        assert place is not None
        return place.seconds

    def finish(self, count: int) -> None:
        for _ in range(count):
            self.estimates.finished()
            self.clock.now += 0.5


def test_a_job_that_waits_for_a_boot_has_an_estimate() -> None:
    world = World(5, BOOTS)
    assert world.seconds() == pytest.approx(30 + 5 * 2)
    assert world.estimates.retry_after(world.estimates.place()) == 40


def test_without_a_scaler_there_is_our_pace_or_nothing() -> None:
    world = World(5, None)
    assert world.seconds() is None
    world.finish(20)
    assert world.seconds() == pytest.approx(6 / 2)


def test_the_fleet_counts_more_than_our_pace() -> None:
    world = World(5, Outlook(running=10, service=2.0))
    world.finish(20)
    assert world.seconds() == pytest.approx(0.9)


def test_nobody_works_and_nobody_boots_is_no_estimate() -> None:
    assert World(5, Outlook(running=0, service=2.0)).seconds() is None


@pytest.mark.parametrize("why", [errors.Unreachable("away"), errors.AccessDenied("no")])
def test_a_fleet_that_cannot_be_looked_at_is_none(why: Exception) -> None:
    world = World(5, why)
    assert world.seconds() is None
    world.finish(20)
    assert world.seconds() == pytest.approx(3)


def test_one_look_serves_everybody_for_some_seconds() -> None:
    world = World(5, BOOTS)
    for _ in range(10):
        world.seconds()
    assert world.looks == 1
    world.clock.now += FLEET + 0.1
    world.seconds()
    assert world.looks == 2


def test_where_nothing_waits_nobody_looks() -> None:
    world = World(0, BOOTS)
    world.finish(20)
    assert world.seconds() == pytest.approx(0.5)
    assert world.looks == 0


def test_a_count_that_is_late_is_no_reason_to_say_nothing() -> None:
    world = World(0, BOOTS)
    assert world.seconds() == pytest.approx(32)


# -- admission -------------------------------------------------------------------------------
def backlog(world: World, seconds: int = 15) -> float | None:
    """After so many seconds in which one image a second was finished of a long queue."""
    for _ in range(seconds):
        world.clock.now += 1
        world.visible -= 1
        world.estimates.finished()
        world.estimates._depth.value()
    world.estimates.queue_wait()
    world.estimates._fleet.value()  # it has been asked, and has answered by now
    return world.estimates.queue_wait()


def test_a_fleet_that_boots_turns_nobody_away() -> None:
    assert backlog(World(1000, None)) == pytest.approx(985, rel=0.05)
    world = World(1000, Outlook(running=1, booting=(20.0,) * 18, service=1.0))
    assert backlog(world) == pytest.approx(20 + 965 / 19, rel=0.05)
    world.clock.now += GAP - 1
    world.outlook = errors.Unreachable("away")
    assert world.estimates.queue_wait() == pytest.approx(71, rel=0.05)


def test_a_fleet_that_works_slower_than_the_scaler_believes_is_taken_at_its_pace() -> None:
    assert backlog(World(1000, Outlook(running=19, service=0.1))) == pytest.approx(985, rel=0.05)


def test_a_short_queue_is_no_reason_to_look_at_the_fleet() -> None:
    world = World(30, BOOTS)
    for _ in range(10):
        world.clock.now += 1
        world.visible -= 1
        world.estimates.finished()
        world.estimates._depth.value()
    assert world.estimates.queue_wait() == pytest.approx(20, rel=0.1)
    assert world.looks == 0


def test_the_queues_pace_is_reckoned_once_a_look() -> None:
    world = World(1000, None)
    wait = backlog(world)
    finished, world.estimates._done = world.estimates._done, None  # type: ignore[assignment]
    assert world.estimates.queue_wait() == wait  # without a look at what was finished
    world.estimates._done = finished
    world.clock.now += 1
    world.estimates._depth.value()
    assert world.estimates.queue_pace() == pytest.approx(15 / 15, rel=0.1)


# -- the journal -----------------------------------------------------------------------------
def journal(*, age: float = 0, **decision: Any) -> bytes:
    told = {"at": (datetime.now(UTC) - timedelta(seconds=age)).isoformat(), "ready": 0, "booting": [30.0],
            "service_seconds": 2.0, "in_flight": 0}
    return Journal(epoch=1, holder="h", decision=told | decision).to_json()


def queued(service: Service) -> Any:
    service.work = lambda job: None
    service.depth = 3
    return service.client.post("/v1/images", data=picture(), content_type="image/jpeg")


def test_a_queued_job_has_the_estimate_of_the_scalers_journal(service: Service) -> None:
    service.records.put("scaler/irs.json", journal(age=10))
    answer = queued(service)
    assert answer.json["estimate_seconds"] == pytest.approx(20 + 6, abs=1)
    assert int(answer.headers["Retry-After"]) in range(25, 29)
    again = service.client.get(answer.json["location"])
    assert again.json["estimate_seconds"] == pytest.approx(26, abs=1)


@pytest.mark.parametrize("data", [
    None, b"", b"{}", b"[" * 100_000, b"\xff", journal(age=3600), journal(ready="x")])
def test_without_a_journal_it_is_as_without_a_scaler(service: Service, data: bytes | None) -> None:
    if data is not None:
        service.records.put("scaler/irs.json", data)
    assert "estimate_seconds" not in queued(service).json


def test_a_bucket_that_is_away_costs_no_answer(make: Callable[..., Service]) -> None:
    records = FaultPlan().fail_randomly("get", 1, errors.NoBucket("gone")).wrap(MemoryObjects())
    answer = queued(make(records=records))
    assert answer.status_code == 202
    assert "estimate_seconds" not in answer.json


def test_a_slow_scaler_is_believed_for_longer(make: Callable[..., Service]) -> None:
    service = make(scaler_interval=600.0)
    service.records.put("scaler/irs.json", journal(age=300, booting=[400.0]))
    look = fleet.look(service.settings, lambda: service.records)
    assert look is not None
    assert look.booting[0] == pytest.approx(100, abs=1)
