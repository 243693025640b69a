"""The systems that `bench/compare.py` compares: how each is installed, started and stopped."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from service import START, STOP, Tiers

from irs import settings as settings_module
from irs.local import children
from irs.local.emulator import HOST, bind
from irs.model import exported

#: python-multipart: neither LitServe nor Ray Serve asks for what Starlette reads forms with.
PINS = {"litserve": ("litserve==0.2.19", "python-multipart==0.0.34"), "bentoml": ("bentoml==1.4.40",),
        "ray": ("ray[serve]==2.60.0", "python-multipart==0.0.34")}
#: These they get at our versions.
SHARED = ("onnxruntime", "numpy", "pillow")
#: Ours, by the engine of its worker.
OURS = {"irs": "onnxruntime", "irs-openvino": "openvino"}
NAMES = (*OURS, *PINS, "original")
#: Seconds that LitServe and Ray Serve collect a batch: Ray's default. LitServe's, 0, polls
#: without a pause. BentoML's window is adaptive.
BATCH_WAIT = 0.01
#: Seconds for an installation.
INSTALL = 1800.0
_HERE = Path(__file__).parent.absolute()

#: A port and, where the system has one, its emulator's pid.
Started = AbstractContextManager[tuple[int, int | None]]
#: From a port, what is wrong with the answer there; None for a right one.
Fault = Callable[[int], str | None]


def started(name: str, options: argparse.Namespace, directory: Path, fault: Fault) -> Started:
    """The system, answering; raises `RuntimeError` or `subprocess.SubprocessError`."""
    if name in OURS:
        return _irs(options, directory, OURS[name])
    return _other(name, options, directory, fault)


def pins(name: str) -> list[str]:
    """What a peer's environment is made of."""
    listed = (children.ROOT / "requirements.txt").read_text()
    return [*PINS[name], *re.findall(rf"(?m)^(?:{'|'.join(SHARED)})==\S+", listed)]


def install(name: str) -> Path:
    """The Python of the peer's environment, made first where it is not as `pins` has it."""
    home = Path(".irs/peers").absolute() / name
    python, note = home / "bin/python", home / "pins.txt"
    if not note.exists() or note.read_text().split() != pins(name):
        print(f"{name}: installing {' '.join(pins(name))}", flush=True)
        for command in ([sys.executable, "-m", "venv", home],
                        [python, "-m", "pip", "install", "--quiet", *pins(name)]):
            subprocess.run(command, check=True, timeout=INSTALL, capture_output=True, text=True)
        note.write_text("\n".join(pins(name)))
    return python


@contextlib.contextmanager
def _irs(options: argparse.Namespace, directory: Path, engine: str) -> Iterator[tuple[int, int | None]]:
    with Tiers(directory, engine=engine, engine_threads=options.threads,
               max_batch=options.batch) as tiers:
        web = tiers.web()
        tiers.worker()
        yield int(web.url.rpartition(":")[2]), tiers.cloud.pid


@contextlib.contextmanager
def _other(name: str, options: argparse.Namespace, directory: Path,
           fault: Fault) -> Iterator[tuple[int, int | None]]:
    with bind(0) as free:
        port = free.getsockname()[1]
    model, parameters = exported.require(options.settings), directory / "parameters.json"
    parameters.write_text(json.dumps({
        "model": str(model.path), "labels": model.labels, "resize": model.preprocess.resize,
        "crop": model.preprocess.crop, "threads": options.threads, "cores": len(options.cores),
        "max_batch": options.batch, "batch_wait": BATCH_WAIT, "at_once": max(options.concurrency),
        "host": HOST, "port": port, "directory": str(directory)}))
    env = children.base_env() | {"PEER": str(parameters)}
    command = [sys.executable, _HERE / f"{name}_app.py"]
    if name == "original":
        fields = options.settings.model_fields_set
        env |= settings_module.as_env(options.settings, *fields) | {"IRS_ENGINE": "torch"}
    else:
        # Neither usage reports nor files of theirs outside the directory.
        env |= {"PYTHONPATH": str(_HERE), "BENTOML_HOME": str(directory),
                "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}
        command[0] = install(name)
    if name == "bentoml":
        command[1:] = ["-m", "bentoml", "serve", "bentoml_app:Service", "--working-dir", _HERE,
                       "--host", HOST, "--port", port]
    child = children.spawn(name, [str(word) for word in command], log=directory / "log", env=env,
                           cwd=directory)
    try:
        deadline = time.monotonic() + START
        while wrong := fault(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no answer but {wrong}; the log ends:\n{child.tail(20)}")
            time.sleep(0.5)
        yield port, None
    finally:
        child.stop(STOP)
