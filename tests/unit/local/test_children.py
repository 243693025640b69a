"""Processes are started, bounded and ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from irs.local import children
from tests.processes import until

#: Both say that they are ready; one ignores SIGTERM, the other obeys it.
_WAIT = "print('ready', flush=True); time.sleep(60)"
STUBBORN = f"import signal, time; signal.signal(15, signal.SIG_IGN); {_WAIT}"
DOCILE = f"import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); {_WAIT}"


def start(tmp_path: Path, code: str) -> children.Child:
    child = children.spawn("test", [sys.executable, "-c", code], log=tmp_path / "log",
                           env=children.base_env())
    until(lambda: "ready" in child.tail() or child.poll() is not None)
    return child


def test_a_child_that_obeys(tmp_path: Path) -> None:
    child = start(tmp_path, DOCILE)
    assert child.stop(grace=20)
    assert child.poll() == 7


def test_a_child_that_does_not(tmp_path: Path) -> None:
    child = start(tmp_path, STUBBORN)
    assert not child.stop(grace=0.1)
    assert child.poll() == -signal.SIGKILL


def test_what_a_child_left_behind_ends_with_it(tmp_path: Path) -> None:
    child = start(tmp_path, (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n"
        "print('pid', p.pid, flush=True); time.sleep(60)"))
    until(lambda: "pid" in child.tail())
    grandchild = int(child.tail().split("pid ")[1].split()[0])
    child.stop(grace=20)
    until(lambda: children.identity(grandchild) is None)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's; elsewhere pid files do it")
def test_children_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from irs.local import children\n"
        f"c = children.spawn('x', [sys.executable, '-c', {DOCILE!r}], log=Path('child.log'),"
        " env=children.base_env())\n"
        "print(c.pid, flush=True); c.wait(60)")
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE,
                          env=children.base_env(), text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        until(lambda: "ready" in children.tail(tmp_path / "child.log"))
        starter.kill()
    until(lambda: children.identity(pid) is None)


def test_an_orphan_is_found_by_its_pid_file_and_ended(tmp_path: Path) -> None:
    child = start(tmp_path, DOCILE)
    note = tmp_path / "pid"
    children.write_pid(note, child.pid)
    assert children.end_orphans([note], grace=20) == [child.pid]
    assert child.wait(20) == 7
    assert not note.exists()


def test_an_orphan_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = start(tmp_path, STUBBORN)
    children.write_pid(tmp_path / "pid", child.pid)
    assert children.end_orphans([tmp_path / "pid"], grace=0.1) == [child.pid]
    assert child.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize("text", ["", "{pid}", "{pid} 12345", "nonsense", "{pid} \n"])
def test_a_pid_that_means_another_process_is_left_alone(tmp_path: Path, text: str) -> None:
    child = start(tmp_path, DOCILE)
    note = tmp_path / "pid"
    note.write_text(text.format(pid=child.pid))
    assert children.end_orphans([note], grace=0) == []
    assert child.poll() is None
    assert not note.exists()
    child.kill()


def test_identity_of_a_process_that_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert children.identity(process.pid) is None
    assert children.identity(os.getpid())


def test_logs_are_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("a") as writer:
        writer.write("old\n" * 100)
        writer.flush()
        children.trim(log, limit=1000)
        assert log.read_text() == "old\n" * 100, "below the limit nothing moves"
        children.trim(log, limit=100)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").read_text() == "old\n" * 100
    children.trim(tmp_path / "none")


def test_the_log_of_the_last_start_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second"):
        children.spawn("x", [sys.executable, "-c", f"print('{word}')"], log=tmp_path / "log",
                       env=children.base_env()).wait(20)
    assert children.tail(tmp_path / "log") == "second"
    assert children.tail(tmp_path / "log.1") == "first"
    assert children.tail(tmp_path / "none") == ""


def test_the_environment_carries_neither_settings_nor_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IRS_MODEL", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "SECRET"):
        monkeypatch.setenv(name, "x")
    env = children.base_env()
    assert not [n for n in env if n.startswith(("IRS_", "AWS_")) or n == "SECRET"]
    assert str(children.ROOT) in env["PYTHONPATH"].split(os.pathsep)
