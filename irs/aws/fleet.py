"""The cluster's EC2 instances: only those that carry its tags are ever seen or touched."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from irs import tracing
from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings

CLUSTER_TAG = "irs:cluster"
ROLE_TAG = "irs:role"
ROLE = "app"
#: names what an instance was told at its launch: one of an older mind is not started again
VERSION_TAG = "irs:version"
#: EC2's states: what works or may work again, and what never will
_LASTING = ("pending", "running", "shutting-down", "stopping", "stopped")
_ENDED = ("shutting-down", "terminated")
#: values that EC2 takes in one filter
_FILTER_VALUES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One app instance as DescribeInstances tells it."""

    id: str
    #: pending, running, shutting-down, terminated, stopping or stopped
    state: str
    #: the Name tag
    name: str
    type: str
    launched_at: datetime
    #: what `Fleet.launch` was given; empty where it was not
    version: str = ""

    @property
    def active(self) -> bool:
        """It works, or will without another call."""
        return self.state in ("pending", "running")


class Fleet:
    """Every method raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ec2 = clients.client(settings, "ec2")

    def describe(self) -> list[Instance]:
        """The cluster's app instances that are not terminated; eventually consistent."""
        return sorted(self._find(_LASTING), key=lambda i: (i.launched_at, i.id))

    def ended(self, ids: Collection[str]) -> frozenset[str]:
        """Those of ``ids`` (200 at most are asked for) that EC2 knows to be ending or terminated.

        It tells for about an hour after the end; of what it does not know it says nothing.
        """
        if not ids:
            return frozenset()
        # Its state is looked at here too: a late answer may be one to an earlier question.
        found = self._find(_ENDED, {"Name": "instance-id", "Values": sorted(ids)[:_FILTER_VALUES]})
        return frozenset(i.id for i in found if i.state in _ENDED and i.id in ids)

    def _find(self, states: Sequence[str], *filters: dict[str, Any]) -> Iterator[Instance]:
        with translated("EC2 DescribeInstances"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=[
                {"Name": f"tag:{CLUSTER_TAG}", "Values": [self._settings.cluster]},
                {"Name": f"tag:{ROLE_TAG}", "Values": [ROLE]},
                {"Name": "instance-state-name", "Values": list(states)}, *filters])
            for page in pages:
                for reservation in page["Reservations"]:
                    for raw in reservation["Instances"]:
                        tags = {t["Key"]: t["Value"] for t in raw.get("Tags", ())}
                        yield Instance(
                            id=raw["InstanceId"], state=raw["State"]["Name"],
                            name=tags.get("Name", ""), type=raw.get("InstanceType", ""),
                            launched_at=raw["LaunchTime"], version=tags.get(VERSION_TAG, ""))

    def launch(self, name: str, *, token: str, user_data: str, type: str | None = None,
               subnet: str | None = None, spot: bool = False, version: str = "") -> Instance:
        """One instance; ``token`` (ClientToken) makes a repeat of the call return the first.

        ``type`` and ``subnet`` default to the settings' first. Raises `errors.NoCapacity`
        where EC2 has none.
        """
        s = self._settings
        type, subnet = type or s.instance_type, subnet or next(iter(s.subnet_ids), None)
        tags = [{"Key": "Name", "Value": name}, {"Key": CLUSTER_TAG, "Value": s.cluster},
                {"Key": ROLE_TAG, "Value": ROLE}]
        if version:
            tags.append({"Key": VERSION_TAG, "Value": version})
        request: dict[str, Any] = {
            "ImageId": s.ami, "InstanceType": type, "MinCount": 1, "MaxCount": 1,
            "ClientToken": token,
            # Base64 is botocore's work for RunInstances.
            "UserData": user_data,
            "InstanceInitiatedShutdownBehavior": "terminate",
            # One hop: an image that asks for tokens by itself would make it two.
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled",
                                "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
            **_surroundings(s),
        }
        if subnet:
            request["SubnetId"] = subnet
        if spot:
            # One-time: what EC2 takes back is replaced by the scaler, not by a second mind.
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": {
                "SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}}
        with tracing.aws("EC2", "RunInstances"), translated("EC2 RunInstances"):
            raw = self._ec2.run_instances(**request)["Instances"][0]
        return Instance(id=raw["InstanceId"], state=raw["State"]["Name"], name=name,
                        type=raw.get("InstanceType", type), launched_at=raw["LaunchTime"],
                        version=version)

    def terminate(self, ids: Sequence[str]) -> None:
        """End the instances; each gets SIGTERM first."""
        if ids:
            with tracing.aws("EC2", "TerminateInstances"), translated("EC2 TerminateInstances"):
                self._ec2.terminate_instances(InstanceIds=list(ids))

    def stop(self, ids: Sequence[str]) -> None:
        """Stop the instances; their volumes stay."""
        if ids:
            with tracing.aws("EC2", "StopInstances"), translated("EC2 StopInstances"):
                self._ec2.stop_instances(InstanceIds=list(ids))

    def start(self, ids: Sequence[str]) -> None:
        """Start stopped instances."""
        if ids:
            with tracing.aws("EC2", "StartInstances"), translated("EC2 StartInstances"):
                self._ec2.start_instances(InstanceIds=list(ids))

    def user_data(self, instance_id: str) -> str:
        """The text given at launch."""
        with translated("EC2 DescribeInstanceAttribute"):
            answer = self._ec2.describe_instance_attribute(
                InstanceId=instance_id, Attribute="userData")
        return base64.b64decode(answer.get("UserData", {}).get("Value", "")).decode()

    def shutdown_behavior(self, instance_id: str) -> str:
        """What an OS shutdown does to the instance: ``stop`` or ``terminate``."""
        with translated("EC2 DescribeInstanceAttribute"):
            answer = self._ec2.describe_instance_attribute(
                InstanceId=instance_id, Attribute="instanceInitiatedShutdownBehavior")
        return answer["InstanceInitiatedShutdownBehavior"]["Value"]


def _surroundings(settings: Settings) -> dict[str, Any]:
    """What a launch takes from the account around it."""
    found: dict[str, Any] = {}
    if settings.instance_profile:
        found["IamInstanceProfile"] = {"Name": settings.instance_profile}
    if settings.launch_template:
        # Not its default version, which stays the first one when a stack is updated.
        found["LaunchTemplate"] = {"LaunchTemplateId": settings.launch_template, "Version": "$Latest"}
    if settings.security_group_ids:
        found["SecurityGroupIds"] = list(settings.security_group_ids)
    return found
