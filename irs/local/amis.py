"""CreateImage, which the emulator's EC2 does not have: a snapshot of the root disk, and its image.

MiniStack 1.5.33 has both halves, CreateSnapshot and RegisterImage. What is in the image is
nothing: disks of instances are records there. It is available at once.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


def complete(ec2: ModuleType) -> None:
    """Add CreateImage to ``ministack.services.ec2``."""
    actions: dict[str, Any] = ec2._ACTION_MAP

    def create_image(params: dict[str, Any]) -> Answer:
        instance_id, name = ec2._p(params, "InstanceId"), ec2._p(params, "Name")
        instance = ec2._instances.get(instance_id)
        if instance is None or instance["State"]["Name"] == "terminated":
            return _refused(ec2, "InvalidInstanceID.NotFound",
                            f"The instance ID '{instance_id}' does not exist")
        if any(image["Name"] == name for image in ec2._images.values()):
            return _refused(ec2, "InvalidAMIName.Duplicate",
                            f"AMI name {name} is already in use by another AMI")
        [disk] = instance["BlockDeviceMappings"]
        tags = {key: value for key, value in params.items() if key.startswith("TagSpecification.")}
        before = set(ec2._snapshots)
        actions["CreateSnapshot"]({**tags, "VolumeId": [disk["Ebs"]["VolumeId"]]})
        [snapshot] = set(ec2._snapshots) - before
        known = set(ec2._images)
        answer: Answer = actions["RegisterImage"]({
            **tags, "Name": [name], "Description": [ec2._p(params, "Description")],
            "Architecture": [instance["Architecture"]], "VirtualizationType": ["hvm"],
            "RootDeviceName": [disk["DeviceName"]],
            "BlockDeviceMapping.1.DeviceName": [disk["DeviceName"]],
            "BlockDeviceMapping.1.Ebs.SnapshotId": [snapshot]})
        made = set(ec2._images) - known
        if not made:
            return answer
        return ec2._xml(200, "CreateImageResponse", f"<imageId>{made.pop()}</imageId>")

    actions["CreateImage"] = create_image


def _refused(ec2: ModuleType, code: str, why: str) -> Answer:
    answer: Answer = ec2._error(code, why, 400)
    return answer
