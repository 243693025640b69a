"""The service's tiers as processes of one benchmark: cloud, web tiers, workers.

    with Tiers(directory, cores={"worker": {1}}, max_batch=16) as tiers:
        web, worker = tiers.web(), tiers.worker()

Each is a real process with the settings given and defaults for the rest, ended by its pid.
Figures of memory and CPU come from ``/proc``: Linux only.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from irs import settings as settings_module
from irs.aws import provision
from irs.local import children
from irs.local.emulator import HOST, Emulator, bind
from irs.settings import Settings

#: Seconds for a tier to come up: imports on a busy machine, with room.
START = 90.0
#: Seconds for a tier to end by itself: a drain, and a long poll under way.
STOP = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll ``condition`` until it is true; raises `TimeoutError` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return value


class Tier:
    """One process, its log and what it has used."""

    def __init__(self, child: children.Child, url: str = "") -> None:
        self.child = child
        self.url = url

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.child.pid

    def log(self) -> str:
        """All that it has logged."""
        return self.child.log.read_text(errors="replace")

    def memory(self, what: str = "VmRSS") -> float:
        """MB of memory now; ``VmHWM`` for the most that it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1000
        raise ValueError(f"no {what} in /proc/{self.pid}/status")

    def cpu(self) -> float:
        """Seconds of CPU time so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


class Tiers:
    """A cloud of its own on a free port, and what is started on it; a context manager.

    ``cores`` pins tiers by name (``cloud``, ``web``, ``worker``) to sets of core numbers.
    """

    def __init__(self, directory: Path, *, cores: Mapping[str, Collection[int]] | None = None,
                 **overrides: Any) -> None:
        self._directory = directory
        self._cores = dict(cores or {})
        self._overrides = overrides
        self._tiers: list[Tier] = []
        self._emulator = Emulator(directory / "cloud", log=directory / "emulator.log")
        self.settings: Settings

    def __enter__(self) -> Tiers:
        self._emulator.start()
        self._pin("cloud", self._emulator.child.pid)
        self.settings = settings_module.build({
            "aws_endpoint_url": self._emulator.endpoint, "aws_access_key_id": "test",
            "aws_secret_access_key": "test", "poll_wait": 2, "log_format": "json",
            # Refuses at once: the workers are not on instances.
            "metadata_endpoint": f"http://{HOST}:9",
            # The same few photographs come over and over, and each is to be worked on.
            "reuse": "off",
            # Where `irs up` in this directory keeps its own: exported once.
            "model_dir": Path(".irs/models").absolute(),
        } | self._overrides)
        provision.ensure(self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        for tier in reversed(self._tiers):
            tier.child.stop(STOP)
        self._emulator.stop()

    @property
    def cloud(self) -> Tier:
        """The emulator."""
        return Tier(self._emulator.child)

    def web(self, script: str = str(children.ROOT / "web_entry.py"), **env: str) -> Tier:
        """A web tier that is ready; ``script``: another checkout's, of the same settings."""
        with bind(0) as free:
            port = free.getsockname()[1]
        tier = self._start("web", script, url=f"http://{HOST}:{port}",
                           IRS_PORT=str(port), **env)
        until(lambda: lives(tier) and ready(tier.url), START, "web tier ready")
        return tier

    def worker(self, *, wait: bool = True, **env: str) -> Tier:
        """A worker; one that takes tasks, unless ``wait`` is false."""
        tier = self._start("worker", str(children.ROOT / "worker_entry.py"), **env)
        if wait:
            until(lambda: lives(tier) and "worker.ready" in tier.log(), START, "worker ready")
        return tier

    def monitor(self, *arguments: str, ready: str, **env: str) -> Tier:
        """``celery -A irs ARGUMENTS…``, once its log has ``ready``."""
        tier = self._start("monitor", "-m", "celery", "-A", "irs", *arguments,
                           PYTHONPATH=str(children.ROOT), **env)
        until(lambda: lives(tier) and ready in tier.log(), START, "monitor ready")
        return tier

    def _start(self, name: str, *command: str, url: str = "", **env: str) -> Tier:
        number = len(self._tiers)
        fields = type(self.settings).model_fields
        given = settings_module.as_env(
            self.settings, *(n for n in fields if getattr(self.settings, n) != fields[n].default))
        child = children.spawn(
            name, [sys.executable, *command], cwd=self._directory,
            log=self._directory / f"{name}-{number}.log", env=children.base_env() | given | env)
        tier = Tier(child, url)
        self._tiers.append(tier)
        self._pin(name, child.pid)
        return tier

    def _pin(self, name: str, pid: int) -> None:
        if name in self._cores:
            os.sched_setaffinity(pid, self._cores[name])


def lives(tier: Tier) -> bool:
    """True; raises `RuntimeError` with the log's end where its process has ended."""
    if tier.child.poll() is not None:
        raise RuntimeError(f"{tier.child.name} ended:\n{tier.child.tail()}")
    return True


def ready(url: str) -> bool:
    """Whether a web tier says that it is."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """A folder for what the embedded cloud keeps: on a RAM disk, where there is one.

    On a disk its calls cost more with every file that was deleted there before, and part of that
    is the kernel's, on any core: nothing that is measured here is to pay for it.
    """
    ram = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="irs-", dir=ram if os.access(ram, os.W_OK) else None)


def verdict(found: Any, broken: Sequence[str], path: Path | None) -> int:
    """Write the figures as JSON where that was asked for, print what is missed; the exit code."""
    if path:
        path.write_text(json.dumps(found, indent=1))
    for line in broken:
        print(f"MISSED: {line}")
    return 1 if broken else 0
