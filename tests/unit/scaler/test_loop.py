"""The scaler's round, on a queue and a fleet in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain import pacing
from irs.domain.observing import Report
from irs.domain.pacing import Backlog
from irs.scaler import __main__ as command
from irs.scaler import loop
from irs.scaler.brain import Scaler
from irs.testing import FakeClock, FaultPlan, MemoryFleet, MemoryObjects, MemoryQueue

ROOT = Path(__file__).parents[3]


class Rig:
    """A scaler and its world; `rounds` lets time pass."""

    def __init__(self, *, plan: FaultPlan | None = None, dry_run: bool = False,
                 fleet: dict[str, Any] | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.plan = plan or FaultPlan()
        self.queue = MemoryQueue(clock=self.clock)
        self.ec2 = MemoryFleet(clock=self.clock, **(fleet or {}))
        self.objects = MemoryObjects(clock=self.clock)
        # The simplest rule: what is tested here is how decisions are made and acted upon.
        self.settings = settings_module.build({"scaler_policy": "seed"} | settings)
        self.dry_run = dry_run
        self.scaler = self.another("one")

    def another(self, holder: str) -> Scaler:
        """One more scaler of the same cluster."""
        return Scaler(
            self.settings, queue=self.plan.wrap(self.queue), machines=self.plan.wrap(self.ec2),
            objects=self.plan.wrap(self.objects), holder=holder, now=self.clock.now,
            clock=lambda: self.clock.now().timestamp(), dry_run=self.dry_run)

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.queue.send("task")

    def report(self, only: str | None = None, **more: Any) -> list[str]:
        """Every active instance (or one) reports now; their ids, the oldest first."""
        ids = [i.id for i in self.ec2.actual() if only in (None, i.id)]
        now = self.clock.now()
        for name in ids:
            born = next(i.launched_at for i in self.ec2.actual() if i.id == name)
            self.objects.put(f"fleet/irs/{name}.json", Report(
                instance=name, at=now, started_at=born, ready_at=min(now, born + timedelta(seconds=30)),
                **more).to_json())
        return ids

    def rounds(self, count: int) -> list[int]:
        """How many instances there really are after each round."""
        seen = []
        for _ in range(count):
            self.scaler.tick()
            seen.append(len(self.ec2.actual()))
            self.clock.advance(self.settings.scaler_interval)
        return seen


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
    assert rig.rounds(1) == [2]
    assert sorted(i.name for i in rig.ec2.actual()) == ["AppTier-Instance-1", "AppTier-Instance-2"]


def test_the_only_worker_that_dies_is_replaced_in_the_next_round() -> None:
    """Although it has just reported: EC2 says that it is gone."""
    rig = Rig(scaler_policy="predictive", max_instances=3)
    rig.fill(5)
    rig.rounds(20)
    (only,) = rig.report(running=1)
    rig.rounds(2)
    rig.ec2.terminate([only])
    assert rig.rounds(1) == [1]
    assert [i.id for i in rig.ec2.actual()] != [only]


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


def test_a_decision_tells_who_works_and_when_the_others_will() -> None:
    rig = Rig(max_instances=3)

    def told() -> tuple[int, list[float]]:
        decision = json.loads(rig.objects.get("scaler/irs.json"))["decision"]
        return decision["ready"], decision["booting"]

    rig.fill(10)
    rig.rounds(1)
    assert told() == (0, [50.0]), "launched in this very round, and never seen to boot so far"
    rig.rounds(2)
    assert told() == (0, [44.0, 47.0, 50.0])
    rig.clock.advance(30)
    rig.report()
    rig.rounds(3)  # what the first decides is written when the lease is renewed
    assert told() == (3, [])


def test_launches_that_are_held_back_are_not_told_as_coming() -> None:
    rig = Rig(fleet={"capacity": 0})
    rig.fill(10)
    rig.rounds(2)  # the second within the pause that the first one's failure made
    assert rig.scaler.decision["launch"] == 1
    assert rig.scaler.decision["booting"] == []


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


# -- one brain --------------------------------------------------------------------------------
def test_two_scalers_are_one(events: list[Any]) -> None:
    rig = Rig(max_instances=4)
    other = rig.another("two")
    rig.fill(50)
    for _ in range(6):
        rig.scaler.tick()
        other.tick()
        rig.clock.advance(3)
    assert len(rig.ec2.launched) == 4
    assert (rig.scaler.leads, other.leads) == (True, False)
    assert [e["holder"] for e in named(events, "scaler.standby")] == ["one"]
    assert len({e["tick"] for e in named(events, "scaler.decision")}) == 6, "one decided"


def test_the_other_takes_over_within_30_seconds_and_repeats_what_was_under_way() -> None:
    rig = Rig(plan=FaultPlan().fail("launch", 2, Killed(), after=True), min_instances=3, fleet={"lag": 9})
    other = rig.another("two")
    with pytest.raises(Killed):
        rig.scaler.tick()
    assert len(rig.ec2.actual()) == 2, "the second happened, and its caller died of it"
    waited = 0.0
    while not other.leads:
        other.tick()
        rig.clock.advance(3)
        waited += 3
        assert waited < 30
    assert sorted(i.name for i in rig.ec2.actual()) == [f"AppTier-Instance-{n}" for n in (1, 2, 3)]
    for _ in range(10):
        other.tick()
        rig.clock.advance(3)
        assert len(rig.ec2.actual()) == 3


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("method", ["put", "launch", "describe", "depth", "get_tagged", "tags"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_call_nothing_is_doubled_or_forgotten(method: str, after: bool) -> None:
    """At the nth call of each kind; then another process takes its place."""
    for nth in range(1, 6):
        plan = FaultPlan().fail(method, nth, Killed(), after=after)
        rig = Rig(plan=plan, max_instances=3, fleet={"lag": 4, "boot": 10})
        rig.fill(40)
        scaler, lives = rig.scaler, 1
        for _ in range(30):
            try:
                scaler.tick()
            except Killed:
                lives += 1
                scaler = rig.another(f"life {lives}")
            assert len(rig.ec2.actual()) <= 3
            rig.clock.advance(3)
        assert len(rig.ec2.actual()) == 3
        assert sorted({i.name for i in rig.ec2.actual()}) == [f"AppTier-Instance-{n}" for n in (1, 2, 3)]


def test_without_s3_nothing_is_launched_that_nobody_would_remember(events: list[Any]) -> None:
    plan = FaultPlan().fail_randomly("put", 0.5, errors.Unreachable("S3: timeout"))
    plan.fail_randomly("put", 0.3, errors.Unreachable("S3: timeout"), after=True)
    rig = Rig(plan=plan, max_instances=5)
    rig.fill(50)
    assert max(rig.rounds(60)) == 5
    assert len(rig.ec2.launched) == 5
    assert named(events, "scaler.cannot_observe") or named(events, "scaler.cannot_record")


def test_while_s3_is_away_nothing_is_done_and_then_what_is_due_at_once(
        monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    """Two minutes, in which an instance ends and messages come; a second scaler stands by."""
    rig = Rig(min_instances=1, max_instances=3)
    other = rig.another("two")
    rig.rounds(4)
    other.tick()
    leads, calls = rig.scaler.leads, len(rig.ec2.launched)
    with monkeypatch.context() as patch:
        for name in ("put", "get", "get_tagged", "delete", "tags", "entries"):
            patch.setattr(rig.objects, name, _away)
        rig.ec2.terminate([rig.ec2.actual()[0].id])
        rig.fill(50)
        for _ in range(40):
            for scaler in (rig.scaler, other):
                assert scaler.tick() is False
            rig.clock.advance(3)
    assert leads
    assert len(rig.ec2.launched) == calls, "nothing that nobody would remember"
    assert not rig.ec2.actual()
    said = [e["log_level"] for e in named(events, "scaler.cannot_observe")]
    assert said.count("warning") == 2, "once each"
    assert rig.scaler.tick()
    assert rig.scaler.leads
    assert len(rig.ec2.actual()) >= 1
    for _ in range(10):
        other.tick()
        rig.clock.advance(3)
        rig.scaler.tick()
    assert not other.leads
    assert len(rig.ec2.actual()) == 3


def _away(*_: Any, **__: Any) -> Any:
    raise errors.Unreachable("S3: timeout")


def test_a_scaler_that_was_stalled_steps_down(events: list[Any]) -> None:
    rig = Rig(min_instances=1)
    rig.scaler.tick()
    other = rig.another("two")
    other.tick()
    rig.clock.advance(20)
    other.tick()
    assert other.leads
    assert rig.scaler.tick()
    assert not rig.scaler.leads
    assert len(named(events, "scaler.stepped_down")) == 1
    rig.scaler.keep()
    assert other.leads


def test_what_was_measured_is_handed_on() -> None:
    rig = Rig(min_instances=1)
    rig.rounds(10)
    rig.report(service_seconds=0.5)
    rig.rounds(1)
    rig.scaler.close()
    other = rig.another("two")
    for _ in range(2):
        other.tick()
        rig.clock.advance(3)
    journal = json.loads(rig.objects.get("scaler/irs.json"))
    assert (journal["service_seconds"], journal["boots"]) == (0.5, [30.0])
    assert journal["decision"]["service_seconds"] == 0.5


# -- reports ----------------------------------------------------------------------------------
def test_idle_instances_may_leave_but_for_the_minimum(events: list[Any]) -> None:
    rig = Rig(min_instances=1)
    rig.fill(3)
    rig.rounds(13)
    rig.queue.purge()
    ids = rig.report(wants_to_leave=True)
    rig.rounds(1)
    leaving = json.loads(rig.objects.get("scaler/irs.json"))["leaving"]
    assert set(leaving) == set(ids[1:]), "the oldest stays"
    assert len(rig.ec2.actual()) == 3, "the call is theirs"
    rig.ec2.terminate(list(leaving))
    assert rig.rounds(5)[-1] == 1
    assert not named(events, "scaler.terminated")


def test_nobody_leaves_while_messages_wait_and_who_works_again_stays() -> None:
    rig = Rig()
    rig.fill(2)
    rig.rounds(12)
    rig.report(wants_to_leave=True)
    rig.rounds(1)
    assert json.loads(rig.objects.get("scaler/irs.json"))["leaving"] == {}
    rig.queue.purge()
    rig.rounds(1)
    assert len(json.loads(rig.objects.get("scaler/irs.json"))["leaving"]) == 2
    rig.report(running=1)
    rig.rounds(1)
    assert json.loads(rig.objects.get("scaler/irs.json"))["leaving"] == {}


def test_what_does_not_come_up_is_replaced() -> None:
    rig = Rig(min_instances=2, boot_deadline=100)
    rig.rounds(11)
    first, second = rig.report()
    rig.rounds(1)
    rig.ec2.terminate([second])
    rig.rounds(8)
    silent = next(i.id for i in rig.ec2.actual() if i.id != first)
    for _ in range(60):
        rig.report(only=first)
        rig.rounds(1)
    alive = {i.id for i in rig.ec2.actual()}
    assert silent not in alive, "it never reported"
    assert first in alive
    assert len(alive) == 2


@pytest.mark.parametrize("how", ["deleted", "denied"])
def test_reports_that_vanish_end_no_fleet(how: str) -> None:
    """One odd reading: every instance looks as if it had never come up."""
    plan = FaultPlan()
    rig = Rig(min_instances=3, boot_deadline=60, plan=plan)
    for _ in range(40):
        rig.rounds(1)
        rig.report()
    rig.scaler.close()
    rig.scaler = rig.another("two")
    if how == "denied":
        plan.fail_randomly("tags", 1.0, errors.AccessDenied("S3: denied"))
        rig.rounds(60)
    else:
        for key in [key for key in rig.objects.stored if key.startswith("fleet/")]:
            rig.objects.delete(key)
        rig.rounds(4)  # the workers write again, within ten seconds
        for _ in range(40):
            rig.report()
            rig.rounds(1)
    assert len(rig.ec2.launched) == 3
    assert len(rig.ec2.actual()) == 3


def test_where_nobody_ever_reports_patience_grows() -> None:
    """It may be the reports that are broken rather than every instance."""
    rig = Rig(min_instances=1, boot_deadline=60)
    seen = []
    for _ in range(400):
        rig.rounds(1)
        seen.append(len(rig.ec2.launched))
    assert seen[-1] == 5, "after about 60, 120, 240 and 480 s of 1,200"
    assert max(len(rig.ec2.actual()) for _ in seen) == 1


def test_reports_that_cannot_be_read_are_done_without(events: list[Any]) -> None:
    plan = FaultPlan().fail_randomly("tags", 1.0, errors.AccessDenied("S3: denied"))
    rig = Rig(plan=plan, max_instances=2)
    rig.fill(10)
    assert rig.rounds(4)[-1] == 2
    assert [e["log_level"] for e in named(events, "scaler.no_reports")] == ["warning", *["debug"] * 3]


def test_reports_of_instances_that_are_gone_are_swept_up() -> None:
    rig = Rig()
    rig.fill(1)
    rig.rounds(1)
    rig.report()
    rig.objects.put("fleet/irs/odd.json", b"not a report")
    rig.objects.put("fleet/other/i-1.json", b"another cluster's")
    rig.queue.purge()
    rig.rounds(1)
    rig.ec2.terminate([i.id for i in rig.ec2.actual()])
    rig.clock.advance(700)
    rig.rounds(15)
    assert {key for key in rig.objects.stored if "/history/" not in key} == {
        "fleet/irs/odd.json", "fleet/other/i-1.json", "scaler/irs.json"}


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

        keep, close = rig.scaler.keep, rig.scaler.close

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
    assert rig.another("two").tick()
    assert json.loads(rig.objects.get("scaler/irs.json"))["holder"] == "two", "it was handed back"


def test_a_bad_setting_ends_the_command_with_its_name(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IRS_MAX_INSTANCES", "many")
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("irs scaler: IRS_MAX_INSTANCES: ")
    assert said.count("\n") == 1


def test_once_says_by_its_status_that_aws_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 (discard) refuses at once.
    monkeypatch.setenv("IRS_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("IRS_AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("IRS_AWS_SECRET_ACCESS_KEY", "test")
    assert command.main(["--once", "--dry-run"]) == 1


def test_the_process_stops_cleanly_on_sigterm() -> None:
    """A real process against an endpoint that refuses: it lives on, and ends when told."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "IRS_LOG_FORMAT": "json",
               "IRS_AWS_ENDPOINT_URL": "http://127.0.0.1:9", "IRS_AWS_ACCESS_KEY_ID": "test",
               "IRS_AWS_SECRET_ACCESS_KEY": "test", "IRS_SCALER_INTERVAL": "0.1"}
    process = subprocess.Popen([sys.executable, "-m", "irs.scaler"], env=environ, text=True,
                               stderr=subprocess.PIPE)
    lines, told = [], False
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "scaler.cannot_observe" in line and not told:
                told = True  # twice could meet an interpreter that is already ending
                process.terminate()
        assert process.wait(20) == 0, lines
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert '"event": "scaler.stopped"' in lines[-1]


# -- batches ---------------------------------------------------------------------------------
class Told:
    """A batch of which so much is not on the queue yet."""

    def __init__(self, rig: Rig, name: str = "7f3c9f44-3c1d-4c3e-9d53-0d4c3a1f2b11") -> None:
        self.rig = rig
        self.key = pacing.backlog_key("irs", name)

    def says(self, unsent: int) -> None:
        self.rig.objects.put(self.key, Backlog(at=self.rig.clock.now(), unsent=unsent, rate=1).to_json())


def test_what_a_batch_has_yet_to_send_is_demand() -> None:
    rig = Rig(max_instances=5)
    rig.fill(2)
    assert rig.rounds(4) == [1, 2, 2, 2]
    told = Told(rig)
    for want in (3, 4, 5, 5):
        told.says(1_000)
        assert rig.rounds(1) == [want]


def test_what_was_told_long_ago_is_none(events: list[Any]) -> None:
    rig = Rig(max_instances=5)
    rig.fill(1)
    Told(rig).says(1_000)
    rig.clock.advance(pacing.FRESH + 1)
    assert rig.rounds(3) == [1, 1, 1]
    assert not named(events, "scaler.report_unreadable")


def test_members_that_move_to_the_queue_arrive_once() -> None:
    """A thousand images are told of, and sent in tens; at every moment the sum is the same."""
    rig = Rig(max_instances=1)
    told = Told(rig)
    rig.fill(10)
    rig.rounds(1)
    for moved in range(0, 300, 10):
        told.says(990 - moved)
        rig.rounds(1)
        rig.fill(10)
    assert rig.scaler._senses.known.arrived == 1_000


def test_a_feeder_s_word_that_is_seconds_old_adds_its_window_once() -> None:
    rig = Rig(max_instances=1)
    told = Told(rig)
    rig.fill(10)
    rig.rounds(1)
    for moved in range(0, 300, 10):
        told.says(990 - moved)  # and sends ten more before the scaler looks
        rig.fill(10)
        rig.rounds(1)
    assert 1_000 <= rig.scaler._senses.known.arrived <= 1_010


def test_without_batches_a_round_makes_no_call_more() -> None:
    plan = FaultPlan()
    rig = Rig(plan=plan, min_instances=1)
    rig.rounds(10)
    without = dict(plan.calls)
    assert without["tags"] == 10
    told = Told(rig)
    plan.calls.clear()
    for _ in range(10):
        told.says(5)
        rig.rounds(1)
    assert plan.calls["tags"] == without["tags"]
    assert plan.calls["get"] - without.get("get", 0) == 10  # one a word that is new


def test_a_batch_s_word_is_never_swept() -> None:
    rig = Rig()
    told = Told(rig)
    told.says(5)
    rig.rounds(300)
    assert told.key in rig.objects.stored


def test_what_came_of_launches_and_who_never_worked_is_counted() -> None:
    plan = FaultPlan()
    plan.fail("launch", 2, errors.AccessDenied("EC2: denied", code="UnauthorizedOperation"))
    plan.fail("describe", 4, errors.Unreachable("EC2: timeout", code="ReadTimeout"))
    rig = Rig(plan=plan, max_instances=5)
    rig.fill(10)
    rig.rounds(1)
    totals, decision = rig.scaler.totals, rig.scaler.decision
    assert (decision["active"], decision["wanted"], totals["launch"], totals["launched"]) == (0, 1, 1, 1)
    rig.rounds(1)
    assert (totals["launch"], totals["launched"], totals["failed"]) == (2, 1, 1)
    rig.ec2.terminate([i.id for i in rig.ec2.actual()])
    rig.rounds(1)
    assert totals["stillborn"] == 1
    assert totals["trouble"] == 0
    rig.rounds(1)
    assert totals["trouble"] == 1
