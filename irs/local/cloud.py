"""The embedded cloud as `irs up` keeps it: started again where it ends, on what it has saved."""

from __future__ import annotations

from pathlib import Path

from irs.local import autosave
from irs.local.children import Child
from irs.local.emulator import Emulator
from irs.local.service import Service
from irs.settings import Settings


class Cloud(Service):
    """The emulator, on one port for as long as `irs up` runs: the others have its address.

    Objects are on disk as they are written, queues and instances as they were
    `irs.local.autosave.INTERVAL` seconds ago at most. What of the queue is lost, the web tier
    sends again, and `irs audit` counts.
    """

    def __init__(self, settings: Settings, pid_file: Path) -> None:
        log = settings.state_dir / "logs" / "emulator.log"
        super().__init__("the embedded cloud", (), log=log, pid_file=pid_file, env={})
        self._emulator = Emulator(settings.state_dir / "cloud", port=settings.cloud_port, log=log)

    def begin(self) -> None:
        """Start it and return when it answers; raises what `Emulator.start` does."""
        self.start()
        self._emulator.await_health()

    def _spawn(self) -> Child:
        return self._emulator.spawn()

    def _ended(self, code: int) -> str:
        return (f"{self.name} ended with code {code} (its log is {self.child.log}, then .1 beside it); "
                f"{autosave.INTERVAL:.0f} s of its queues may be lost, which `irs audit` tells; ")
