"""A child process that is kept running: watched, restarted with backoff, stopped by deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from irs.errors import IRSError
from irs.local import children
from irs.local.children import Child
from irs.local.signals import Signals

#: Seconds before the first restart; doubled up to the second number.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 30.0
#: Seconds of running after which earlier failures are forgotten.
SOUND = 60.0
#: Failures in a row after which it will not run here whatever we do.
MOST_FAILURES = 8


class Stopped(Exception):
    """A signal to stop has come."""


class Service:
    """One of the service's processes."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, pid_file: Path,
                 env: Mapping[str, str]) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._pid_file = pid_file
        self._env = dict(env)
        self._child: Child | None = None
        self._failures = 0
        self._started = 0.0
        self._restart_at: float | None = None

    @property
    def child(self) -> Child:
        """The process; raises `RuntimeError` before `start`."""
        if self._child is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._child

    def start(self) -> None:
        """Start it, in the current directory."""
        self._restart_at = None
        self._started = time.monotonic()
        self._child = self._spawn()
        children.write_pid(self._pid_file, self._child.pid)

    def _spawn(self) -> Child:
        return children.spawn(self.name, self._command, log=self._log, env=self._env)

    def check(self) -> str | None:
        """Look after it; what there is to tell, if anything.

        Raises `IRSError` when it has failed `MOST_FAILURES` times in a row.
        """
        now = time.monotonic()
        children.trim(self._log)
        if self._restart_at is not None:
            if now < self._restart_at:
                return None
            self.start()
            return f"{self.name} started again"
        code = self.child.poll()
        if code is None:
            return None
        self._failures = self._failures + 1 if now - self._started < SOUND else 1
        ended = self._ended(code)
        if self._failures >= MOST_FAILURES:
            raise IRSError(f"{ended}{self.name} has failed {self._failures} times in a row")
        wait = min(BACKOFF_FIRST * 2 ** (self._failures - 1), BACKOFF_MOST)
        self._restart_at = now + wait
        return f"{ended}{self.name} starts again in {wait:.0f} s"

    def _ended(self, code: int) -> str:
        return f"{self.name} ended with code {code}; its log {self._log} ends:\n{self.child.tail()}\n"

    def stop(self, grace: float, signals: Signals) -> None:
        """SIGTERM, SIGKILL after ``grace`` seconds or at the second signal."""
        if self._child is not None:
            end(self._child, grace, signals)
            self._pid_file.unlink(missing_ok=True)


def end(child: Child, grace: float, signals: Signals) -> None:
    """SIGTERM to the process; SIGKILL to its group after ``grace`` seconds or a second signal."""
    child.terminate()
    deadline = time.monotonic() + grace
    while child.poll() is None and time.monotonic() < deadline:
        # Short looks: a child's end wakes nobody here, a signal does.
        if signals.wait(0.05, more_than=1):
            break
    child.kill()
