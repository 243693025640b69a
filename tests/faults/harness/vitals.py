"""How a process is: memory, descriptors, threads, children, what it logged."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Process

#: Bytes of resident memory, descriptors and threads that a fault may add for good: an
#: allocator's arenas, a pool's connections and threads that it had not needed before.
GROWTH = {"resident": 150_000_000, "descriptors": 64, "threads": 64}
#: Log lines for each request, and of a process's own (starting, retrying, reporting).
LINES, OWN_LINES = 20, 1500


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """One look at one process."""

    resident: int
    descriptors: int
    threads: int
    children: int
    lines: int
    tracebacks: int


def look(process: Process) -> Vitals:
    """Raises `FileNotFoundError` for a process that has gone."""
    proc = Path("/proc") / str(process.pid)
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (proc / "status").read_text(), re.MULTILINE))
    output = process.output
    children = 0
    for thread in (proc / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended a moment ago
            children += len((thread / "children").read_text().split())
    return Vitals(
        resident=int(status["VmRSS"]) * 1024, threads=int(status["Threads"]),
        descriptors=len(list((proc / "fd").iterdir())), children=children,
        lines=output.count("\n"), tracebacks=output.count("Traceback (most recent call last)"))


def judge(name: str, before: Vitals, after: Vitals, requests: int) -> list[str]:
    """What is not bounded, in words."""
    found = [f"{name}: {field} grew from {old} to {new}" for field, most in GROWTH.items()
             if (new := getattr(after, field)) - (old := getattr(before, field)) > most]
    if after.children > before.children:
        found.append(f"{name}: {after.children - before.children} child processes left")
    if after.lines - before.lines > LINES * requests + OWN_LINES:
        found.append(f"{name}: {after.lines - before.lines} log lines for {requests} requests")
    if after.tracebacks > before.tracebacks:
        found.append(f"{name}: {after.tracebacks - before.tracebacks} tracebacks in the log")
    return found
