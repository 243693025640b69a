"""Machine images of ours, against the embedded cloud and a moto server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from irs import errors
from irs.aws import clients, launches, parameters
from irs.aws.fleet import Fleet
from irs.aws.machine_images import (
    BASE_TAG,
    BUILT_TAG,
    MODEL_TAG,
    VERSION_TAG,
    MachineImages,
)
from irs.settings import Settings
from tests.conftest import Cloud

SIZE = 24


@pytest.fixture(params=["embedded", "moto"])
def settings(request: pytest.FixtureRequest) -> Settings:
    name = {"embedded": "cloud", "moto": "moto_cloud"}[request.param]
    settings: Settings = request.getfixturevalue(name).fresh()
    if request.param == "moto":
        clients.client(settings, "ec2").meta.events.register(
            "provide-client-params.ec2.CreateImage", without_snapshots)
    return settings


def without_snapshots(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """moto takes no tags for the snapshots of an image."""
    return {**params, "TagSpecifications": [
        spec for spec in params["TagSpecifications"] if spec["ResourceType"] != "snapshot"]}


@pytest.fixture
def faithful(request: pytest.FixtureRequest) -> bool:
    """Whether it knows ClientTokens, tags of snapshots, and that a name is one image's; moto does not."""
    return bool(request.node.callspec.params["settings"] == "embedded")


@pytest.fixture
def ami(settings: Settings) -> str:
    """Some image of a disk."""
    found = clients.client(settings, "ec2").describe_images(Owners=["amazon"])["Images"]
    return str(next(i["ImageId"] for i in found if i["RootDeviceType"] == "ebs"))


def launch(port: MachineImages, ami: str, build: str = "") -> str:
    return port.launch(port.base(ami), build=build or uuid.uuid4().hex, type="c7i.large", subnet=None,
                       groups=(), size=SIZE, user_data="#cloud-config\n")


def raw(settings: Settings, instance: str) -> dict[str, Any]:
    found = clients.client(settings, "ec2").describe_instances(InstanceIds=[instance])
    return found["Reservations"][0]["Instances"][0]


def test_a_base_is_an_image_or_a_parameter_that_names_one(settings: Settings, ami: str) -> None:
    port = MachineImages(settings)
    base = port.base(ami)
    assert base.id == ami
    assert base.root.startswith("/dev/")
    clients.client(settings, "ssm").put_parameter(
        Name=f"/{settings.cluster}/newest", Value=ami, Type="String")
    assert port.base(f"/{settings.cluster}/newest") == base
    with pytest.raises(errors.NotFound):
        port.base("/no/such/parameter")
    with pytest.raises(errors.NotFound):
        port.base("ami-00000000000000000")


def test_secrets_come_decrypted(settings: Settings) -> None:
    clients.client(settings, "ssm").put_parameter(
        Name=f"/irs/{settings.cluster}/web", Value="IRS_API_KEYS=a:b", Type="SecureString")
    assert parameters.text(settings, f"/irs/{settings.cluster}/web") == "IRS_API_KEYS=a:b"


def test_a_builder_is_launched_once_is_fenced_and_ends(
        settings: Settings, ami: str, faithful: bool) -> None:
    port, build = MachineImages(settings), uuid.uuid4().hex
    instance = launch(port, ami, build)
    if faithful:
        assert launch(port, ami, build) == instance, "the same ClientToken"
    [found] = port.builders()
    assert (found.id, found.build) == (instance, build)
    told = raw(settings, instance)
    assert "KeyName" not in told or not told["KeyName"]
    assert "IamInstanceProfile" not in told
    assert Fleet(settings).user_data(instance) == "#cloud-config\n"
    assert Fleet(settings).shutdown_behavior(instance) == "terminate"
    assert Fleet(settings).describe() == [], "it is none of the scaler's"
    assert port.used() == {}
    port.stop(instance)
    assert [b.state for b in port.builders()] == ["stopped"]
    port.terminate(instance)
    assert port.builders() == []


def test_an_image_is_made_listed_and_removed_with_its_snapshot(
        settings: Settings, ami: str, faithful: bool) -> None:
    port, other = MachineImages(settings), MachineImages(
        settings.model_copy(update={"cluster": settings.cluster + "-other"}))
    instance = launch(port, ami)
    port.stop(instance)
    built = datetime(2026, 11, 25, 12, tzinfo=UTC)
    tags = {VERSION_TAG: "0.1.0", MODEL_TAG: "m-0123", BASE_TAG: ami, BUILT_TAG: built.isoformat()}
    name = f"irs-{settings.cluster}-0.1.0-local"
    made = port.create(instance, name=name.replace("0-l", "0+l"), description="d", tags=tags)
    if faithful:
        with pytest.raises(errors.CloudError):
            port.create(instance, name=name, description="d", tags=tags)
    [image] = port.images()
    assert (image.id, image.state, image.name, image.version, image.model, image.base, image.built_at) == (
        made, "available", name, "0.1.0", "m-0123", ami, built)
    assert len(image.snapshots) == 1
    assert other.images() == []
    ec2 = clients.client(settings, "ec2")
    [snapshot] = ec2.describe_snapshots(SnapshotIds=list(image.snapshots))["Snapshots"]
    if faithful:
        assert {"Key": "irs:role", "Value": "ami-build"} in snapshot["Tags"]
    assert port.orphans() == []

    ec2.deregister_image(ImageId=made)
    assert port.images() == []
    if faithful:
        assert port.orphans() == list(image.snapshots), "what a build that was killed leaves"
    port.remove(image)
    assert port.orphans() == []
    port.terminate(instance)


def test_a_fleet_uses_the_image_that_it_was_made_of(settings: Settings, ami: str) -> None:
    fleet = Fleet(settings.model_copy(update={"ami": ami}))
    launched = fleet.launch("app-1", token="t", user_data="")
    assert MachineImages(settings).used() == {ami: [launched.id]}
    fleet.terminate([launched.id])
    assert MachineImages(settings).used() == {}




class Templates:
    """Launch templates whose versions name images."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.ec2 = settings, clients.client(settings, "ec2")
        self.groups = clients.client(settings, "autoscaling")

    def make(self, *images: str) -> str:
        """A version for each; the first is the default. Its id."""
        data = [{"ImageId": image, "InstanceType": "c7i.large"} for image in images]
        made = self.ec2.create_launch_template(LaunchTemplateName=f"t-{uuid.uuid4().hex}",
                                               LaunchTemplateData=data[0])
        name = str(made["LaunchTemplate"]["LaunchTemplateId"])
        for told in data[1:]:
            self.ec2.create_launch_template_version(LaunchTemplateId=name, LaunchTemplateData=told)
        return name

    def group(self, **told: Any) -> None:
        """A group of no machines."""
        self.groups.create_auto_scaling_group(
            AutoScalingGroupName=f"g-{uuid.uuid4().hex}", MinSize=0, MaxSize=1, DesiredCapacity=0,
            AvailabilityZones=["us-east-1a"], **told)

    def named(self, *templates: str) -> dict[str, list[str]]:
        """What of these is in use, by image."""
        found = {image: [v for v in versions if v.partition(":")[0] in templates]
                 for image, versions in launches.images(self.settings).items()}
        return {image: versions for image, versions in found.items() if versions}


def test_of_a_launch_template_counts_what_may_be_launched(settings: Settings) -> None:
    templates = Templates(settings)
    a, b, c, d = (f"ami-{letter * 17}" for letter in "abcd")
    first = templates.make(a, b, c, d)
    assert templates.named(first) == {a: [f"{first}:1"], d: [f"{first}:4"]}, "the default, and the latest"
    templates.group(LaunchTemplate={"LaunchTemplateId": first, "Version": "2"})
    templates.group(LaunchTemplate={"LaunchTemplateId": first, "Version": "$Latest"})
    assert templates.named(first) == {a: [f"{first}:1"], b: [f"{first}:2"], d: [f"{first}:4"]}
    # A new default leaves the old one, which nothing names any more; two templates may name one image.
    templates.ec2.modify_launch_template(LaunchTemplateId=first, DefaultVersion="4")
    second = templates.make(b)
    found = templates.named(first, second)
    assert {image: sorted(versions) for image, versions in found.items()} == {
        b: sorted([f"{first}:2", f"{second}:1"]), d: [f"{first}:4"]}


def test_a_launch_template_may_take_its_image_from_a_parameter_or_name_none(
        settings: Settings, ami: str) -> None:
    templates, parameter = Templates(settings), f"/{settings.cluster}/image"
    clients.client(settings, "ssm").put_parameter(Name=parameter, Value=ami, Type="String")
    made = templates.make(f"resolve:ssm:{parameter}")
    bare = templates.ec2.create_launch_template(
        LaunchTemplateName=f"t-{uuid.uuid4().hex}", LaunchTemplateData={"InstanceType": "c7i.large"})
    assert templates.named(made) == {ami: [f"{made}:1"]}
    # What is not known may be any image: nothing goes by a guess.
    clients.client(settings, "ssm").delete_parameter(Name=parameter)
    with pytest.raises(errors.NotFound, match=parameter):
        launches.images(settings)
    for template in (made, bare["LaunchTemplate"]["LaunchTemplateId"]):
        templates.ec2.delete_launch_template(LaunchTemplateId=template)


def test_a_group_of_mixed_instances_names_more_than_one_version(moto_cloud: Cloud) -> None:
    """The embedded cloud's groups have one launch template."""
    templates = Templates(moto_cloud.fresh())
    a, b, c, d = (f"ami-{letter * 17}" for letter in "abcd")
    x86, arm = templates.make(a, b, c), templates.make(a, b, d)
    templates.group(MixedInstancesPolicy={"LaunchTemplate": {
        "LaunchTemplateSpecification": {"LaunchTemplateId": x86, "Version": "2"},
        "Overrides": [{"InstanceType": "c7g.large", "LaunchTemplateSpecification": {
            "LaunchTemplateId": arm, "Version": "2"}}]}})
    found = templates.named(x86, arm)
    assert {i: sorted(versions) for i, versions in found.items()} == {
        a: sorted([f"{x86}:1", f"{arm}:1"]), b: sorted([f"{x86}:2", f"{arm}:2"]),
        c: [f"{x86}:3"], d: [f"{arm}:3"]}


def test_a_type_s_processors_are_known(settings: Settings, ami: str, faithful: bool) -> None:
    port = MachineImages(settings)
    assert port.architectures("c7i.large") == ["x86_64"]
    assert port.base(ami).architecture in ("x86_64", "arm64")
    if not faithful:  # to the embedded cloud every type is x86-64, and every name a type
        assert port.architectures("c7g.large") == ["arm64"]
        with pytest.raises(errors.CloudError):
            port.architectures("c7x.large")
