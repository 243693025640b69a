"""An instance's credentials: its role's, and new ones before they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from irs import settings as settings_module
from irs.aws.fleet import Instance
from irs.aws.metadata import Metadata
from irs.errors import AccessDenied, NotFound
from irs.local import machine as machine_module
from irs.local import role
from irs.local.machine import RENEW, Machine
from irs.local.role import Credentials

INSTANCE = Instance(id="i-1", state="running", name="A-1", type="t", launched_at=datetime.now(UTC))
#: Ends when it is told to.
PROGRAM = "import signal; signal.pause()"


def lent(number: int, left: timedelta) -> Credentials:
    return Credentials(role="app", access_key=f"ASIA{number}", secret_key="s", token="t",
                       expires=datetime.now(UTC) + left)


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``booted(life, …)``: a machine whose role's credentials live so long, one after the other."""
    entry = tmp_path / "entry.py"
    entry.write_text(PROGRAM)
    machines = []

    def boot(*lives: timedelta) -> Machine:
        found = iter([lent(number, life) for number, life in enumerate(lives, 1)])
        monkeypatch.setattr(machine_module.role, "credentials", lambda *_: next(found))
        machine = Machine(settings_module.build({"stop_grace": 5}), INSTANCE, entry, tmp_path / "i-1")
        machines.append(machine)
        machine.boot("")
        return machine

    yield boot
    for machine in machines:
        machine.power_off()


def key(machine: Machine) -> str:
    assert machine._metadata is not None
    path = "meta-data/iam/security-credentials/app"
    return str(json.loads(Metadata(machine._metadata.endpoint).get(path))["AccessKeyId"])


def test_credentials_are_renewed_while_they_still_hold(booted: Any) -> None:
    machine = booted(RENEW - timedelta(seconds=1), timedelta(hours=1))
    assert key(machine) == "ASIA1"
    assert machine.tick() is False
    assert key(machine) == "ASIA2"
    machine.tick()
    assert key(machine) == "ASIA2", "an hour is long"


def test_a_machine_that_stops_asks_for_none(booted: Any) -> None:
    """Its account may be gone before it is."""
    machine = booted(timedelta(0))
    machine.shut_down()
    machine.tick()  # to ask would raise StopIteration here
    assert machine.stopping


def test_without_the_profile_they_are_the_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_module.build({"instance_profile": "none-such", "aws_access_key_id": "mine",
                                      "aws_secret_access_key": "s"})

    def absent(*_: Any) -> Credentials:
        raise NotFound("no such profile")

    monkeypatch.setattr(role, "_assumed", absent)
    assert role.credentials(settings, "i-1").access_key == "mine"

    def denied(*_: Any) -> Credentials:
        raise AccessDenied("not you")

    monkeypatch.setattr(role, "_assumed", denied)
    with pytest.raises(AccessDenied):
        role.credentials(settings, "i-1")
