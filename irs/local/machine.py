"""One instance's process, from boot to shutdown; a step at a time, never waiting."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from irs import log
from irs import settings as settings_module
from irs.aws.fleet import CLUSTER_TAG, ROLE, ROLE_TAG, Instance
from irs.local import children, role
from irs.local.children import Child
from irs.local.metadata import Facts, MetadataServer
from irs.settings import Settings

PID_FILE = "pid"
#: Of an instance's credentials: what is left of their life when they are renewed.
RENEW = timedelta(minutes=20)
CONSOLE = "console.log"

_log = log.get("instances")


class Machine:
    """What an EC2 host gives an instance: a directory, metadata, a process."""

    def __init__(self, settings: Settings, instance: Instance, entry: Path, directory: Path) -> None:
        self.id = instance.id
        self.directory = directory
        self._settings = settings
        self._instance = instance
        self._entry = entry
        self._boots_at = time.monotonic() + settings.boot_delay
        self._kill_at: float | None = None
        self._child: Child | None = None
        self._metadata: MetadataServer | None = None

    @property
    def due(self) -> bool:
        """Its boot delay is over and it has not been started."""
        return self._child is None and time.monotonic() >= self._boots_at

    @property
    def stopping(self) -> bool:
        """It has been told to end."""
        return self._kill_at is not None

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None before and while it runs."""
        return self._child.poll() if self._child else None

    def boot(self, user_data: str) -> None:
        """Start the process. Call it from a thread that outlives it."""
        s, i = self._settings, self._instance
        self.directory.mkdir(parents=True, exist_ok=True)
        self._metadata = MetadataServer(Facts(
            instance_id=i.id, instance_type=i.type, ami=s.ami, region=s.region,
            user_data=user_data, credentials=role.credentials(s, i.id),
            tags={"Name": i.name, CLUSTER_TAG: s.cluster, ROLE_TAG: ROLE}))
        env = children.base_env()
        # Where this "machine image" keeps its model; everything else is in the user data.
        env |= settings_module.as_env(
            s.model_copy(update={"model_dir": s.model_dir.resolve()}), "model_dir")
        env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = self._metadata.endpoint
        # Credentials come from the metadata endpoint, as on EC2, not from this person's home.
        env["AWS_SHARED_CREDENTIALS_FILE"] = env["AWS_CONFIG_FILE"] = os.devnull
        try:
            self._child = children.spawn(
                i.id, [sys.executable, str(self._entry)],
                log=self.directory / CONSOLE, env=env, cwd=self.directory)
        except OSError:
            self.power_off()  # the runner tries again, with an endpoint of the next boot's own
            raise
        children.write_pid(self.directory / PID_FILE, self._child.pid)
        _log.info("instance.booted", instance=i.id, name=i.name, pid=self._child.pid)

    def shut_down(self) -> None:
        """Begin to stop: SIGTERM to the main process; `tick` sends SIGKILL after the grace."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.stop_grace
            if self._child:
                self._child.terminate()
                _log.info("instance.stopping", instance=self.id, pid=self._child.pid)

    def tick(self) -> bool:
        """Do what is due; True once nothing of the machine is left."""
        if self._child is None:
            return self.stopping
        if self._child.poll() is None:
            children.trim(self._child.log)
            if self._kill_at is None:
                self._renew()
                return False
            if time.monotonic() < self._kill_at:
                return False
            _log.warning("instance.killed", instance=self.id, grace=self._settings.stop_grace)
        self.power_off()
        return True

    def _renew(self) -> None:
        """New credentials well before clients ask for them, which begins 15 minutes before the end."""
        server = self._metadata
        if server and server.facts.credentials.expires - datetime.now(UTC) < RENEW:
            server.facts = replace(server.facts, credentials=role.credentials(self._settings, self.id))

    def power_off(self) -> None:
        """SIGKILL to whatever is left, and close the metadata endpoint."""
        if self._child:
            self._child.kill()
            (self.directory / PID_FILE).unlink(missing_ok=True)
        if self._metadata:
            self._metadata.close()
            self._metadata = None

    def last_words(self) -> str:
        """The console's last lines."""
        return self._child.tail(5) if self._child else ""

    def interrupt(self, action: str, *, seconds: float) -> None:
        """Announce a spot interruption in the metadata; it is not carried out here."""
        if self._metadata is None:
            raise LookupError(f"{self.id} has not booted")
        self._metadata.interrupt(action, seconds=seconds)
