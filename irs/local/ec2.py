"""What the emulator's EC2 leaves out and a launch depends on.

MiniStack 1.5.33 stores user data and never shows it, answers ``stop`` for every instance's
shutdown behaviour, and launches a second instance for a repeated ClientToken. `complete`
replaces those two actions; what they add is kept in the instance's own record, so it is
saved and restored with it. A test compares the originals with what was read here.
"""

from __future__ import annotations

import hashlib
import html
from types import ModuleType
from typing import Any

_TOKEN = "ClientToken"  # noqa: S105 - a field's name
_FINGERPRINT = "_IrsFingerprint"
_BEHAVIOR = "InstanceInitiatedShutdownBehavior"
#: Differ between a call and its repeat.
_SIGNING = ("X-Amz-", "AWSAccessKeyId", "Signature", "Timestamp")

Answer = tuple[int, dict[str, str], bytes]


def complete(ec2: ModuleType) -> None:
    """Replace RunInstances and DescribeInstanceAttribute in ``ministack.services.ec2``."""
    actions: dict[str, Any] = ec2._ACTION_MAP
    run, describe = actions["RunInstances"], actions["DescribeInstanceAttribute"]

    def run_instances(params: dict[str, Any]) -> Answer:
        token = ec2._p(params, "ClientToken")
        fingerprint = _fingerprint(params)
        if token:
            earlier = [i for i in ec2._instances.values() if i.get(_TOKEN) == token]
            if any(i.get(_FINGERPRINT) != fingerprint for i in earlier):
                return ec2._error(
                    "IdempotentParameterMismatch",
                    "The client token has been used with other parameters", 400)
            if earlier:
                return _launched(ec2, earlier)
        before = set(ec2._instances)
        answer = run(params)
        for instance_id in set(ec2._instances) - before:
            instance = ec2._instances[instance_id]
            # EC2's own default; RunInstances names it at the top level.
            instance[_BEHAVIOR] = ec2._p(params, _BEHAVIOR) or "stop"
            if token:
                instance[_TOKEN], instance[_FINGERPRINT] = token, fingerprint
        return answer

    def describe_instance_attribute(params: dict[str, Any]) -> Answer:
        instance = ec2._instances.get(ec2._p(params, "InstanceId"))
        attribute = ec2._p(params, "Attribute")
        if instance and attribute == "userData":
            return _attribute(ec2, instance, "userData", instance.get("UserData") or "")
        if instance and attribute == "instanceInitiatedShutdownBehavior":
            return _attribute(ec2, instance, attribute, instance.get(_BEHAVIOR, "stop"))
        return describe(params)

    actions["RunInstances"] = run_instances
    actions["DescribeInstanceAttribute"] = describe_instance_attribute


def _fingerprint(params: dict[str, Any]) -> str:
    kept = sorted((k, v) for k, v in params.items() if not k.startswith(_SIGNING))
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def _launched(ec2: ModuleType, instances: list[dict[str, Any]]) -> Answer:
    items = "".join(ec2._instance_xml(i) for i in instances)
    return ec2._xml(200, "RunInstancesResponse", (
        f"<instancesSet>{items}</instancesSet>"
        f"<reservationId>r-{instances[0]['InstanceId'][2:]}</reservationId>"
        f"<ownerId>{ec2.get_account_id()}</ownerId><groupSet/>"))


def _attribute(ec2: ModuleType, instance: dict[str, Any], name: str, value: str) -> Answer:
    inner = f"<value>{html.escape(value)}</value>" if value else ""
    return ec2._xml(200, "DescribeInstanceAttributeResponse", (
        f"<instanceId>{instance['InstanceId']}</instanceId><{name}>{inner}</{name}>"))
