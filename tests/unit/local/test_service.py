"""A service is kept running, with patience, and ended by its deadline."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from irs.errors import IRSError
from irs.local import children, service
from irs.local.service import Service
from irs.local.signals import STOPPING, Signals
from tests.processes import until


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield Signals()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def make(tmp_path: Path, code: str) -> Service:
    made = Service("web", [sys.executable, "-c", code], log=tmp_path / "web.log",
                   pid_file=tmp_path / "web.pid", env=children.base_env())
    made.start()
    return made


def test_what_ends_starts_again_later_and_later(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = make(tmp_path, "raise SystemExit('no database')")
    now = [time.monotonic()]
    monkeypatch.setattr("irs.local.service.time.monotonic", lambda: now[0])
    waits = []
    for _ in range(service.MOST_FAILURES - 1):
        ended.child.wait(20)
        news = ended.check()
        assert news and "no database" in news
        waits.append(float(news.rpartition(" in ")[2].split()[0]))
        assert ended.check() is None, "not yet"
        now[0] += waits[-1]
        assert ended.check() == "web started again"
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    ended.child.wait(20)
    with pytest.raises(IRSError, match="failed 8 times in a row"):
        ended.check()


def test_a_long_life_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = make(tmp_path, "")
    ended.child.wait(20)
    start = time.monotonic()
    monkeypatch.setattr("irs.local.service.time.monotonic", lambda: start + service.SOUND + 1)
    assert (ended.check() or "").endswith("web starts again in 1 s")


def test_stop_removes_the_pid_file(tmp_path: Path, signals: Signals) -> None:
    running = make(tmp_path, "import time; time.sleep(60)")
    assert (tmp_path / "web.pid").exists()
    running.stop(20, signals)
    assert running.child.poll() == -signal.SIGTERM
    assert not (tmp_path / "web.pid").exists()


def test_a_second_signal_cuts_the_grace_short(tmp_path: Path, signals: Signals) -> None:
    running = make(tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN);"
                             "print('ready', flush=True); time.sleep(60)")
    until(lambda: "ready" in running.child.tail())
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    began = time.monotonic()
    running.stop(60, signals)
    assert time.monotonic() - began < 20
    assert running.child.poll() == -signal.SIGKILL


def test_a_signal_ends_a_wait_at_once(signals: Signals) -> None:
    assert not signals.is_set()
    assert not signals.wait(0.01)
    os.kill(os.getpid(), signal.SIGHUP)
    began = time.monotonic()
    assert signals.wait(60)
    assert not signals.wait(0.01, more_than=1)
    assert time.monotonic() - began < 20
    assert (signals.is_set(), signals.count) == (True, 1)


def test_nohup_is_respected() -> None:
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        Signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
