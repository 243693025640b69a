"""Images run as containers by buildah: each as its own user, with /tmp its only place to write."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from buildah import Buildah

#: Seconds for a command inside, and for an end: an instance's grace and a margin.
PATIENCE, END = 60.0, 60.0
#: What the tool itself writes, so that names resolve inside as they do here.
_TOOLS_OWN = {"etc/hosts", "etc/resolv.conf", "etc/hostname"}


class Container:
    """One running container; its output goes to a file."""

    def __init__(self, tool: Buildah, image: str, env: Mapping[str, str], *command: str,
                 more: tuple[str, ...] = ()) -> None:
        """``command`` runs in place of the image's own, ``more`` are further arguments of that."""
        self.image, self._tool, self._env = image, tool, dict(env)
        self.id = tool("from", f"irs-{image}:latest").strip()
        self.config = json.loads(tool("inspect", self.id))["Docker"]["config"]
        self._tmp = Path(tempfile.mkdtemp(prefix=f"irs-{image}-"))
        (self._tmp / "tmp").mkdir()
        (self._tmp / "tmp").chmod(0o1777)
        self._began = time.time()
        with (self._tmp / "log").open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                self._line(command or (*self.config["Entrypoint"], *more)), stdout=out, stderr=out)

    def _line(self, command: tuple[str, ...]) -> list[str]:
        env = [part for name, value in self._env.items() for part in ("--env", f"{name}={value}")]
        return self._tool.command("run", "--isolation", "chroot", "--volume", f"{self._tmp / 'tmp'}:/tmp",
                                  *env, self.id, "--", *command)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return (self._tmp / "log").read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def run(self, *command: str) -> tuple[int, str]:
        """A further command inside: its exit code and what it says."""
        done = subprocess.run(self._line(command), text=True, capture_output=True,  # noqa: S603 - ours
                              timeout=PATIENCE, check=False)
        return done.returncode, done.stdout.strip()

    def health(self) -> tuple[int, str]:
        """The image's own health check."""
        return self.run(*self.config["Healthcheck"]["Test"][1:])

    def wait(self, seconds: float) -> int:
        """The exit code; ends the program where it has none in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            sys.exit(f"{self.image} did not end within {seconds:.0f} s:\n{self.output[-3000:]}")

    def stop(self) -> float:
        """SIGTERM to its process, as an engine does; the seconds until it had ended, with code 0."""
        began = time.monotonic()
        self._signal(signal.SIGTERM)
        if code := self.wait(END):
            sys.exit(f"{self.image} ended with code {code}:\n{self.output[-3000:]}")
        return time.monotonic() - began

    def _signal(self, number: int) -> None:
        # buildah itself would answer with SIGKILL to what it runs.
        if (pid := _inside(self._process.pid)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def written(self) -> list[str]:
        """Files written since the start outside of /tmp, which a read-only root would refuse."""
        root = Path(self._tool("mount", self.id).strip())
        newer = [path.relative_to(root) for path in root.rglob("*")
                 if path.is_file() and not path.is_symlink() and path.stat().st_ctime > self._began]
        return [f"/{path}" for path in newer if str(path) not in _TOOLS_OWN]

    def remove(self) -> None:
        """Whatever state it is in."""
        if not self.ended:
            self._signal(signal.SIGKILL)
            self.wait(END)
        self._tool("rm", self.id)
        shutil.rmtree(self._tmp)


def _inside(pid: int) -> int | None:
    """The first process below ``pid`` that is none of buildah's own."""
    for thread in Path(f"/proc/{pid}/task").iterdir():  # a child is listed where it was forked
        for child in (thread / "children").read_text().split():
            name = Path(f"/proc/{child}/cmdline").read_bytes()
            found = _inside(int(child)) if name.startswith(b"buildah") else int(child)
            if found is not None:
                return found
    return None
