"""`irs up`: the whole service on this machine, started in order and stopped in order."""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from irs.aws import provision
from irs.aws.fleet import Fleet
from irs.errors import CloudError, IRSError, SettingsError, Unreachable
from irs.local import children, emulator, laptop
from irs.local.cloud import Cloud
from irs.local.machine import PID_FILE
from irs.local.service import Service, Stopped
from irs.local.signals import Signals
from irs.local.status import Display, Watcher
from irs.settings import Settings

#: Exit codes: stopped in good order; something failed; could not begin; told twice to end.
OK, FAILED, REFUSED, KILLED = 0, 1, 2, 130
#: Seconds for the web tier's first answer: imports, on a busy machine.
READY = 60.0
#: Seconds for the scaler to finish its round.
_ROUND = 15.0
#: Seconds for what is left of a process after its own grace.
_MARGIN = 5.0
#: Seconds between looks at children and status.
_TICK = 0.25


def up(settings: Settings, *, create: bool = True, console: Console | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; the exit code. Call it from the main thread.

    ``create`` False refuses where a bucket or queue is missing.
    """
    console = console or Console()
    try:
        with laptop.alone(settings) as own:
            stack = Stack(laptop.with_ports(own), console, Signals())
            return stack.run(create)
    except SettingsError as exc:
        console.print(f"irs: {exc}", style="red", markup=False, highlight=False, soft_wrap=True)
        return REFUSED


class Stack:
    """The emulator (unless another endpoint is set), the web tier, the scaler, the instances."""

    def __init__(self, settings: Settings, console: Console, signals: Signals) -> None:
        self._embedded = settings.aws_endpoint_url is None
        self._settings = laptop.laptop(settings) if self._embedded else settings
        self._console = console
        self._signals = signals
        self._url = laptop.reach(self._settings)
        self._cloud = Cloud(self._settings, self._pid_file("emulator"))
        self._services: dict[str, Service] = {}

    def run(self, create: bool) -> int:
        """Start, watch, stop; the exit code."""
        code = FAILED
        try:
            with contextlib.ExitStack() as announced:
                # First out: nobody should find a cloud that is going.
                try:
                    self._start(create, announced)
                    self._watch()
                except Stopped:
                    code = OK
        except IRSError as exc:
            self._say(f"irs: {exc}", style="red")
            code = REFUSED if isinstance(exc, SettingsError) else FAILED
        finally:
            self._stop()
        return KILLED if self._signals.count > 1 else code

    # -- up ------------------------------------------------------------------------------
    def _start(self, create: bool, announced: contextlib.ExitStack) -> None:
        s = self._settings
        # A run that was killed may have left some: they would take our ports and names.
        for pid in children.end_orphans((s.state_dir / "run").glob("*.pid"), emulator.STOP):
            self._say(f"ended process {pid}, left over from a run that was killed")
        export = self._export()
        if self._embedded:
            with self._step(f"cloud at {s.aws_endpoint_url}"):
                self._cloud.begin()
                announced.enter_context(laptop.announced(s))
        with self._step("buckets and queues"):
            findings = provision.ensure(s, create=create)
            if not all(f.ok for f in findings):
                raise SettingsError("not everything is there, and --no-create was given:\n" + "\n".join(
                    f"  {'✓' if f.ok else '✗'} {f.name}: {f.detail}" for f in findings))
        if export:
            with self._step(f"model {s.model} (made ready once, then kept)"):
                self._await_export(export)
        with self._step(f"web tier at {self._url}"):
            if self._embedded:
                self._add("instances", "-m", "irs.local.instances")
            self._add("web", str(children.ROOT / "web_entry.py"))
            self._add("scaler", "-m", "irs.scaler")
            self._await_ready()
        self._say(f"\n  {self._url}\n\n  curl -F myfile=@photo.jpg {self._url}/upload\n\n"
                  f"logs are in {s.state_dir / 'logs'}; Ctrl-C stops everything")
        if not self._embedded:
            self._say(f"instances run at {s.aws_endpoint_url}, not here: those of cluster {s.cluster} "
                      "stay when this ends", style="yellow")

    def _export(self) -> Service | None:
        s = self._settings
        if s.engine == "torch" or (s.model_weights or "").startswith("s3://"):
            # Nothing to export; or an instance fetches it, with its own permissions.
            return None
        return self._add("export", "-m", "irs.model.export")

    def _await_export(self, export: Service) -> None:
        # No deadline: it has its own, and may have to download.
        while export.child.poll() is None:
            self._pause(_TICK)
        self._end("export", 0)
        if export.child.poll() != 0:
            raise IRSError(f"the model {self._settings.model} could not be made ready: "
                           f"{export.child.tail(1)}")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY
        while not _ready(f"{self._url}/readyz"):
            for service in self._services.values():
                if service.child.poll() is not None:
                    raise IRSError(f"{service.name} ended at once; its log {service.child.log} "
                                   f"ends:\n{service.child.tail()}")
            if time.monotonic() > deadline:
                raise Unreachable(f"the web tier is not ready after {READY:.0f} s; see "
                                  f"{self._services['web'].child.log}")
            self._pause(_TICK)

    def _add(self, name: str, *arguments: str) -> Service:
        s = self._settings
        service = Service(name, [sys.executable, *arguments], log=s.state_dir / "logs" / f"{name}.log",
                          pid_file=self._pid_file(name), env=children.full_env() | laptop.changed(s))
        self._services[name] = service
        service.start()
        return service

    # -- running -------------------------------------------------------------------------
    def _watch(self) -> None:
        watcher = Watcher(self._settings, self._url)
        try:
            with Display(self._console) as display:
                while True:
                    self._check()
                    if watcher.latest:
                        display.show(watcher.latest)
                    self._pause(_TICK)
        finally:
            watcher.stop()

    def _check(self) -> None:
        for service in (*([self._cloud] if self._embedded else []), *self._services.values()):
            if news := service.check():
                self._say(news, style="yellow")

    def _pause(self, seconds: float) -> None:
        if self._signals.wait(seconds):
            raise Stopped

    # -- down ----------------------------------------------------------------------------
    def _stop(self) -> None:
        s = self._settings
        if self._services:
            self._say("stopping…")
        # The web tier first: it answers whom it can while there still are instances.
        self._end("export", 0)
        self._end("web", s.drain_grace + _MARGIN)
        self._end("scaler", _ROUND)
        if "instances" in self._services:
            self._end_instances()
            self._end("instances", s.stop_grace + _MARGIN)
        left = (s.state_dir / "instances").glob(f"*/{PID_FILE}")
        for pid in children.end_orphans(left, 0 if self._hurry else s.stop_grace):
            self._say(f"ended process {pid} of an instance")
        self._cloud.stop(emulator.STOP, self._signals)

    @property
    def _hurry(self) -> bool:
        return self._signals.count > 1

    def _end(self, name: str, grace: float) -> None:
        service = self._services.pop(name, None)
        if service:
            service.stop(grace, self._signals)

    def _end_instances(self) -> None:
        """Terminate the cluster through EC2, and wait until the runner has stopped its processes."""
        s = self._settings
        if self._hurry or self._cloud.child.poll() is not None:
            return
        try:
            fleet = Fleet(s)
            fleet.terminate([i.id for i in fleet.describe()])
        except CloudError as exc:
            self._say(f"irs: {exc}", style="red")
            return
        deadline = time.monotonic() + s.stop_grace + _MARGIN
        while any((s.state_dir / "instances").glob(f"*/{PID_FILE}")):
            if self._services["instances"].child.poll() is not None or time.monotonic() > deadline:
                return
            if self._signals.wait(_TICK, more_than=1):
                return

    # -- words ---------------------------------------------------------------------------
    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Show that ``what`` is under way, and how long it took."""
        began = time.monotonic()
        if not self._console.is_terminal:
            self._say(f"… {what}")
        with self._console.status(what):
            yield
        self._say(f"✓ {what} ({time.monotonic() - began:.1f} s)")
        if self._signals.is_set():
            raise Stopped

    def _say(self, text: str, style: str | None = None) -> None:
        # After a hang-up there is no terminal to write to, and still everything to stop.
        with contextlib.suppress(OSError):
            self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _pid_file(self, name: str) -> Path:
        directory = self._settings.state_dir / "run"
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{name}.pid"


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return answer.status == 200
    except OSError:
        return False
