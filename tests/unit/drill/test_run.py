"""One drill from its load to its verdict, on a service in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.domain import keys
from irs.drill import run, target
from irs.drill.client import Reply
from irs.drill.drills import DRILLS, Drill, Field
from irs.drill.pictures import Picture
from irs.drill.target import Target
from irs.local import children

HERE = {"aws_endpoint_url": "http://127.0.0.1:4566", "aws_access_key_id": "test",
        "aws_secret_access_key": "test"}


class Memory:
    """Client, buckets and all: what is submitted is done at once, or is forgotten."""

    def __init__(self) -> None:
        self.url = "http://127.0.0.1:1"
        self.settings = settings_module.build(HERE)
        self.client = self.inputs = self.outputs = self
        self.forgets = self.away = False
        self._lock = threading.Lock()
        self._said: dict[str, dict[str, Any]] = {}
        self._names: list[str] = []

    def submit(self, name: str, image: bytes, *, wait: float) -> Reply:
        if self.away:
            raise ConnectionResetError("away")
        job_id = keys.new_id()
        with self._lock:
            self._names.append(f"{job_id}/{name}")
        if self.forgets:
            return Reply(status=202, said={"id": job_id, "status": "queued"})
        sha256 = Picture(name=name, data=image).sha256
        said = {"id": job_id, "status": "done", "label": "cat", "input": {"sha256": sha256}}
        with self._lock:
            self._said[job_id] = said
        return Reply(status=200, said=said)

    def job(self, job_id: str) -> Reply:
        return Reply(status=200, said=self._said.get(job_id, {"status": "queued"}))

    def keys(self) -> Iterator[str]:
        return iter(list(self._names))

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        return json.dumps(self._said[key.removesuffix(".json")]).encode(), ""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    for name, seconds in (("LEAD", 0.05), ("TAIL", 0.0), ("HEAL", 0.5)):
        monkeypatch.setattr(run, name, seconds)
    return Memory()


def drill(strike: Any = lambda _: 1, **more: Any) -> Drill:
    return Drill(name="test", help="", strike=strike, **more)


def test_a_service_that_keeps_its_promises_passes(memory: Memory) -> None:
    found = run.run(drill(), memory, rate=50, seed=1)  # type: ignore[arg-type]
    assert found.ok, found.broken
    assert (found.injected, found.lost, found.duplicated) == (1, 0, 0)
    assert found.accepted == found.final > 0
    assert found.as_dict()["ok"] is True
    assert len(found.line) >= len(found.HEAD) - 2


def test_what_is_lost_never_heals(memory: Memory) -> None:
    def strike(ground: Field) -> int:
        memory.forgets = True
        ground.load.submit()
        memory.forgets = False
        return 1

    found = run.run(drill(strike), memory, rate=50)  # type: ignore[arg-type]
    assert not found.ok
    assert (found.lost >= 1, found.healed_in) == (True, None)
    assert "never" in found.line


@pytest.mark.parametrize("excused", [True, False])
def test_silence_is_for_drills_that_kill_the_web_tier(memory: Memory, excused: bool) -> None:
    def strike(ground: Field) -> int:
        memory.away = True
        ground.load.submit()
        memory.away = False
        return 1

    found = run.run(drill(strike, unanswered=excused), memory, rate=50)  # type: ignore[arg-type]
    assert found.ok is excused, found.broken


def test_a_drill_that_has_not_struck_shows_nothing(memory: Memory) -> None:
    found = run.run(drill(lambda _: 0), memory, rate=50)  # type: ignore[arg-type]
    assert found.broken == ("test has not struck, so nothing is shown",)
    assert not found.ok


def test_what_is_left_behind_is_said(memory: Memory) -> None:
    found = run.run(drill(tidy=lambda _: ["2 of 6 are left"]), memory, rate=50)  # type: ignore[arg-type]
    assert found.broken == ("2 of 6 are left",)


def test_a_drill_that_fails_stops_its_load(memory: Memory) -> None:
    def strike(_: Field) -> int:
        raise errors.Unreachable("gone")

    with pytest.raises(errors.Unreachable):
        run.run(drill(strike), memory, rate=50)  # type: ignore[arg-type]
    assert not [t for t in threading.enumerate() if t.name == "drill-load"]


@pytest.mark.parametrize(("endpoint", "url", "local", "yes", "refusal"), [
    pytest.param("http://127.0.0.1:4566", "http://localhost:8080", False, False, None, id="here"),
    pytest.param("http://127.0.0.1:4566", "http://[::1]:8080", True, False, "no process web",
                 id="nothing runs"),
    pytest.param(None, "https://irs.example", False, False, "add --yes", id="AWS"),
    pytest.param(None, "http://127.0.0.1:8080", False, False, "add --yes", id="AWS behind a web tier here"),
    pytest.param(None, "https://irs.example", False, True, None, id="AWS, meant"),
    pytest.param(None, "https://irs.example", True, True, "AWS's API only", id="AWS, signals"),
    pytest.param("http://10.0.0.9:4566", "http://127.0.0.1:8080", True, True, "AWS's API only",
                 id="elsewhere"),
])
def test_where_a_drill_may_be_run(
        tmp_path: Path, endpoint: str | None, url: str, local: bool, yes: bool,
        refusal: str | None) -> None:
    found = Target(settings_module.build(
        HERE | {"aws_endpoint_url": endpoint, "state_dir": tmp_path}), url)
    if refusal is None:
        run.allowed(drill(local=local), found, yes=yes)
        return
    with pytest.raises(errors.SettingsError, match=refusal) as caught:
        run.allowed(drill(local=local), found, yes=yes)
    assert "\n" not in str(caught.value)


def test_a_service_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(errors.Unreachable, match=r"nothing answers at .*irs up") as caught:
        Target(settings_module.build(HERE), "http://127.0.0.1:9").ready()
    assert "\n" not in str(caught.value)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, noted as the emulator of a run in ``tmp_path``."""
    (tmp_path / "run").mkdir()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                               start_new_session=True)
    children.write_pid(tmp_path / "run" / "emulator.pid", process.pid)
    yield process
    process.kill()
    process.communicate()


def test_a_frozen_process_goes_on_whatever_happens(
        sleeper: subprocess.Popen[bytes], memory: Memory, tmp_path: Path) -> None:
    place = Target(settings_module.build(HERE | {"state_dir": tmp_path}), "http://127.0.0.1:1")
    seen: list[str] = []

    class Look(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
            seen.append(Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[0])
            raise KeyboardInterrupt

    ground = Field(target=place, load=None, token="t", seconds=20, stop=Look())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        DRILLS["freeze-cloud"].strike(ground)
    assert seen == ["T"]
    os.waitid(os.P_PID, sleeper.pid, os.WCONTINUED)


def test_a_pid_that_is_somebody_elses_by_now_is_not_touched(
        sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    place = Target(settings_module.build(HERE | {"state_dir": tmp_path}), "http://127.0.0.1:1")
    assert place.pid("emulator") == sleeper.pid
    (tmp_path / "run" / "emulator.pid").write_text(f"{sleeper.pid} another\n")
    with pytest.raises(errors.SettingsError, match="no process emulator"):
        place.pid("emulator")
    target.send(sleeper.pid, signal.SIGKILL)
    assert sleeper.wait(10) == -signal.SIGKILL


