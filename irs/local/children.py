"""Child processes: each in a session of its own, with a bounded log, ended for certain.

A session of its own keeps a terminal's Ctrl-C from reaching a child before its supervisor
has decided in which order to stop things.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from irs import settings as settings_module

#: Where `irs` and the entry scripts import from.
ROOT = Path(__file__).resolve().parents[2]
_LAUNCH = Path(__file__).with_name("launch.py")
#: What every program expects of its environment, and nothing that configures us or AWS.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")
#: Bytes of a log before it is cut; with the one old file kept, twice this a child.
LOG_LIMIT = 10_000_000
#: Seconds for the kernel to take a process away after SIGKILL (uninterruptible I/O).
_REAP = 10.0


class Child:
    """One running process and its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The command's own pid; also the id of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """The exit code once it has ended within ``seconds``, else None."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """SIGTERM to the main process alone: a pool's children are its own to stop."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the whole group, and reap."""
        kill_group(self.pid)
        self._process.wait(_REAP)

    def stop(self, grace: float) -> bool:
        """SIGTERM, up to ``grace`` seconds, SIGKILL; True when it ended by itself."""
        self.terminate()
        ended = self.wait(grace) is not None
        self.kill()  # the group: what the main process may have left behind
        return ended

    def tail(self, lines: int = 10) -> str:
        """The log's last lines."""
        return tail(self.log, lines)


def spawn(name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str],
          cwd: Path | None = None, pass_fds: Sequence[int] = ()) -> Child:
    """Start ``command``; its output goes to ``log``, whose predecessor is kept as ``.1``.

    Call it from a thread that outlives the child: see `irs.local.launch`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(_old(log))
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
            [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env=dict(env), cwd=cwd, start_new_session=True, pass_fds=pass_fds)
    return Child(name, process, log)


def base_env() -> dict[str, str]:
    """The environment of a process that gets its settings elsewhere: none of ours, no AWS."""
    env = settings_module.environment(*_INHERITED)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    env["PYTHONUNBUFFERED"] = "1"
    return env


def full_env() -> dict[str, str]:
    """This process's own environment, for a child that is to have its settings and credentials."""
    return settings_module.environment() | base_env()


def kill_group(pgid: int) -> None:
    """SIGKILL to a group; one that is gone is no error."""
    # macOS answers EPERM for a group of which only a zombie is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def identity(pid: int) -> str | None:
    """What tells this process from a later one of the same pid; None when it has ended."""
    try:
        # After the command's name in brackets: state is field 3, start time field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        found = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S603
                               capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None if fields[0] in "ZX" else fields[19]


def write_pid(path: Path, pid: int) -> None:
    """Note a process so that `end_orphans` can find it after our own death."""
    path.write_text(f"{pid} {identity(pid) or ''}\n")


def end_orphans(paths: Iterable[Path], grace: float) -> list[int]:
    """End what `write_pid` noted, where it still is the same process; the pids of those ended.

    All get SIGTERM at once and share the ``grace``; SIGKILL to the groups of the rest.
    """
    alive = {}
    for path in paths:
        pid_text, _, noted = path.read_text().strip().partition(" ")
        path.unlink()
        # A pid that means another process by now is not ours to end.
        if pid_text.isdecimal() and noted and identity(int(pid_text)) == noted:
            alive[int(pid_text)] = noted
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    ended = _gone(alive, grace)
    for pid in alive:
        kill_group(pid)
    if not ended and not _gone(alive, _REAP):
        raise OSError(f"processes {sorted(alive)} of the last run cannot be ended")
    return sorted(alive)


def _gone(noted: Mapping[int, str], seconds: float) -> bool:
    # Not our children: nothing to wait on, so look, with a deadline.
    deadline = time.monotonic() + seconds
    while any(identity(pid) == start for pid, start in noted.items()):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def trim(log: Path, limit: int = LOG_LIMIT) -> None:
    """Move a log's text to ``.1`` once it is over ``limit`` bytes.

    The writer has it open for appending, so it goes on at the new end, which is the start.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > limit:
            shutil.copyfile(log, _old(log))
            os.truncate(log, 0)


def tail(log: Path, lines: int = 10, *, span: int = 16_384) -> str:
    """The last lines of a log, or nothing where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - span))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _old(log: Path) -> Path:
    return log.with_name(log.name + ".1")
