"""The live status of `irs up`: one line, read in the background, shown as the terminal allows."""

from __future__ import annotations

import collections
import threading
import time
import urllib.request
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live

from irs.aws.fleet import Fleet
from irs.aws.queues import Depth, Queue
from irs.errors import CloudError
from irs.settings import Settings, own_key

#: Seconds between looks.
INTERVAL = 1.0
#: Without a terminal: seconds between lines that differ, and between lines at all.
CHANGED, ALWAYS = 5.0, 30.0
_ORDER = ("pending", "running", "stopping", "stopped", "shutting-down")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What one look found."""

    #: None: the queue could not be asked
    depth: Depth | None = None
    #: instances by state
    instances: dict[str, int] = field(default_factory=dict)
    #: images that got a label; None: the web tier could not be asked
    answered: int | None = None

    def __str__(self) -> str:
        """One short line."""
        queue = (f"queue {self.depth.visible} waiting, {self.depth.in_flight} in flight"
                 if self.depth else "queue not reachable")
        fleet = ", ".join(f"{self.instances[s]} {s}" for s in _ORDER if s in self.instances)
        images = "web tier not reachable" if self.answered is None else f"{self.answered} images answered"
        return f"{queue} · instances: {fleet or 'none'} · {images}"


class Watcher:
    """Looks every `INTERVAL` seconds in a thread: a slow answer must not hold Ctrl-C up."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.latest: Snapshot | None = None
        self._settings = settings
        self._url = url
        self._key = own_key(settings)
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="status", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        queue, fleet = Queue(self._settings, self._settings.input_queue), Fleet(self._settings)
        while not self._stop.is_set():
            try:
                depth = queue.depth()
                states = collections.Counter(i.state for i in fleet.describe())
            except CloudError:
                # The line says it; the services' logs say why.
                depth, states = None, collections.Counter()
            self.latest = Snapshot(depth=depth, instances=dict(states),
                                   answered=answered(self._url, self._key))
            self._stop.wait(INTERVAL)


def answered(url: str, key: str | None = None) -> int | None:
    """Labels that the web tier has given since it started, from its ``/metrics``."""
    asked = urllib.request.Request(f"{url}/metrics", headers={"X-API-Key": key} if key else {})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=2) as reply:  # noqa: S310 - our own
            lines = reply.read().decode().splitlines()
    except OSError:
        return None
    return sum(int(float(line.rpartition(" ")[2])) for line in lines
               if line.startswith('irs_uploads_total{outcome="done"}'))


class Display:
    """Shows the line: in place on a terminal, now and then elsewhere. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) \
            if console.is_terminal else None
        self._shown = ""
        self._shown_at = float("-inf")

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show it, if it is time to."""
        line = str(snapshot)
        if self._live:
            self._live.update(line, refresh=True)
            return
        age = time.monotonic() - self._shown_at
        if age >= ALWAYS or (line != self._shown and age >= CHANGED):
            self._console.print(line, highlight=False, soft_wrap=True)
            self._shown, self._shown_at = line, time.monotonic()
