"""The drain and the watch, without a process to end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery.worker import state as worker_state

from irs import errors, heartbeat
from irs import settings as settings_module
from irs.heartbeat import Heartbeat
from irs.worker import lifecycle, patience
from irs.worker.lifecycle import Drain, Watch


class Loop:
    """The main loop's two ways in; `turn` is the test's."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.called = threading.Event()

    def call_soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)
        self.called.set()

    def call_later(self, _delay: float, call: Callable[[], None]) -> None:
        self.due.append(call)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Channel:
    """So many messages, and whether they were handed back."""

    def __init__(self, unsettled: int) -> None:
        self.unsettled = unsettled
        self.closed = False

    def close(self) -> None:
        self.closed = True


class World:
    """A consumer to drain, and the ways out of it."""

    def __init__(self, unsettled: int = 0) -> None:
        self.hub = Loop()
        self.channel = Channel(unsettled)
        self.cancelled = 0
        self.cancel_error: Exception | None = None
        self.task_consumer = SimpleNamespace(channel=self.channel, cancel=self._cancel)
        self.polling = False
        self.finished = 0
        self.exits: list[int] = []

    def _cancel(self) -> None:
        self.cancelled += 1
        if self.cancel_error:
            raise self.cancel_error

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(lifecycle.receiver, "polling", lambda: world.polling)
    monkeypatch.setattr(lifecycle, "finish", world.finish)
    monkeypatch.setattr(lifecycle.os, "_exit", world.exits.append)
    monkeypatch.setattr(worker_state, "should_stop", None)
    yield world


def test_an_idle_worker_stops_at_once(world: World) -> None:
    drain = Drain(world)
    assert not drain.began
    drain.begin("test")
    assert drain.began
    assert patience.hurry.is_set(), "jobs that wait for the cloud are handed back"
    world.hub.turn()
    assert world.cancelled == 1
    assert worker_state.should_stop == 0
    assert world.hub.due, "without another turn the loop would poll on before it looks"


def test_a_drain_waits_for_what_is_unsettled_and_for_the_poll_under_way(world: World) -> None:
    world.channel.unsettled, world.polling = 2, True
    Drain(world).begin("test")
    world.hub.turn()
    world.channel.unsettled = 0
    world.hub.turn()
    assert worker_state.should_stop is None
    world.polling = False
    world.hub.turn()
    assert worker_state.should_stop == 0
    assert not world.channel.closed
    assert world.exits == []


def test_a_drain_beyond_its_grace_hands_back_and_exits(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "load", lambda: settings_module.build({"drain_grace": 0.001}))
    world.channel.unsettled = 1
    Drain(world).begin("test")
    deadline = time.monotonic() + 5
    while not world.exits:
        assert time.monotonic() < deadline
        world.hub.turn()
    assert world.channel.closed
    assert world.finished == 1
    assert world.exits == [0]


def test_begin_is_safe_to_repeat(world: World) -> None:
    drain = Drain(world)
    drain.begin("one")
    drain.begin("two")
    assert len(world.hub.due) == 1


def test_a_cancel_that_fails_does_not_keep_the_worker(world: World) -> None:
    world.cancel_error = errors.Unreachable("down")
    Drain(world).begin("test")
    world.hub.turn()
    assert worker_state.should_stop == 0


def test_a_worker_without_a_consumer_stops(world: World) -> None:
    world.task_consumer = None  # type: ignore[assignment] - between two connections
    Drain(world).begin("test")
    world.hub.turn()
    assert worker_state.should_stop == 0


def test_the_first_signal_drains_and_the_second_hurries(world: World) -> None:
    world.channel.unsettled = 1
    drain = Drain(world)
    drain.on_signal(signal.SIGTERM, None)
    assert world.hub.called.wait(5)  # from its own thread: the handler itself may take no lock
    world.hub.turn()
    assert drain.began
    assert world.exits == []
    drain.on_signal(signal.SIGINT, None)
    world.hub.turn()
    assert world.exits == [0]
    assert world.channel.closed


# -- the watch ---------------------------------------------------------------------------------
class Machine:
    """An instance, as its metadata tells."""

    def __init__(self) -> None:
        self.notice: str | None = None
        self.granted: str | None = "terminate"
        self.terminated: list[str] = []

    def spot_action(self) -> str | None:
        return self.notice

    def verdict(self) -> str | None:
        return self.granted

    def terminate(self, ids: list[str]) -> None:
        self.terminated += ids


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(lifecycle.identity, "instance_id", lambda: "i-1")
    monkeypatch.setattr(lifecycle.identity, "metadata", lambda: machine)
    monkeypatch.setattr(lifecycle, "Fleet", lambda settings: machine)
    monkeypatch.setattr(lifecycle, "Objects", lambda settings, bucket: None)
    monkeypatch.setattr(lifecycle, "Leaving", lambda *args, **ports: machine)
    return machine


def watch(world: World, monkeypatch: pytest.MonkeyPatch, *, idle: float,
          patience: float | None) -> tuple[Watch, Drain]:
    monkeypatch.setattr(lifecycle, "load", lambda: settings_module.build({"idle_shutdown": patience}))
    monkeypatch.setattr(lifecycle.pipeline, "current", lambda: SimpleNamespace(
        last_activity=time.monotonic() - idle))
    drain = Drain(world)
    return Watch(drain, SimpleNamespace(wants_to_leave=False)), drain


def test_a_spot_notice_drains(world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    looker, drain = watch(world, monkeypatch, idle=0, patience=None)
    looker._look()
    assert not drain.began
    machine.notice = '{"action": "terminate"}'
    looker._look()
    assert drain.began


@pytest.mark.parametrize(("idle", "patience", "granted", "ends"), [
    (100, None, "terminate", False), (5, 60, "terminate", False),
    (100, 60, None, False), (100, 60, "terminate", True)])
def test_an_idle_instance_asks_for_its_own_end_once(
        world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, idle: float,
        patience: float | None, granted: str | None, ends: bool) -> None:
    machine.granted = granted
    looker, drain = watch(world, monkeypatch, idle=idle, patience=patience)
    looker._look()
    looker._look()
    assert machine.terminated == (["i-1"] if ends else [])
    assert not drain.began  # that comes with the SIGTERM


def test_an_idle_worker_outside_an_instance_drains(
        world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle.identity, "instance_id", lambda: None)
    looker, drain = watch(world, monkeypatch, idle=100, patience=60)
    looker._look()
    assert drain.began


def test_a_busy_worker_is_not_idle(
        world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_state, "reserved_requests", {object()})
    looker, _ = watch(world, monkeypatch, idle=100, patience=60)
    looker._look()
    assert machine.terminated == []


def test_a_fault_of_the_metadata_service_does_not_end_the_watch(
        world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "LOOK_EVERY", 0.001)
    looker, drain = watch(world, monkeypatch, idle=0, patience=None)
    answers = iter([errors.Unreachable("down"), errors.Unreachable("down")])

    def spot_action() -> str | None:
        for error in answers:
            raise error
        return "terminate"

    monkeypatch.setattr(machine, "spot_action", spot_action)
    looker.run()
    assert drain.began


def test_a_worker_beats_until_it_drains(
        world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lifecycle, "LOOK_EVERY", 0.01)
    looker, drain = watch(world, monkeypatch, idle=0, patience=None)
    drain.heartbeat = Heartbeat(tmp_path / "beat")
    machine.notice = '{"action": "terminate"}'  # the first look ends it
    looker.run()
    assert drain.began
    assert heartbeat.age(tmp_path / "beat") is not None
