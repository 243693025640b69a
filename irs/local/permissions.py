"""What the emulator's IAM leaves out of what our tiers' policies say.

MiniStack 1.5.33 takes each batch call of SQS for a permission of its own, holds an EC2 call
against the first thing that it names, an Unsubscribe against nothing and a log's stream against
its group, and knows no tags of instances. `complete` mends that, and holds RunInstances against all
that it makes, uses and passes on, with the condition keys that AWS documents for each:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

#: Instances that one call names, EC2 takes 1,000, and tags of a launch.
_MOST, _TAGS = 1_000, 50
#: Calls about one thing: its kind, and the field that names it.
_ONE = {"ec2:DeregisterImage": ("image", "ImageId"), "ec2:DeleteSnapshot": ("snapshot", "SnapshotId"),
        "ec2:GetConsoleOutput": ("instance", "InstanceId")}
_params: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("irs_ec2_params")
_body: contextvars.ContextVar[bytes] = contextvars.ContextVar("irs_body")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Check:
    """One permission that a call needs."""

    action: str
    resource: str
    #: condition keys beyond those of the request's tags
    keys: Mapping[str, Any] = field(default_factory=dict)


def complete(ec2: ModuleType, tagging: ModuleType, actions: ModuleType, evaluator: ModuleType) -> None:
    """Mend ``iam_actions`` and ``iam_evaluator`` of ``ministack.core``, and ``tagging`` of its services."""
    from_target, extract = actions._action_from_target, actions.extract_iam_action
    enforce = evaluator.enforce

    def action_from_target(headers: Mapping[str, str]) -> str | None:
        found: str | None = from_target(headers)
        if found and headers.get("x-amz-target", "").startswith("AmazonSQS."):
            return found.removesuffix("Batch")
        return found

    def extract_iam_action(*asked: Any) -> str | None:
        _body.set(asked[-2])
        _params.set(asked[-1])  # the query's fields
        found: str | None = extract(*asked)
        return found

    def enforce_all(key: str, action: str, *where: str, resource_arn: str = "*",
                    service_context: Mapping[str, Any] | None = None) -> Any:
        for check in _checks(ec2, action, resource_arn):
            refused = enforce(key, check.action, *where, resource_arn=check.resource,
                              service_context={**(service_context or {}), **check.keys})
            if refused:
                return refused
        return None

    def tags() -> Iterator[tuple[str, list[dict[str, str]]]]:
        return ((_arn(ec2, kind, name), ec2._tags.get(name, [])) for kind, known in (
            ("instance", ec2._instances), ("image", ec2._images), ("snapshot", ec2._snapshots))
            for name in known)

    actions._action_from_target, actions.extract_iam_action = action_from_target, extract_iam_action
    evaluator.enforce = enforce_all
    tagging._RESOURCE_TAG_COLLECTORS["ec2"] = tags


def _arn(ec2: ModuleType, kind: str, name: str) -> str:
    account = "" if kind in ("image", "snapshot") else ec2.get_account_id()
    return f"arn:aws:ec2:{ec2.get_region()}:{account}:{kind}/{name}"


def _checks(ec2: ModuleType, action: str, resource: str) -> Sequence[_Check]:
    if action == "ec2:RunInstances":
        return list(_launch(ec2))
    if action == "ec2:CreateImage":
        return list(_image(ec2))
    if action in ("ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"):
        return [_Check(action=action, resource=_arn(ec2, "instance", i)) for i in _named(ec2, "InstanceId")]
    if action in _ONE:
        kind, name = _ONE[action]
        return [_Check(action=action, resource=_arn(ec2, kind, _said(ec2)(name)))]
    if action == "sns:Unsubscribe":
        # Held against the subscription's topic; the call has the subscription's name alone.
        resource = str(ec2._p(_params.get(), "SubscriptionArn")).rpartition(":")[0]
    if action.startswith("logs:") and resource != "*":
        # AWS holds a call against the stream, or against no stream of the group: which is why a
        # group's ARN ends with :* in policies.
        resource += f":log-stream:{_fields().get('logStreamName', '')}"
    return [_Check(action=action, resource=resource)]


def _fields() -> Mapping[str, Any]:
    """A call's own, where it is JSON; those of one that is broken are for its service to refuse."""
    try:
        found = json.loads(_body.get() or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _image(ec2: ModuleType) -> Iterator[_Check]:
    """All that CreateImage needs: the instance as it is, image and snapshots as they are to be."""
    said = _said(ec2)
    yield _Check(action="ec2:CreateImage", resource=_arn(ec2, "instance", said("InstanceId")))
    for kind in ("image", "snapshot"):
        tags = _asked(said, kind)
        yield _Check(action="ec2:CreateImage", resource=_arn(ec2, kind, "*"), keys=tags)
        if tags:
            yield _Check(action="ec2:CreateTags", resource=_arn(ec2, kind, "*"),
                         keys=tags | {"ec2:CreateAction": "CreateImage"})


def _asked(said: Callable[[str], str], kind: str) -> dict[str, str]:
    """Tags that the call wants on a kind of thing."""
    spec = next((n for n in (1, 2) if said(f"TagSpecification.{n}.ResourceType") == kind), None)
    return {} if spec is None else _tags(
        (said(f"TagSpecification.{spec}.Tag.{n}.Key"), said(f"TagSpecification.{spec}.Tag.{n}.Value"))
        for n in range(1, _TAGS + 1))


def _named(ec2: ModuleType, name: str) -> list[str]:
    found = (ec2._p(_params.get(), f"{name}.{number}") for number in range(1, _MOST + 1))
    return [value for value in found if value]


def _launch(ec2: ModuleType) -> Iterator[_Check]:
    """All that RunInstances needs, from the call's own fields and its template's."""
    said = _said(ec2)
    template = said("LaunchTemplate.LaunchTemplateId")
    told = _told(ec2, template)
    keys = {"ec2:LaunchTemplate": _arn(ec2, "launch-template", template)} if template else {}
    run, profile = "ec2:RunInstances", said("IamInstanceProfile.Name")
    disks = [mapping.get("Ebs", {}) for mapping in told.get("BlockDeviceMappings", [])]
    encrypted = bool(disks) and all(disk.get("Encrypted") is True for disk in disks)
    mine = _tags((said(f"TagSpecification.1.Tag.{n}.Key"), said(f"TagSpecification.1.Tag.{n}.Value"))
                 for n in range(1, _TAGS + 1))
    yield _Check(action=run, resource=_arn(ec2, "instance", "*"), keys=keys | mine | {
        "ec2:InstanceType": said("InstanceType"),
        "ec2:MetadataHttpTokens": said("MetadataOptions.HttpTokens"),
        "ec2:InstanceProfile": f"arn:aws:iam::{ec2.get_account_id()}:instance-profile/{profile}"})
    yield _Check(action=run, resource=_arn(ec2, "volume", "*"), keys=keys | {
        "ec2:Encrypted": str(encrypted).lower()})
    used = [("image", said("ImageId")), ("subnet", said("SubnetId")), ("network-interface", "*"),
            ("launch-template", template), *(("security-group", i) for i in _named(ec2, "SecurityGroupId")),
            ("spot-instances-request", "*" if said("InstanceMarketOptions.MarketType") == "spot" else "")]
    for kind, name in used:
        if name:
            yield _Check(action=run, resource=_arn(ec2, kind, name), keys=keys)
    for kind, tags in (("instance", mine), *_template_tags(told)):
        if tags:
            yield _Check(action="ec2:CreateTags", resource=_arn(ec2, kind, "*"),
                         keys=tags | {"ec2:CreateAction": "RunInstances"})
    for arn in _roles(profile):
        yield _Check(action="iam:PassRole", resource=arn, keys={"iam:PassedToService": "ec2.amazonaws.com"})


def _said(ec2: ModuleType) -> Callable[[str], str]:
    return lambda name: ec2._p(_params.get(), name) or ""


def _told(ec2: ModuleType, template: str) -> Mapping[str, Any]:
    """The latest version of the launch template; empty where there is none."""
    known = ec2._launch_templates.get(template)
    data: Mapping[str, Any] = known["Versions"][-1]["LaunchTemplateData"] if known else {}
    return data


def _tags(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"aws:RequestTag/{key}": value for key, value in pairs if key}


def _template_tags(told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for spec in told.get("TagSpecifications", []):
        yield spec["ResourceType"], _tags((tag["Key"], tag["Value"]) for tag in spec["Tags"])


def _roles(profile: str) -> list[str]:
    from ministack.services import iam

    found = iam._instance_profiles.get(profile) or {}
    return [iam._roles[name]["Arn"] for name in found.get("Roles", []) if name in iam._roles]
