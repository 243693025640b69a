"""What launches machines by itself: launch templates, and the Auto Scaling groups that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from irs.aws import clients, parameters
from irs.aws.faults import translated
from irs.settings import Settings

#: How a launch template says that its image is what a parameter of SSM holds.
_BY_PARAMETER = "resolve:ssm:"


def images(settings: Settings) -> dict[str, list[str]]:
    """Images that the account's launch templates name in the Region: by image, ``lt-0abc:3`` and more.

    Of a template its default version counts, its latest, and those that a group names by number:
    what a stack had before its last update would otherwise be in use for ever. An image that a
    version takes from SSM is looked up there. Raises `irs.errors.CloudError`.
    """
    found: dict[str, list[str]] = {}
    wanted = _grouped(settings)
    for template in _templates(settings):
        by_id, by_name = template["LaunchTemplateId"], template["LaunchTemplateName"]
        numbers = {str(template["DefaultVersionNumber"]), str(template["LatestVersionNumber"]),
                   *wanted.get(by_id, ()), *wanted.get(by_name, ())}
        for version in _versions(settings, by_id):
            named = version["LaunchTemplateData"].get("ImageId", "")
            if named and str(version["VersionNumber"]) in numbers:
                image = _resolved(settings, named)
                found.setdefault(image, []).append(f"{by_id}:{version['VersionNumber']}")
    return found


def _templates(settings: Settings) -> Iterator[dict[str, Any]]:
    with translated("EC2 DescribeLaunchTemplates"):
        pages = clients.client(settings, "ec2").get_paginator("describe_launch_templates").paginate()
        for page in pages:
            yield from page["LaunchTemplates"]


def _versions(settings: Settings, template: str) -> Iterator[dict[str, Any]]:
    with translated("EC2 DescribeLaunchTemplateVersions"):
        ec2 = clients.client(settings, "ec2")
        for page in ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template):
            yield from page["LaunchTemplateVersions"]


def _resolved(settings: Settings, named: str) -> str:
    if not named.startswith(_BY_PARAMETER):
        return named
    return parameters.text(settings, named.removeprefix(_BY_PARAMETER))


def _grouped(settings: Settings) -> dict[str, set[str]]:
    """Versions that groups name, by a template's id or name; ``$Latest`` and ``$Default`` among them."""
    found: dict[str, set[str]] = {}
    with translated("Auto Scaling DescribeAutoScalingGroups"):
        groups = clients.client(settings, "autoscaling").get_paginator("describe_auto_scaling_groups")
        for page in groups.paginate():
            for group in page["AutoScalingGroups"]:
                for named in _specifications(group):
                    template = named.get("LaunchTemplateId") or named.get("LaunchTemplateName")
                    if template and named.get("Version"):
                        found.setdefault(template, set()).add(named["Version"])
    return found


def _specifications(group: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The launch templates of a group: its own, or those of its mixed instances, and its machines'."""
    yield group.get("LaunchTemplate", {})
    mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    yield mixed.get("LaunchTemplateSpecification", {})
    for override in mixed.get("Overrides", ()):
        yield override.get("LaunchTemplateSpecification", {})
    for instance in group.get("Instances", ()):
        yield instance.get("LaunchTemplate", {})
