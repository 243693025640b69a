"""Machines that run out: of disk, of memory.

A process's limits are lowered from outside while it runs (prlimit(2)) and raised again: it
needs no rights, no file system and no control group of its own, and strikes that process
alone. A write that RLIMIT_FSIZE forbids fails as one on a full disk does, but for its errno
(EFBIG in place of ENOSPC), which nothing here looks at.
"""

from __future__ import annotations

import re
import resource
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness import poisons
from tests.faults.harness.stack import Stack
from tests.processes import Answer, Process

#: Bytes that a worker may allocate beyond what it has: enough for Python, too little for an image
#: of `poisons.wide`.
LITTLE = 4_000_000


class _Limited:
    """A limit of some processes, until `clear`."""

    def __init__(self, which: int) -> None:
        self._which = which
        self._before: list[tuple[int, tuple[int, int]]] = []

    def lower(self, process: Process, most: int) -> None:
        """The soft limit: the hard one stays, so that it can be undone."""
        before = resource.prlimit(process.pid, self._which)
        self._before.append((process.pid, before))
        resource.prlimit(process.pid, self._which, (most, before[1]))

    def clear(self) -> None:
        while self._before:
            resource.prlimit(self._before[-1][0], self._which, self._before[-1][1])
            self._before.pop()


@dataclass(frozen=True, kw_only=True, eq=False)
class DiskFull(Fault):
    """No file can be written: a worker's or a web tier's."""

    number: int = 16
    tier: str

    def inject(self, stack: Stack) -> Active:
        return (_WebDisk(stack) if self.tier == "web" else _WorkerDisk(stack)).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        return active.broken if isinstance(active, _WebDisk) else []


class _WorkerDisk:
    """Its log, and whatever else it may write, cannot grow."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._limit = _Limited(resource.RLIMIT_FSIZE)
        self._logged = 0
        self.fired = 0

    def begin(self) -> Self:
        for worker in self._stack.workers:
            self._limit.lower(worker, 0)
            self._logged += worker.log.stat().st_size
        return self

    def clear(self) -> None:
        # It had something to say and could not: with images answered, that is a strike.
        self.fired = int(self._logged == sum(w.log.stat().st_size for w in self._stack.workers))
        self._limit.clear()


class _WebDisk:
    """Bodies that do not fit into memory have nowhere to go; small ones need no disk."""

    #: Large uploads, one after the other.
    CLIENTS = 6

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._limit = _Limited(resource.RLIMIT_FSIZE)
        self._thread = threading.Thread(target=self._upload, name="large", daemon=True)
        self.broken: list[str] = []
        self.fired = 0

    def begin(self) -> Self:
        self._limit.lower(self._stack.webs[0], 0)
        self._thread.start()
        return self

    def _upload(self) -> None:
        large = poisons.large()
        for _ in range(self.CLIENTS):
            try:
                answer = self._stack.webs[0].upload(("large.png", large), Accept="application/json")
            except OSError as exc:
                self.broken.append(f"P1: no answer to an upload that the disk has no room for: {exc!r}")
                continue
            self.fired += answer.status != 200
            self.broken += _clear_refusal(answer)

    def clear(self) -> None:
        self._thread.join()
        self._limit.clear()


def _clear_refusal(answer: Answer) -> list[str]:
    if answer.status == 200:
        return []
    if answer.status in (503, 507) and "Retry-After" in answer.headers:
        return []
    return [f"P1: an upload that the disk has no room for: {answer.status} {dict(answer.headers)} "
            f"{answer.text.strip()[:200]}"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoMemory(Fault):
    """A worker gets no more memory, for a while, and images come that need some."""

    number: int = 17

    def inject(self, stack: Stack) -> Active:
        return _Starved(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Starved)
        return active.broken


class _Starved:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._limit = _Limited(resource.RLIMIT_AS)
        self._before = ""
        self._worker: Any = None
        self._clients = [threading.Thread(target=self._upload, args=(f"wide-{number}.png",), daemon=True)
                         for number in range(4)]
        self.broken: list[str] = []

    @property
    def fired(self) -> int:
        """Jobs that it had to put off."""
        return self._worker.output[len(self._before):].count("job.postponed")

    def begin(self) -> Self:
        self._worker = self._stack.workers[0]
        self._before = self._worker.output
        status = (Path("/proc") / str(self._worker.pid) / "status").read_text()
        (size,) = re.findall(r"^VmSize:\s+(\d+)", status, re.MULTILINE)
        self._limit.lower(self._worker, int(size) * 1024 + LITTLE)
        for client in self._clients:
            client.start()
        return self

    def _upload(self, name: str) -> None:
        answer = self._stack.webs[0].upload((name, poisons.wide()), Accept="application/json")
        (found,) = answer.json["results"]
        if found["status"] not in ("done", "queued"):
            self.broken.append(f"P2: a good image without memory for it ended as {found}")

    def clear(self) -> None:
        self._limit.clear()
        for client in self._clients:
            client.join()


FAULTS: tuple[Fault, ...] = (
    DiskFull(name="disk-full-worker", tier="worker"),
    DiskFull(name="disk-full-web", tier="web", least=3),
    NoMemory(name="no-memory-worker", seconds=8.0, pairs=False),
)
