"""The scaler's round, on a queue and a fleet in memory."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from irs import errors
from irs import settings as settings_module
from irs.scaler import __main__ as command
from irs.scaler import loop
from irs.scaler.actuator import Actuator
from irs.scaler.loop import Scaler
from irs.testing import FakeClock, FaultPlan, MemoryFleet, MemoryQueue

ROOT = Path(__file__).parents[3]


class Rig:
    """A scaler and its world; `rounds` lets time pass."""

    def __init__(self, *, plan: FaultPlan | None = None, dry_run: bool = False,
                 fleet: dict[str, Any] | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.plan = plan or FaultPlan()
        self.queue = MemoryQueue(clock=self.clock)
        self.ec2 = MemoryFleet(clock=self.clock, **(fleet or {}))
        built = settings_module.build(settings)
        self.interval = built.scaler_interval
        self.scaler = Scaler(
            built, queue=self.plan.wrap(self.queue), now=self.clock.now, dry_run=dry_run,
            actuator=Actuator(built, self.plan.wrap(self.ec2), epoch="e"))

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.queue.send("task")

    def rounds(self, count: int) -> list[int]:
        """How many instances there really are after each round."""
        seen = []
        for _ in range(count):
            self.scaler.tick()
            seen.append(len(self.ec2.actual()))
            self.clock.advance(self.interval)
        return seen


@pytest.fixture
def events() -> Any:
    """What was logged, as (level, event, fields)."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def named(events: list[Any], name: str) -> list[Any]:
    return [e for e in events if e["event"] == name]


def test_a_burst_launches_one_instance_a_tick_up_to_the_maximum() -> None:
    rig = Rig(fleet={"boot": 40}, max_instances=5)
    rig.fill(100)
    assert rig.rounds(8) == [1, 2, 3, 4, 5, 5, 5, 5]


def test_a_late_describe_does_not_launch_more() -> None:
    rig = Rig(fleet={"boot": 40, "lag": 20}, max_instances=5)
    rig.fill(100)
    assert rig.rounds(20) == [1, 2, 3, 4, *[5] * 16]


def test_empty_describes_now_and_then_do_not_launch_more() -> None:
    rig = Rig(max_instances=3)
    rig.fill(100)
    assert rig.rounds(4) == [1, 2, 3, 3]
    for _ in range(10):
        rig.ec2.blind = 1
        assert rig.rounds(2) == [3, 3]


def test_the_minimum_is_kept_and_what_ended_is_replaced() -> None:
    rig = Rig(min_instances=2)
    assert rig.rounds(2) == [2, 2]
    rig.ec2.terminate([rig.ec2.describe()[0].id])
    # One look may be a late answer; the second is believed.
    assert rig.rounds(2) == [1, 2]
    assert sorted(i.name for i in rig.ec2.actual()) == ["AppTier-Instance-1", "AppTier-Instance-2"]


def test_an_empty_queue_launches_nothing() -> None:
    rig = Rig()
    assert rig.rounds(5) == [0] * 5


def test_trouble_is_survived_and_said_once(events: list[Any]) -> None:
    plan = FaultPlan()
    for nth in (2, 3, 4):
        plan.fail("depth", nth, errors.Unreachable("SQS queue: timeout", code="ReadTimeout"))
    plan.fail("describe", 3, errors.AccessDenied("EC2: denied"))
    rig = Rig(plan=plan)
    rig.fill(10)
    assert rig.rounds(8) == [1, 1, 1, 1, 2, 2, 3, 4]
    assert [(e["log_level"], e["error"]) for e in named(events, "scaler.cannot_observe")] == [
        ("warning", "SQS queue: timeout"), ("debug", "SQS queue: timeout"),
        ("debug", "SQS queue: timeout"), ("warning", "EC2: denied"),
    ]
    assert len(named(events, "scaler.recovered")) == 2


def test_a_failing_launch_is_survived() -> None:
    plan = FaultPlan()
    plan.fail("launch", 1, errors.Unreachable("timeout"), after=True)
    plan.fail("launch", 2, errors.Throttled("slow down"))
    rig = Rig(plan=plan, max_instances=2)
    rig.fill(10)
    assert rig.rounds(5)[-1] == 2


def test_decisions_are_told_when_something_changes(events: list[Any]) -> None:
    rig = Rig(max_instances=2)
    rig.fill(10)
    rig.rounds(5)
    told = [(e["log_level"], e["reason"]) for e in named(events, "scaler.decision")]
    assert told == [
        ("info", "queue 10, have 0 of 2: launching 1"),
        ("info", "queue 10, have 1 of 2: launching 1"),
        ("info", "queue 10, have 2 of 2: at the maximum"),
        ("debug", "queue 10, have 2 of 2: at the maximum"),
        ("debug", "queue 10, have 2 of 2: at the maximum"),
    ]
    last = named(events, "scaler.decision")[-1]
    assert {k: last[k] for k in ("visible", "in_flight", "pending", "running", "min", "max")} == {
        "visible": 10, "in_flight": 0, "pending": 0, "running": 2, "min": 0, "max": 2}


def test_waiting_for_capacity_is_quiet(events: list[Any]) -> None:
    rig = Rig(fleet={"capacity": 0})
    rig.fill(10)
    rig.rounds(2)
    assert [e["log_level"] for e in named(events, "scaler.decision")] == ["info", "debug"]
    assert len(named(events, "scaler.no_capacity")) == 1


def test_a_dry_run_says_and_does_not(events: list[Any]) -> None:
    rig = Rig(dry_run=True)
    rig.fill(3)
    assert rig.rounds(2) == [0, 0]
    assert [e["reason"] for e in named(events, "scaler.decision")] == [
        "queue 3, have 0 of 19: launching 1"] * 2
    assert rig.plan.calls["launch"] == 0


def test_run_ends_at_once_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real threads: the interval is an hour, so only the event can end the wait."""
    rig = Rig(min_instances=1, scaler_interval=3600)
    ticked = threading.Event()

    class Ticking:
        state = rig.scaler.state

        def tick(self) -> bool:
            done = rig.scaler.tick()
            ticked.set()
            return done

    monkeypatch.setattr(loop, "build", lambda *_, **__: Ticking())
    stop = threading.Event()
    settings = settings_module.build({"scaler_interval": 3600})
    thread = threading.Thread(target=loop.run, args=(settings, stop))
    thread.start()
    try:
        assert ticked.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    assert len(rig.ec2.actual()) == 1


def test_a_bad_setting_ends_the_command_with_its_name(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IRS_MAX_INSTANCES", "many")
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("irs scaler: IRS_MAX_INSTANCES: ")
    assert said.count("\n") == 1


def test_once_says_by_its_status_that_aws_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    # Port 9 (discard) refuses at once.
    monkeypatch.setenv("IRS_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("IRS_AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("IRS_AWS_SECRET_ACCESS_KEY", "test")
    try:
        assert command.main(["--once", "--dry-run"]) == 1
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()


def test_the_process_stops_cleanly_on_sigterm() -> None:
    """A real process against an endpoint that refuses: it lives on, and ends when told."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "IRS_LOG_FORMAT": "json",
               "IRS_AWS_ENDPOINT_URL": "http://127.0.0.1:9", "IRS_AWS_ACCESS_KEY_ID": "test",
               "IRS_AWS_SECRET_ACCESS_KEY": "test", "IRS_SCALER_INTERVAL": "0.1"}
    process = subprocess.Popen([sys.executable, "-m", "irs.scaler"], env=environ, text=True,
                               stderr=subprocess.PIPE)
    lines = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "scaler.cannot_observe" in line:
                process.terminate()
        assert process.wait(20) == 0, lines
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert '"event": "scaler.stopped"' in lines[-1]
