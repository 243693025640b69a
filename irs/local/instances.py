"""The embedded cloud's EC2 hosts: each running instance is a process of this machine.

`InstanceRunner` looks at DescribeInstances, through the public API alone, and makes it
true: an instance that runs gets a process, one that does not loses it, and a process that
ends by itself ends its instance as an operating system's shutdown would. What carries on
when this program stops and starts again is in EC2, not here: instances that are still
running are then booted anew, like those of a host that lost power.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Protocol

from irs import log
from irs import settings as settings_module
from irs.aws.fleet import Fleet, Instance
from irs.errors import CloudError, IRSError
from irs.local import children
from irs.local.machine import PID_FILE, Machine
from irs.local.signals import Signals
from irs.settings import Settings

#: Seconds between looks at DescribeInstances.
POLL = 0.5
#: Directories of ended instances that are kept for a look at their consoles.
KEPT = 20
#: In an instance's directory: ``terminate SECONDS`` or ``stop SECONDS`` announces a spot
#: interruption to it, as EC2 would; the runner takes the file away.
INTERRUPTION_FILE = "spot-interruption"

_log = log.get("instances")


class Stop(Protocol):
    """A `threading.Event`, or what answers like one."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float, /) -> bool: ...


class InstanceRunner:
    """Runs ``entry`` (a Python file) once for each active instance of the cluster.

    Not thread-safe but for `interrupt`: call `run`, or `step` and `close`, from one thread.
    """

    def __init__(self, settings: Settings, *, entry: Path | None = None) -> None:
        self._settings = settings
        self._entry = (entry or children.ROOT / "worker_entry.py").resolve()
        self._directory = settings.state_dir.resolve() / "instances"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._fleet = Fleet(settings)
        self._machines: dict[str, Machine] = {}
        # A runner that was killed may have left processes; two for one instance would both
        # take its name, so they end before anything boots.
        for pid in children.end_orphans(self._directory.glob(f"*/{PID_FILE}"), settings.stop_grace):
            _log.warning("instance.orphan_ended", pid=pid)
        self._prune()

    @property
    def machines(self) -> dict[str, Machine]:
        """By instance id: those that boot, run or stop."""
        return dict(self._machines)

    def run(self, stop: Stop) -> None:
        """Look and act every `POLL` seconds until ``stop``; then end every process."""
        try:
            while not stop.is_set():
                try:
                    self.step()
                except CloudError as exc:
                    _log.warning("instances.describe_failed", error=str(exc))
                stop.wait(POLL)
        finally:
            self.close()

    def step(self) -> None:
        """One look at the fleet, and what follows from it; raises `CloudError` if it cannot look."""
        fleet = {i.id: i for i in self._fleet.describe()}
        for instance in fleet.values():
            if instance.active and instance.id not in self._machines:
                self._machines[instance.id] = Machine(
                    self._settings, instance, self._entry, self._directory / instance.id)
        for machine in list(self._machines.values()):
            try:
                self._advance(machine, fleet.get(machine.id))
            except (CloudError, OSError) as exc:
                # The next look tries again; the other instances are not held up.
                _log.warning("instance.step_failed", instance=machine.id, error=str(exc))

    def close(self) -> None:
        """SIGTERM to every process, SIGKILL after the grace; the instances stay in EC2."""
        for machine in self._machines.values():
            machine.shut_down()
        while self._machines:
            self._machines = {i: m for i, m in self._machines.items() if not m.tick()}
            # Each machine's own deadline bounds this.
            time.sleep(0.05 if self._machines else 0)

    def interrupt(self, instance_id: str, action: str = "terminate", *, seconds: float = 120) -> None:
        """Announce a spot interruption to an instance; raises `LookupError` for one not booted."""
        self._machines[instance_id].interrupt(action, seconds=seconds)

    def _advance(self, machine: Machine, instance: Instance | None) -> None:
        if instance is None or not instance.active:
            machine.shut_down()
        if not machine.stopping:
            if machine.due:
                self._boot(machine)
            elif machine.exit_code is not None:
                self._end(machine)
            else:
                self._announce(machine)
        if machine.tick():
            # Out of the table: an instance that runs at the next look boots anew.
            del self._machines[machine.id]
            self._prune()

    def _announce(self, machine: Machine) -> None:
        path = machine.directory / INTERRUPTION_FILE
        if not path.exists():
            return
        text = path.read_text().split()
        path.unlink()
        action, seconds = (*text, "", "")[:2]
        if len(text) != 2 or action not in ("terminate", "stop") or not seconds.isdecimal():
            _log.warning("instance.interruption_unreadable", instance=machine.id, path=str(path))
            return
        machine.interrupt(action, seconds=float(seconds))
        _log.info("instance.interrupted", instance=machine.id, action=action, seconds=int(seconds))

    def _boot(self, machine: Machine) -> None:
        try:
            user_data = self._fleet.user_data(machine.id)
        except ValueError as exc:  # neither base64 nor UTF-8
            _log.error("instance.user_data_unreadable", instance=machine.id, error=str(exc))
            self._fleet.terminate([machine.id])
            return
        machine.boot(user_data)

    def _end(self, machine: Machine) -> None:
        """The process ended by itself: so does the instance, in the way that its launch asked for."""
        behavior = self._fleet.shutdown_behavior(machine.id)
        code = machine.exit_code
        report = _log.info if code == 0 else _log.error
        report("instance.exited", instance=machine.id, code=code, then=behavior,
               **({} if code == 0 else {"console": machine.last_words()}))
        act = self._fleet.stop if behavior == "stop" else self._fleet.terminate
        act([machine.id])

    def _prune(self) -> None:
        idle = [d for d in self._directory.iterdir() if d.is_dir() and d.name not in self._machines]
        for old in sorted(idle, key=lambda d: d.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = settings_module.load()
        log.configure(settings.log_level, settings.log_format)
        InstanceRunner(settings).run(Signals())
    except IRSError as exc:
        sys.stderr.write(f"irs: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
