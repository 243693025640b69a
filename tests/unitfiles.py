"""The image's units as systemd reads them, as far as a test has to."""

from __future__ import annotations

import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.processes import ROOT

UNITS = ROOT / "deploy" / "systemd"
NAMES = ("irs-boot", "irs-worker", "irs-web", "irs-scaler", "irs-logs")


def read(name: str) -> dict[str, list[str]]:
    """A unit's assignments, those that all units have in common after its own."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in (UNITS / f"{name}.service", UNITS / "irs-.service.d" / "all.conf"):
        for line in path.read_text("utf-8").splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found[key].append(value)
    return found


def value(name: str, key: str) -> str:
    """A setting that is made once."""
    [one] = read(name)[key]
    return one


def command(name: str, run: Path) -> list[str]:
    """Its ExecStart, with this environment in place of /opt/irs and ``run`` in place of /run."""
    words = shlex.split(value(name, "ExecStart"))
    here = {"/opt/irs/bin/python": [sys.executable], "/opt/irs/bin/irs": [sys.executable, "-m", "irs"]}
    return [*here[words[0]], *(word.replace("/run/", f"{run}/") for word in words[1:])]


def environment(name: str, run: Path) -> dict[str, str]:
    """Its variables: Environment, then EnvironmentFile, as `irs.ami.boot` writes it."""
    pairs = [pair for line in read(name)["Environment"] for pair in shlex.split(line)]
    for file in read(name)["EnvironmentFile"]:
        # In double quotes a POSIX shell and systemd read the same.
        pairs += shlex.split(Path(file.replace("/run/", f"{run}/")).read_text("utf-8"))
    found: Mapping[str, str] = dict(pair.split("=", 1) for pair in pairs)
    return {key: text.replace("/run/", f"{run}/") for key, text in found.items()}
