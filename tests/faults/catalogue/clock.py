"""Clocks that are wrong.

libfaketime, preloaded, moves what a process is told of the time of day; its monotonic clock
and its waits stay true, as they do on a machine whose clock is set wrong. The endpoint does
not judge the signatures' dates, as AWS would beyond some minutes: what is tried here is our
own trust in clocks.
"""

from __future__ import annotations

import importlib.util
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from irs.results.store import ResultStore
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.catalogue.processes import let_go
from tests.faults.harness.stack import Stack

#: Seconds that a stamp of the moved process may be off the move by.
SLACK = 120.0
#: Seconds for a worker to come up, on a busy machine.
UP = 20.0


def moved(seconds: int) -> Mapping[str, str]:
    """Environment of a process whose clock is off by ``seconds``."""
    # Found and not imported: the package itself wants to start the process anew.
    spec = importlib.util.find_spec("libfaketime")
    assert spec is not None and spec.origin is not None, "pip install -r requirements.txt"
    library = Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Skew(Fault):
    """The clock of the only worker, or of the only web tier, is off by ``by`` seconds."""

    number: int = 15
    tier: str
    by: int

    def inject(self, stack: Stack) -> Active:
        return _Skewed(stack, self.tier, self.by).begin()


class _Skewed:
    def __init__(self, stack: Stack, tier: str, by: int) -> None:
        self._stack = stack
        self._tier = tier
        self._by = by
        self._old = frozenset(stack.ledger.accepted)

    def begin(self) -> Self:
        self._replace(moved(self._by))
        return self

    def clear(self) -> None:
        self._replace({})

    def _replace(self, env: Mapping[str, str]) -> None:
        stack = self._stack
        if self._tier == "web":
            old = list(stack.webs)
            stack.start_web(env=env)
            for web in old:
                let_go(stack, web)
            return
        workers, worker = list(stack.workers), stack.start_worker(wait=False, env=env)
        deadline = time.monotonic() + UP
        # Another fault may keep it from coming up; that one's end is not to wait for this.
        while not worker.ready() and time.monotonic() < deadline:
            time.sleep(0.05)  # between looks, not instead of them
        for one in workers:
            stack.end(one, signal.SIGTERM)

    @property
    def fired(self) -> int:
        """Stamps that are off, and by as much as was asked for: without one nothing was tried."""
        store = ResultStore(self._stack.settings)
        field = "received" if self._tier == "web" else "started"
        now = datetime.now(UTC)
        stamps = [result.times[field] for job_id in self._stack.ledger.accepted.keys() - self._old
                  if (result := store.read(job_id)) is not None and field in result.times]
        return sum(abs((datetime.fromisoformat(stamp) - now).total_seconds() - self._by) < SLACK
                   for stamp in stamps)


FAULTS: tuple[Fault, ...] = tuple(
    Skew(name=f"clock-{tier}-{way}", tier=tier, by=by, seconds=12.0)
    for tier in ("worker", "web") for way, by in (("ahead", 600), ("behind", -600)))
