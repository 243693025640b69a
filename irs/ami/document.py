"""The document for cloud-init that makes a machine of IRS, with the script that does it.

One source for the machine that an image is made on and for a stock image's first boot. It is
YAML that JSON's strings and block text are enough for.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from irs.errors import IRSError

#: Bytes of user data that EC2 takes.
MOST = 16_384
#: Where the script and its plan lie on the machine.
PLACE = "/var/lib/irs-install"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A release as a file."""

    #: as pip wants it: irs-0.1.0-py3-none-any.whl
    name: str
    url: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """An exported model: where its files are, and what `sha256sum` says of them."""

    #: of the files, without suffix
    name: str
    #: IRS_MODEL
    model: str
    onnx: str
    json: str
    sums: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the script is told."""

    #: a file, or a version that the machine's own pip finds
    release: Wheel | str
    model: Graph
    #: of the workers, onnxruntime or openvino: the machine tests itself with it, and its fence lets it work
    engine: str = "onnxruntime"
    #: where progress goes; empty: nowhere
    report: str = ""
    #: after which a builder ends itself; None: it is no builder but a machine that stays
    minutes: int | None = None
    #: of a machine that stays: its irs:role, and IRS_NAME=value lines
    role: str = ""
    settings: str = ""


def plan(told: Plan) -> str:
    """Assignments that a shell reads."""
    wheel = told.release if isinstance(told.release, Wheel) else Wheel(name="", url="", sha256="")
    values: Mapping[str, str] = {
        "release": told.release if isinstance(told.release, str) else "",
        "wheel_name": wheel.name, "wheel_url": wheel.url, "wheel_sha256": wheel.sha256,
        "model": told.model.model, "model_name": told.model.name, "model_onnx": told.model.onnx,
        "model_json": told.model.json, "model_sums": told.model.sums.strip(),
        "engine": told.engine,
        "report_url": told.report, "for_image": "no" if told.minutes is None else "yes",
        "minutes": "" if told.minutes is None else str(told.minutes),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def script() -> str:
    """The program that installs."""
    return (resources.files("irs.ami") / "install.sh").read_text("utf-8")


def build(told: Plan) -> str:
    """User data. Raises `IRSError` where it is more than EC2 takes."""
    files = [(f"{PLACE}/plan", "0600", plan(told)), (f"{PLACE}/install.sh", "0700", script())]
    if told.role:
        # irs-boot, which reads them, is nobody's account; what is in user data is no secret.
        files += [("/etc/irs/role", "0644", f"{told.role}\n"), ("/etc/irs/settings", "0644", told.settings)]
    text = "#cloud-config\n# Made by `irs ami`: docs/ami.md.\nwrite_files:\n"
    for path, mode, content in files:
        text += f'  - path: {json.dumps(path)}\n    permissions: "{mode}"\n    content: |\n'
        text += "".join(f"      {line}".rstrip() + "\n" for line in content.splitlines())
    text += f"runcmd:\n  - [sh, {PLACE}/install.sh]\n"
    if len(text.encode()) > MOST:
        raise IRSError(f"user data of {len(text.encode())} bytes; EC2 takes {MOST}")
    return text
