"""Machine images of ours, and the machines that they are made on: those with our tags alone.

A builder, its image and its snapshots carry the tag irs:role=ami-build, which is what the
policy of deploy/ami-build.yaml goes by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from irs import errors
from irs.aws import clients, parameters
from irs.aws.faults import translated
from irs.aws.fleet import CLUSTER_TAG, ROLE_TAG
from irs.settings import Settings

ROLE = "ami-build"
BUILD_TAG, BUILT_TAG = "irs:build", "irs:built"
VERSION_TAG, MODEL_TAG, BASE_TAG = "irs:version", "irs:model", "irs:base"
#: What the name of an image may not have in it; a version may: 0.2.0+local.
_NAMELESS = re.compile(r"[^A-Za-z0-9()\[\] ./'@_-]")
_LASTING = ("pending", "running", "shutting-down", "stopping", "stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """What a machine is built on."""

    id: str
    #: what the image calls its root device
    root: str
    #: GiB, the least that its disk can have
    size: int
    #: x86_64 or arm64
    architecture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineImage:
    """One of our images."""

    id: str
    #: pending, available, failed, or one of EC2's rarer states
    state: str
    name: str
    version: str
    model: str
    #: the image that it was built on
    base: str
    #: when its build began; None for an image that somebody tagged by hand
    built_at: datetime | None
    snapshots: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """A machine that an image is built on."""

    id: str
    #: EC2's
    state: str
    #: which build launched it
    build: str


class MachineImages:
    """Every method raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ec2 = clients.client(settings, "ec2")

    def base(self, named: str) -> Base:
        """The image of that id, or that the SSM parameter of that name holds."""
        image_id = named if named.startswith("ami-") else parameters.text(self._settings, named)
        with translated("EC2 DescribeImages"):
            found = self._ec2.describe_images(ImageIds=[image_id])["Images"]
        if not found:
            raise errors.NotFound(f"EC2 DescribeImages: no image {image_id}")
        root = found[0].get("RootDeviceName", "")
        if found[0].get("RootDeviceType") != "ebs" or not root:
            raise errors.Permanent(f"{image_id} has no disk of EBS to make an image of")
        sizes = [m["Ebs"].get("VolumeSize", 0) for m in found[0].get("BlockDeviceMappings", ())
                 if m.get("DeviceName") == root and "Ebs" in m]
        return Base(id=image_id, root=root, size=max(sizes, default=0),
                    architecture=found[0].get("Architecture", ""))

    def architectures(self, type: str) -> list[str]:
        """What a type of instance can run, of x86_64 and arm64."""
        with translated("EC2 DescribeInstanceTypes"):
            found = self._ec2.describe_instance_types(InstanceTypes=[type])["InstanceTypes"]
        able = {a for raw in found for a in raw["ProcessorInfo"]["SupportedArchitectures"]}
        if not able & {"x86_64", "arm64"}:
            raise errors.NotFound(f"EC2 DescribeInstanceTypes: no type {type} of x86_64 or arm64")
        return sorted(able & {"x86_64", "arm64"}, reverse=True)

    def launch(self, base: Base, *, build: str, type: str, subnet: str | None, groups: tuple[str, ...],
               size: int, user_data: str) -> str:
        """One builder's id. It has no key and no role, and a shutdown from inside ends it."""
        request: dict[str, Any] = {
            "ImageId": base.id, "InstanceType": type, "MinCount": 1, "MaxCount": 1,
            "ClientToken": build, "UserData": user_data,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled",
                                "HttpPutResponseHopLimit": 1},
            "BlockDeviceMappings": [{"DeviceName": base.root, "Ebs": {
                "VolumeSize": max(size, base.size), "VolumeType": "gp3", "Encrypted": True,
                "DeleteOnTermination": True}}],
            "TagSpecifications": [self._tagged("instance", {
                "Name": f"{self._settings.cluster}-{ROLE}", BUILD_TAG: build})],
        }
        if subnet:
            request["SubnetId"] = subnet
        if groups:
            request["SecurityGroupIds"] = list(groups)
        with translated("EC2 RunInstances"):
            return str(self._ec2.run_instances(**request)["Instances"][0]["InstanceId"])

    def builders(self) -> list[Builder]:
        """The cluster's builders that are not terminated; eventually consistent."""
        return [Builder(id=raw["InstanceId"], state=raw["State"]["Name"], build=tags.get(BUILD_TAG, ""))
                for raw, tags in self._instances(ROLE)]

    def used(self) -> dict[str, list[str]]:
        """Images that instances of the cluster were made of, builders left out: their ids."""
        found: dict[str, list[str]] = {}
        for raw, tags in self._instances():
            if tags.get(ROLE_TAG) != ROLE:
                found.setdefault(raw["ImageId"], []).append(raw["InstanceId"])
        return found

    def _instances(self, role: str = "") -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        filters = [{"Name": f"tag:{CLUSTER_TAG}", "Values": [self._settings.cluster]},
                   {"Name": "instance-state-name", "Values": list(_LASTING)}]
        if role:
            filters.append({"Name": f"tag:{ROLE_TAG}", "Values": [role]})
        with translated("EC2 DescribeInstances"):
            for page in self._ec2.get_paginator("describe_instances").paginate(Filters=filters):
                for reservation in page["Reservations"]:
                    for raw in reservation["Instances"]:
                        yield raw, _tags(raw)

    def stop(self, instance: str) -> None:
        """Stop a builder; its disk stays."""
        with translated("EC2 StopInstances"):
            self._ec2.stop_instances(InstanceIds=[instance])

    def terminate(self, instance: str) -> None:
        """End a builder, its disk with it."""
        with translated("EC2 TerminateInstances"):
            self._ec2.terminate_instances(InstanceIds=[instance])

    def create(self, instance: str, *, name: str, description: str, tags: Mapping[str, str]) -> str:
        """Begin an image of a stopped builder; its id. `images` tells when it is available."""
        name = _NAMELESS.sub("-", name)
        told = {"Name": name, **tags}
        with translated("EC2 CreateImage"):
            return str(self._ec2.create_image(
                InstanceId=instance, Name=name, Description=description,
                TagSpecifications=[self._tagged("image", told), self._tagged("snapshot", told)],
            )["ImageId"])

    def images(self) -> list[MachineImage]:
        """The cluster's images in any state, the newest first."""
        with translated("EC2 DescribeImages"):
            found = self._ec2.describe_images(Owners=["self"], Filters=self._ours())["Images"]
        never = datetime.min.replace(tzinfo=UTC)
        return sorted(map(_image, found), key=lambda i: (i.built_at or never, i.id), reverse=True)

    def remove(self, image: MachineImage) -> None:
        """Deregister an image and delete its snapshots; what is not there any more is no error."""
        self._gone("EC2 DeregisterImage", lambda: self._ec2.deregister_image(ImageId=image.id))
        for snapshot in image.snapshots:
            self.delete(snapshot)

    def orphans(self) -> list[str]:
        """Our snapshots that are in no image, as a build that was killed may leave them."""
        with translated("EC2 DescribeSnapshots"):
            found = self._ec2.describe_snapshots(OwnerIds=["self"], Filters=self._ours())["Snapshots"]
        kept = {snapshot for image in self.images() for snapshot in image.snapshots}
        return sorted({raw["SnapshotId"] for raw in found} - kept)

    def delete(self, snapshot: str) -> None:
        """Delete a snapshot; one that is not there any more is no error."""
        self._gone("EC2 DeleteSnapshot", lambda: self._ec2.delete_snapshot(SnapshotId=snapshot))

    @staticmethod
    def _gone(what: str, call: Callable[[], object]) -> None:
        try:
            with translated(what):
                call()
        except errors.NotFound:
            return

    def _ours(self) -> list[dict[str, Any]]:
        return [{"Name": f"tag:{ROLE_TAG}", "Values": [ROLE]},
                {"Name": f"tag:{CLUSTER_TAG}", "Values": [self._settings.cluster]}]

    def console(self, instance: str) -> str:
        """What the machine has written to its console, as far as EC2 has it; minutes late."""
        with translated("EC2 GetConsoleOutput"):
            return str(self._ec2.get_console_output(InstanceId=instance).get("Output") or "")

    def _tagged(self, kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
        told = {CLUSTER_TAG: self._settings.cluster, ROLE_TAG: ROLE, **tags}
        return {"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in told.items()]}


def _tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}


def _image(raw: Mapping[str, Any]) -> MachineImage:
    tags = _tags(raw)
    try:
        built: datetime | None = datetime.fromisoformat(tags.get(BUILT_TAG, ""))
    except ValueError:
        built = None
    if built is not None and built.tzinfo is None:
        built = None
    snapshots = [m["Ebs"].get("SnapshotId") for m in raw.get("BlockDeviceMappings", ()) if "Ebs" in m]
    return MachineImage(
        id=raw["ImageId"], state=raw["State"], name=raw.get("Name", ""),
        version=tags.get(VERSION_TAG, ""), model=tags.get(MODEL_TAG, ""), base=tags.get(BASE_TAG, ""),
        built_at=built, snapshots=tuple(s for s in snapshots if s))
