"""Instances that are processes, the scalers that launch them, and what must hold of both (P6)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from irs import errors
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import journal
from irs.local import children
from irs.local.machine import PID_FILE
from tests.processes import Process, environment, until

if TYPE_CHECKING:
    from tests.faults.harness.stack import Stack

#: Seconds between counts of the fleet.
COUNT = 0.25
#: Seconds for an instance to boot, for a scaler to see a loss and act: on a busy machine.
PATIENCE = 60.0


class Hosts:
    """`irs.local.instances` and any number of `irs.scaler`, as processes; a context manager.

    Scalers are behind the proxy ``scaler``. What they tell their instances is their own
    endpoint, so the instances' calls come through it as well.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        #: a copy: what a fault breaks here is nobody else's
        self.models = stack.directory / "machine-image"
        shutil.copytree(stack.settings.model_dir, self.models)
        self.settings = stack.settings.model_copy(update={
            "model_dir": self.models, "state_dir": stack.directory / ".irs"})
        self.fleet = Fleet(self.settings)
        self._queue = Queue(self.settings, self.settings.input_queue)
        self._journal = Objects(self.settings, self.settings.output_bucket)
        #: the most instances that were ever active at once
        self.most = 0
        #: pid and identity of every process of an instance that was ever seen
        self.seen: dict[int, str] = {}
        self.scalers: list[Process] = []
        self._end = threading.Event()
        self._counter = threading.Thread(target=self._count, name="count-fleet", daemon=True)

    def __enter__(self) -> Hosts:
        self._runner = Process([sys.executable, "-m", "irs.local.instances"],
                               environment(self.settings), self._stack.directory)
        self._counter.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self.fleet.terminate([i.id for i in self.fleet.describe()])
            until(lambda: not self.processes(), PATIENCE, "the instances' processes have ended")
        finally:
            self._end.set()
            self._counter.join()
            self._runner.stop(PATIENCE)
        left = [pid for pid, identity in self.seen.items() if children.identity(pid) == identity]
        assert not left, f"P6: processes {left} of instances are left behind"

    # -- scalers -------------------------------------------------------------------------
    def start_scaler(self) -> Process:
        """One more."""
        found = Process([sys.executable, "-m", "irs.scaler"],
                        self._stack.environment("scaler"), self._stack.directory)
        self._stack.adopt(found)
        self.scalers.append(found)
        return found

    def leader(self) -> Process:
        """The scaler that acts, by the journal's word."""
        return until(self._leader, PATIENCE, "a scaler leads")

    def _leader(self) -> Process | None:
        holder = self.journal().holder  # place/pid/host
        return next((scaler for scaler in self.scalers
                     if scaler.popen.poll() is None and f"/{scaler.pid}/" in holder), None)

    def journal(self) -> journal.Journal:
        """As it is now; a fresh one where there is none."""
        try:
            return journal.Journal.from_json(self._journal.get(journal.key(self.settings.cluster)))
        except errors.NotFound:
            return journal.Journal()

    # -- instances -----------------------------------------------------------------------
    def active(self) -> list[str]:
        """Ids of the instances that work or boot."""
        found = [i.id for i in self.fleet.describe() if i.active]
        self.most = max(self.most, len(found))
        return found

    def processes(self) -> dict[str, int]:
        """Instance id to the pid of its process, of those that run."""
        found = {}
        for path in (self.settings.state_dir / "instances").glob(f"*/{PID_FILE}"):
            with contextlib.suppress(FileNotFoundError):
                pid, _, identity = path.read_text().strip().partition(" ")
                if identity and children.identity(int(pid)) == identity:
                    found[path.parent.name] = int(pid)
                    self.seen[int(pid)] = identity
        return found

    def ready(self) -> bool:
        """Whether each active instance's worker takes tasks."""
        active = self.active()
        return bool(active) and all('"worker.ready"' in self.console(i) for i in active)

    def console(self, instance_id: str) -> str:
        """What an instance has written."""
        path = self.directory(instance_id) / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def failed(self) -> list[str]:
        """Ids of instances that refused to work: their worker ended by itself, with an error."""
        return [line["instance"] for line in map(json.loads, self._runner.output.splitlines())
                if line["event"] == "instance.exited" and line["code"]]

    def directory(self, instance_id: str) -> Path:
        """An instance's own."""
        return self.settings.state_dir / "instances" / instance_id

    def busy(self) -> str:
        """Wait until a worker holds a message; the id of an instance with a process."""
        until(lambda: self._queue.depth().in_flight, PATIENCE, "a message is in flight")
        return next(iter(until(self.processes, PATIENCE, "an instance has a process")))

    def kill(self, instance_id: str) -> None:
        """SIGKILL to an instance's processes, the way that power goes; EC2 has not noticed."""
        os.killpg(self.processes()[instance_id], signal.SIGKILL)

    def lose(self) -> list[str]:
        """Every instance is terminated by somebody else: the scaler must launch another."""
        gone = self.active()
        self.fleet.terminate(gone)
        return gone

    def _count(self) -> None:
        while not self._end.wait(COUNT):
            self.active()
            self.processes()

    # -- judgement -----------------------------------------------------------------------
    def broken(self) -> list[str]:
        """P6 of the fleet, once all is well again."""
        found = []
        if self.most > self.settings.max_instances:
            found.append(f"P6: {self.most} instances at once, {self.settings.max_instances} are allowed")
        deadline = time.monotonic() + PATIENCE
        while odd := self._odd():
            if time.monotonic() > deadline:
                return found + odd
            time.sleep(COUNT)  # between looks, not instead of them
        return found

    def _odd(self) -> list[str]:
        """Orphans: instances that no scaler knows or that do not run, processes of no instance."""
        active, running = set(self.active()), set(self.processes())
        known = {member.id for member in self.journal().fleet}
        return ([f"P6: no scaler knows instance {i}" for i in active - known]
                + [f"P6: no process runs for instance {i}" for i in active - running]
                + [f"P6: a process runs for {i}, which is no instance" for i in running - active]
                + ["P6: an intent is left"] * bool(self.journal().intents))
