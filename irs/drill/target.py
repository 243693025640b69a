"""What a drill is run against: a web tier, the cloud behind it, and a laptop's processes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
import urllib.parse
from collections.abc import Mapping

from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.drill.client import Client
from irs.errors import SettingsError, Unreachable
from irs.local import children
from irs.settings import Settings

#: Seconds within which something that must be there is there: an instance's boot, a restart.
PATIENCE = 60.0


class Target:
    """A running service. Methods that ask the cloud raise `irs.errors.CloudError`."""

    def __init__(self, settings: Settings, url: str, *, key: str | None = None) -> None:
        self.settings = settings
        self.client = Client(url, key=key)

    # Built when they are wanted: whoever is refused needs no credentials.
    @functools.cached_property
    def fleet(self) -> Fleet:
        """The cluster's instances."""
        return Fleet(self.settings)

    @functools.cached_property
    def work(self) -> Queue:
        """The input queue."""
        return Queue(self.settings, self.settings.input_queue)

    @functools.cached_property
    def dead(self) -> Queue:
        """The dead-letter queue."""
        return Queue(self.settings, self.settings.dead_letter_queue)

    @functools.cached_property
    def inputs(self) -> Objects:
        """The input bucket."""
        return Objects(self.settings, self.settings.input_bucket)

    @functools.cached_property
    def outputs(self) -> Objects:
        """The output bucket."""
        return Objects(self.settings, self.settings.output_bucket)

    def ready(self) -> None:
        """Raises `Unreachable`, one line, where no service answers or it is not well."""
        url = self.client.url
        try:
            ready = self.client.ready()
        except OSError as exc:
            raise Unreachable(f"nothing answers at {url} ({exc}): start the service with `irs up`, or "
                              "name another with --url") from exc
        if not ready:
            raise Unreachable(f"the service at {url} is not ready: a drill needs one that is well; "
                              "`irs doctor` says what is wrong")

    def pid(self, service: str) -> int:
        """The process of ``web``, ``scaler``, ``instances`` or ``emulator`` of `irs up`.

        Raises `SettingsError` where none runs on this machine.
        """
        found = self._pids().get(service)
        if found is None:
            raise SettingsError(f"no process {service} of `irs up` runs here ({self.settings.state_dir}): "
                                "start the service with `irs up`, and the drill in the same directory")
        return found

    def instance(self) -> tuple[str, int]:
        """An instance of this machine that has a process, and its pid.

        Raises `SettingsError` where none has one within `PATIENCE` seconds.
        """
        self.pid("instances")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for name, pid in sorted(self._pids().items()):
                if name.startswith("i-"):
                    return name, pid
            time.sleep(0.1)  # between looks
        raise SettingsError(f"no instance has come up within {PATIENCE:g} s: see `irs doctor`")

    def _pids(self) -> Mapping[str, int]:
        state = self.settings.state_dir
        found = {}
        paths = {path.stem: path for path in (state / "run").glob("*.pid")}
        paths |= {path.parent.name: path for path in (state / "instances").glob("*/pid")}
        for name, path in paths.items():
            with contextlib.suppress(FileNotFoundError):
                pid, _, identity = path.read_text().strip().partition(" ")
                if pid.isdecimal() and identity and children.identity(int(pid)) == identity:
                    found[name] = int(pid)
        return found


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process's group: each child of `irs up` has one of its own.

    Raises `ProcessLookupError` where it has ended.
    """
    os.killpg(pid, number)


def loopback(settings: Settings, url: str) -> bool:
    """Whether both the cloud and the web tier are this machine's own."""
    hosts = [urllib.parse.urlsplit(text).hostname or ""
             for text in (settings.aws_endpoint_url or "https://aws", url)]
    return all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)
