"""The embedded cloud that the machine image is tried on, and the machines that it would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nspawn import Booted
from release import ROOT, say

from irs import settings as settings_module
from irs.aws import clients, provision
from irs.aws.fleet import CLUSTER_TAG, ROLE_TAG
from irs.cli.base import FAILED
from irs.local import role
from irs.local.metadata import Facts, MetadataServer
from irs.settings import Settings

#: One of those that the emulator knows without being told.
BASE = "ami-0c2023a1b2c3d4e5f"
#: Seconds for a boot, and for a unit to be as it should be.
BOOT, UNIT = 120.0, 90.0
UNITS = {"app": "irs-worker", "web": "irs-web", "scaler": "irs-scaler"}
#: What ships the journal of each of them.
LOGS = "irs-logs"


class Cloud:
    """An embedded cloud, and what a machine of it is told."""

    def __init__(self, endpoint: str, model: Path, port: int, engine: str) -> None:
        self.settings: Settings = settings_module.build({
            "aws_endpoint_url": endpoint, "aws_access_key_id": "test", "aws_secret_access_key": "test",
            "cluster": "try", "model_dir": model, "max_instances": 1, "reuse": "off", "poll_wait": 2,
            "engine": engine, "host": "127.0.0.1", "port": port, "log_group": "/irs/try",
            "metadata_endpoint": "http://127.0.0.1:9"})
        provision.ensure(self.settings)
        clients.client(self.settings, "logs").create_log_group(logGroupName=self.settings.log_group)

    def environment(self) -> dict[str, str]:
        """Of a command here."""
        names = self.settings.model_fields_set
        return {**os.environ, "PYTHONPATH": str(ROOT),
                **settings_module.as_env(self.settings, *sorted(names))}

    def launch(self, part: str) -> str:
        """An instance of a part that the scaler does not launch; its id. An emulator launches no image
        of a snapshot: to it the machines are of the base."""
        told = clients.client(self.settings, "ec2").run_instances(
            ImageId=BASE, MinCount=1, MaxCount=1, TagSpecifications=[{
                "ResourceType": "instance", "Tags": [{"Key": CLUSTER_TAG, "Value": "try"},
                                                     {"Key": ROLE_TAG, "Value": part}]}])
        return str(told["Instances"][0]["InstanceId"])

    def boot(self, stack: ExitStack, part: str, instance: str, root: Path, data: str) -> Booted:
        """That instance, of the image at ``root``: it knows nothing but where its metadata are."""
        machine = self.start(stack, part, instance, root, data)
        for unit in (UNITS[part], LOGS):
            until(machine, f"{unit} is active", lambda unit=unit: machine.active(unit), BOOT)
        say(f"{part}: {instance} has booted, {UNITS[part]} is ready, {LOGS} is active")
        return machine

    def logs(self, instance: str) -> list[str]:
        """What `irs logs` shows of one machine."""
        done = subprocess.run([sys.executable, "-m", "irs", "logs", "--since", "1h", "--json"],
                              env=self.environment(), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, FAILED):
            sys.exit(f"irs logs ended with code {done.returncode}")
        found = map(json.loads, done.stdout.splitlines())
        return [record["text"] for record in found if record["source"] == instance]

    def start(self, stack: ExitStack, part: str, instance: str, root: Path, data: str,
              **more: Any) -> Booted:
        """The same, not waited for; ``more`` is for `Booted`."""
        metadata = MetadataServer(Facts(
            instance_id=instance, instance_type="c7i.large", ami=BASE, region=self.settings.region,
            tags={ROLE_TAG: part, CLUSTER_TAG: "try"}, user_data=data,
            credentials=role.credentials(self.settings, instance)))
        stack.callback(metadata.close)
        machine = Booted(part, root, data, env={"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.endpoint},
                         **more)
        stack.callback(machine.remove)
        return machine


def until(machine: Booted, what: str, condition: Callable[[], Any], seconds: float = UNIT) -> Any:
    """What ``condition`` says, once it says something; ends the program where it does not in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if machine.ended or time.monotonic() > deadline:
            logs = machine.run("journalctl", "--no-pager", "--lines=60", "--output=short-monotonic")[1]
            sys.exit(f"{machine.name}: not within {seconds:.0f} s: {what}\n"
                     f"{logs or machine.console[-3000:]}")
        time.sleep(0.2)
    return found
