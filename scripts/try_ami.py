"""The machine image at work: ``make machine``. Needs root, debootstrap and systemd-nspawn.

`irs ami build` on an embedded cloud, whose EC2 machine is here a Debian that systemd-nspawn
boots: cloud-init takes the document from its user data and runs the script, with apt and pip.
What is left on its disk is the image; of that the three tiers boot (`try_tiers.py`), each with a
systemd as process 1. And `irs ami cloud-init` makes a web tier of a stock machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import release
import try_tiers
from ami_cloud import BASE, LOGS, UNITS, Cloud, until
from images import SUITE, mirror, pip_settings
from nspawn import Booted, debian
from release import say

from irs.aws.fleet import Fleet
from irs.aws.machine_images import MachineImages
from irs.local.emulator import Emulator
from irs.scaler import userdata

#: Seconds for an installation.
INSTALL = 900.0
#: What is a machine's own, and in no image of it.
OWN = ("etc/ssh/ssh_host_ed25519_key", "root/.ssh/authorized_keys", "var/lib/irs-install/plan",
       "var/lib/cloud/instance")


# -- the build ------------------------------------------------------------------------------------
def build(cloud: Cloud, base: Path, root: Path, mounts: list[str]) -> dict[str, str]:
    """`irs ami build`, whose machine is a copy of ``base`` at ``root``; what it says of the image."""
    shutil.rmtree(root, ignore_errors=True)
    release.run("cp", "--archive", str(base), str(root))
    for path in OWN[:2]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("a machine's own\n")
    ec2, fleet = MachineImages(cloud.settings), Fleet(cloud.settings)
    wheel = release.wheel()
    began = time.monotonic()
    with ExitStack() as stack:
        order = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-m", "irs", "ami", "build", "--release", str(wheel), "--base", BASE,
             "--json"], env=cloud.environment(), stdout=subprocess.PIPE, text=True)
        stack.callback(order.wait)
        stack.callback(order.terminate)
        while not (alive := [b for b in ec2.builders() if b.state == "running"]):
            if order.poll() is not None:
                sys.exit("irs ami build ended before it launched a machine")
            time.sleep(0.2)
        machine = Booted("builder", root, fleet.user_data(alive[0].id), keeps=True, mounts=mounts)
        stack.callback(machine.remove)
        while [b for b in ec2.builders() if b.id == alive[0].id and b.state == "running"]:
            if order.poll() is not None or machine.ended:
                break
            time.sleep(0.5)
        seconds = machine.power_off()
        said, _ = order.communicate(timeout=60)
        if order.returncode:
            sys.exit(f"irs ami build ended with code {order.returncode}; the console ends:\n"
                     f"{machine.console[-2000:]}")
    say(f"built on Debian {SUITE} in {time.monotonic() - began:.0f} s, its shutdown {seconds:.1f} s")
    made: dict[str, str] = json.loads(said)
    return made


def look(root: Path) -> None:
    """What the image's disk has and has not; ends the program where it is not as it should be."""
    wrong = [path for path in OWN if (root / path).exists()]
    wrong += [str(path.relative_to(root)) for path in (root / "var/log/journal").iterdir()]
    if wrong or (root / "etc/machine-id").read_text().strip() not in ("", "uninitialized"):
        sys.exit(f"the image has what is its builder's own: {', '.join(wrong) or 'its machine id'}")
    for unit in ("irs-boot", *UNITS.values(), LOGS):
        if release.run("systemctl", f"--root={root}", "is-enabled", f"{unit}.service").strip() != "enabled":
            sys.exit(f"{unit} is not enabled")
    units = [str(path) for path in sorted((root / "etc/systemd/system").glob("irs-*.service"))]
    release.run("systemd-analyze", "verify", f"--root={root}", *units, SYSTEMD_LOG_LEVEL="err")
    for path in (root / "opt/irs").rglob("*"):
        state = path.lstat()
        if state.st_uid or (state.st_mode & 0o022 and not path.is_symlink()):
            sys.exit(f"{path.relative_to(root)} is not root's alone to write")
    size = sum(path.lstat().st_blocks for path in (root / "opt/irs").rglob("*")) * 512 / 1e6
    say(f"the image: units enabled and verified, /opt/irs ({size:.0f} MB) is root's, nothing is left of "
        "its builder's own")


# -- without an image ---------------------------------------------------------------------------------
def stock(cloud: Cloud, base: Path, root: Path, mounts: list[str]) -> None:
    """`irs ami cloud-init`: a stock machine that becomes the web tier at its first boot."""
    shutil.rmtree(root, ignore_errors=True)
    release.run("cp", "--archive", str(base), str(root))
    with ExitStack() as stack, tempfile.NamedTemporaryFile("w", suffix=".env") as settings:
        settings.write(userdata.build(cloud.settings) + f"IRS_PORT={cloud.settings.port}\n")
        settings.flush()
        data = release.run(sys.executable, "-m", "irs", "ami", "cloud-init", "--role", "web", "--release",
                           str(release.wheel()), "--settings", settings.name, **cloud.environment())
        began = time.monotonic()
        instance = cloud.launch("web")
        machine = cloud.start(stack, "web", instance, root, data, keeps=True, mounts=mounts)
        until(machine, "irs-web is active", lambda: machine.active("irs-web"), INSTALL)
        _, status = machine.run("cloud-init", "status", "--wait")
        with urllib.request.urlopen(f"http://127.0.0.1:{cloud.settings.port}/readyz", timeout=10) as answer:
            said = answer.read().decode().strip()
        if "done" not in status or said != "ready":
            sys.exit(f"cloud-init says {status!r}, the web tier {said!r}")
        until(machine, "irs logs has its lines", lambda: [
            text for text in cloud.logs(instance) if text.startswith("web.listening ")])
        kept, journals = machine.run("sh", "-c", "ls /var/log/journal/*/system.journal")
        if kept:
            sys.exit(f"its journal is not on its disk: {journals}")
        say(f"a stock Debian {SUITE} was the web tier {time.monotonic() - began:.0f} s after its start, "
            f"its journal on the disk and in irs logs; cloud-init's {status}")
        machine.power_off()


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="try_ami.py", description="Build the machine image, and try it.")
    parser.add_argument("verb", nargs="?", choices=["build", "boot", "stock"],
                        help="all three where none is named")
    parser.add_argument("--engine", choices=["onnxruntime", "openvino"], default="onnxruntime",
                        help="of the workers  [default: %(default)s]")
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "irs-ami",
                        help="where the stock machine and the image are kept  [default: %(default)s]")
    options = parser.parse_args()
    for program, package in (("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container")):
        if shutil.which(program) is None:
            sys.exit(f"no {program} here; on Debian: apt install {package}")
    if os.getuid() != 0:
        sys.exit("systemd-nspawn and debootstrap need root")
    options.store.mkdir(parents=True, exist_ok=True)
    base, image = options.store / f"debian-{SUITE}", options.store / "image"
    with pip_settings() as (pip, mounts), tempfile.TemporaryDirectory() as scratch:
        if not (base / "etc/cloud/cloud.cfg.d/99-try.cfg").exists():
            debian(base, SUITE, mirror(), pip)
        graph = release.model()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # The strict one has log groups.
        with Emulator(Path(scratch), strict=True) as emulator:
            cloud = Cloud(emulator.endpoint, graph.parent, port, options.engine)
            if options.verb in ("build", None):
                made = build(cloud, base, image, mounts)
                say(f"{made['image']}: {made['name']}, {made['model']}")
                look(image)
            if options.verb in ("boot", None):
                try_tiers.serve(cloud, image)
            if options.verb in ("stock", None):
                stock(cloud, base, options.store / "stock", mounts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
