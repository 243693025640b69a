"""The images at work: uploads get labels, health checks pass, SIGTERM drains, nothing is written.

All of them share this machine's network here and use its loopback address alone.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import skimage
from buildah import Buildah
from containers import Container
from release import say

#: Seconds for a start, and for a label: a boot of an instance too.
START, LABEL = 60.0, 90.0
PHOTO = Path(skimage.data_dir) / "astronaut.png"
HOST = "127.0.0.1"


def run(tool: Buildah) -> int:
    """0, or the program ends with a line that says what is wrong."""
    cloud, web = _free(), _free()
    env = {"IRS_AWS_ENDPOINT_URL": f"http://{HOST}:{cloud}", "IRS_AWS_ACCESS_KEY_ID": "test",
           "IRS_AWS_SECRET_ACCESS_KEY": "test", "IRS_HOST": HOST, "IRS_PORT": str(web),
           # No instance's own, and nothing given again: each upload is meant to be classified.
           "IRS_METADATA_ENDPOINT": "http://127.0.0.1:9", "IRS_REUSE": "off", "IRS_POLL_WAIT": "2"}
    with ExitStack() as stack:
        def start(image: str, *command: str, more: tuple[str, ...] = (), **settings: str) -> Container:
            container = Container(tool, image, env | settings, *command, more=more)
            stack.callback(container.remove)
            return container

        emulator = start("emulator", more=("--host", HOST, "--name", HOST, "--port", str(cloud),
                                           "--state", "/tmp/cloud"))  # noqa: S108 - the container's own
        _until(emulator, lambda: _answers(f"http://{HOST}:{cloud}/_ministack/health"))
        provision = start("web", "python", "-m", "irs.aws.provision")
        if code := provision.wait(START):
            sys.exit(f"provisioning ended with code {code}:\n{provision.output}")
        tier = start("web")
        _until(tier, lambda: _answers(f"http://{HOST}:{web}/readyz"))
        worker = start("worker-cpu")
        _until(worker, lambda: "worker.ready" in worker.output)
        # What it launches runs the other of the image's two engines.
        scaler = start("scaler", IRS_MAX_INSTANCES="1", IRS_ENGINE="openvino")
        _until(scaler, lambda: "scaler.leads" in scaler.output)
        _try_workers(web, tier, worker, scaler)
        hosts = start("worker-cpu", "python", "-m", "irs.local.instances")
        _try_instances(web, hosts)
        # In the order of `irs up`: who is asked first, the cloud last.
        for container in (tier, scaler, hosts, emulator):
            say(f"SIGTERM: {container.image} ended with code 0 after {container.stop():.1f} s")
        for container in (tier, worker, scaler, hosts, emulator):
            if found := container.written():
                sys.exit(f"{container.image} wrote outside of /tmp: {', '.join(found[:5])}")
        say("nothing was written outside of /tmp")
    return 0


def _try_workers(web: int, tier: Container, worker: Container, scaler: Container) -> None:
    """A label by the container that is a worker; everybody's health; a drain."""
    result, seconds = upload(web)
    say(f"{result['result']} after {seconds:.2f} s, by the container {result['instance']}: "
        f"service {result['service_version']}, {result['model']['engine']}, {result['model']['version']}")
    for container in (tier, worker, scaler):
        _until(container, lambda container=container: container.health()[0] == 0)
        user = container.run("python", "-c", "import os; print(os.getuid())")[1]
        say(f"healthy: {container.health()[1]} (user {user})")
    if worker.run("python", "-c", "import torch")[0] == 0:
        sys.exit("the CPU worker's image has torch")
    taken = worker.stop()
    if "worker.draining" not in worker.output or "worker.stopped" not in worker.output:
        sys.exit(f"the worker did not drain:\n{worker.output[-3000:]}")
    say(f"SIGTERM: worker-cpu drained and ended with code 0 after {taken:.1f} s")


def _try_instances(web: int, hosts: Container) -> None:
    """A label by an instance that the scaler has launched, and that the container has booted."""
    result, seconds = upload(web)
    engine = result["model"]["engine"]
    if not result["instance"].startswith("i-") or engine != "openvino":
        sys.exit(f"classified by {result['instance']}, no instance, or by {engine}, not by openvino:\n"
                 f"{hosts.output[-3000:]}")
    say(f"{result['result']} after {seconds:.1f} s, by the instance {result['instance']} "
        f"that the scaler has launched: {engine}")


def upload(port: int) -> tuple[dict[str, Any], float]:
    boundary = uuid.uuid4().hex
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="myfile"; filename="{PHOTO.name}"'
            "\r\n\r\n").encode() + PHOTO.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(f"http://{HOST}:{port}/upload", data=body, headers={
        "Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json",
        "Prefer": f"wait={LABEL:.0f}"})
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=LABEL + 10) as answer:  # noqa: S310 - ours
        [result] = json.load(answer)["results"]
    if result["status"] != "done":
        sys.exit(f"no label: {result['result']}")
    return result, time.monotonic() - began


def _until(container: Container, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START
    while not condition():
        if container.ended or time.monotonic() > deadline:
            sys.exit(f"{container.image} is not ready:\n{container.output[-3000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
            return answer.status == 200
    except OSError:
        return False


def _free() -> int:
    with socket.create_server((HOST, 0)) as free:
        return free.getsockname()[1]
