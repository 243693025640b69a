"""Machines that systemd-nspawn boots: a real systemd as process 1, on a root directory of ours.

They share this machine's network, and its kernel. What cloud-init finds is the seed of its
datasource NoCloud, what it boots with are a directory's files.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from release import run, say

#: Seconds for a command inside, and for an end: units have 90 s to stop in.
PATIENCE, END = 60.0, 120.0
#: What a machine of Debian has that EC2 boots, as far as the installation can tell.
PACKAGES = ("systemd-sysv", "dbus", "ca-certificates", "python3")
SEED = "/var/lib/cloud/seed/nocloud"


def debian(root: Path, suite: str, mirror: str, pip: Path) -> None:
    """A stock machine of Debian below ``root``, with cloud-init, and pip told as here."""
    shutil.rmtree(root, ignore_errors=True)
    say(f"making a stock machine of Debian {suite}: three minutes")
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root), mirror)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    # By apt, as debootstrap knows nothing of packages that others provide.
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "cloud-init"]):
        run("chroot", str(root), "apt-get", "--quiet", "--quiet", "--option=Dpkg::Use-Pty=false", *words,
            DEBIAN_FRONTEND="noninteractive")
    shutil.copy(pip, root / "etc/pip.conf")
    (root / "etc/pip.conf").chmod(0o644)
    # The archive stays the one that apt here knows, and no other cloud is looked for.
    (root / "etc/cloud/cloud.cfg.d/99-try.cfg").write_text(
        # Nor a locale, for which a machine so small has no package.
        "datasource_list: [NoCloud]\napt: {preserve_sources_list: true}\nlocale: false\n")


class Booted:
    """One machine; whatever it writes over its root is gone at its end unless it ``keeps``."""

    def __init__(self, name: str, root: Path, user_data: str, *, keeps: bool = False,
                 mounts: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._tmp = Path(tempfile.mkdtemp(prefix=f"irs-{name}-"))
        seed = self._tmp / "seed"
        seed.mkdir()
        (seed / "user-data").write_text(user_data)
        (seed / "meta-data").write_text(f"instance-id: {name}\nlocal-hostname: {name}\n")
        command = ["systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={name}", "--boot",
                   "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no",
                   f"--bind-ro={seed}:{SEED}", *(f"--bind-ro={path}" for path in mounts)]
        if not keeps:
            command.append("--volatile=overlay")
        # What every process of the machine begins with, as process 1 is told to.
        command += [f"systemd.setenv={key}={value}" for key, value in (env or {}).items()]
        with (self._tmp / "console").open("wb") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL,  # noqa: S603 - ours
                                             stdout=out, stderr=out)

    @property
    def console(self) -> str:
        """What it has said so far."""
        return (self._tmp / "console").read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def first(self) -> int | None:
        """Its process 1, as this machine counts; None before there is one."""
        for thread in Path(f"/proc/{self._process.pid}/task").glob("*/children"):
            for child in thread.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return None

    def run(self, *command: str) -> tuple[int, str]:
        """A command inside: its exit code and what it says. 1 before the machine is up."""
        if (pid := self.first()) is None:
            return 1, "not up"
        done = subprocess.run(  # noqa: S603 - ours
            ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root",  # noqa: S607
             "--wd=/", *command],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        return done.returncode, done.stdout.strip()

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd says of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties))[1]
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def active(self, unit: str) -> bool:
        """Whether a unit is, which of Type=notify means that it is ready."""
        return self.show(unit, "ActiveState").get("ActiveState") == "active"

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run("journalctl", "--unit", unit, "--output=cat", "--no-pager")[1]

    def power_off(self) -> float:
        """As EC2 stops a machine: it shuts down; the seconds that it took."""
        began = time.monotonic()
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)  # nspawn asks process 1 for an orderly end
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            sys.exit(f"{self.name} did not shut down within {END:.0f} s:\n{self.console[-3000:]}")
        return time.monotonic() - began

    def remove(self) -> None:
        """Whatever state it is in."""
        if not self.ended:
            if (pid := self.first()) is not None:
                os.kill(pid, signal.SIGKILL)  # and with it all that it has started
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._tmp)
        # What nspawn leaves where /run is no file system of its own.
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / self.name, ignore_errors=True)
