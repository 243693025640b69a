"""Who holds a lease, and whether it is still there."""

from __future__ import annotations

import os
import subprocess
import sys

from irs import holders
from irs.scaler.lease import Lease
from irs.testing import FakeClock, MemoryObjects


def test_a_process_is_gone_only_if_it_was_here_and_is_not() -> None:
    here = holders.place()
    assert not holders.is_gone(holders.name())
    assert not holders.is_gone(f"{here}/{os.getpid()}/x")
    assert holders.is_gone(f"{here}/4194305/x")  # beyond Linux's largest
    assert not holders.is_gone("elsewhere/4194305/x")
    for holder in ("", here, f"{here}/", f"{here}/x/y", f"{here}/-1/x", f"{here}/1/x"):
        assert not holders.is_gone(holder), holder
    assert holders.name() != holders.name()


def test_a_scaler_that_was_killed_is_succeeded_at_once_and_one_that_hangs_is_not() -> None:
    code = "from irs import holders; print(holders.name(), flush=True); input()"
    clock, objects = FakeClock(), MemoryObjects()

    def lease(holder: str) -> Lease:
        return Lease(objects, "scaler/irs.json", holder=holder, clock=lambda: clock.now().timestamp())

    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        assert other.stdout is not None
        assert lease(other.stdout.readline().strip()).take()
        mine = lease(holders.name())
        assert not mine.take()
        other.kill()
        other.wait()
        assert mine.take()
        assert mine.journal.epoch == 2
