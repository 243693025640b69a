"""What the service leans on in EC2."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from irs import errors
from irs.aws import clients
from irs.aws.fleet import Fleet


def token() -> str:
    return secrets.token_hex(32)


def active(fleet: Any) -> list[str]:
    return [i.id for i in fleet.describe() if i.active]


def state(fleet: Any, instance_id: str) -> str | None:
    """None for an instance that is not described, which is one that was terminated."""
    return next((i.state for i in fleet.describe() if i.id == instance_id), None)


def test_a_launched_instance_is_described_with_its_name(world: Any) -> None:
    fleet = world.fleet()
    assert fleet.describe() == []
    launched = fleet.launch("AppTier-Instance-1", token=token(), user_data="IRS_PORT=1\n")
    assert launched.active
    assert launched.name == "AppTier-Instance-1"
    (seen,) = world.eventually(fleet.describe)
    assert (seen.id, seen.name, seen.type) == (launched.id, launched.name, launched.type)
    assert seen.launched_at.tzinfo is not None
    assert world.eventually(lambda: state(fleet, launched.id) == "running")


def test_an_instance_keeps_what_it_was_told(world: Any) -> None:
    fleet = world.fleet()
    text = "IRS_AWS_ENDPOINT_URL=http://127.0.0.1:4566\nIRS_MODEL_WEIGHTS=s3://b/a&b=<c>\n"
    launched = fleet.launch("n", token=token(), user_data=text)
    assert fleet.user_data(launched.id) == text
    silent = fleet.launch("m", token=token(), user_data="")
    assert fleet.user_data(silent.id) == ""


def test_a_shutdown_from_inside_terminates(world: Any) -> None:
    fleet = world.fleet()
    launched = fleet.launch("n", token=token(), user_data="")
    assert fleet.shutdown_behavior(launched.id) == "terminate"


def test_a_repeated_token_is_the_same_instance(world: Any) -> None:
    fleet = world.fleet()
    key = token()
    first = fleet.launch("n", token=key, user_data="")
    again = fleet.launch("n", token=key, user_data="")
    other = fleet.launch("m", token=token(), user_data="")
    assert other.id not in (first.id, again.id)
    if world.kind == "moto":
        # moto does not look at ClientToken: a repeat is a second instance.
        assert again.id != first.id
    else:
        assert again.id == first.id
        assert len(active(fleet)) == 2


@pytest.mark.parametrize("kind", ["cloud", "moto_cloud"])
def test_a_launch_names_its_pool_and_version(kind: str, request: pytest.FixtureRequest) -> None:
    settings = request.getfixturevalue(kind).fresh()
    fleet, ec2 = Fleet(settings), clients.client(settings, "ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    asked: list[dict[str, Any]] = []
    ec2.meta.events.register("provide-client-params.ec2.RunInstances",
                             lambda params, **_: asked.append(params))
    launched = fleet.launch("n", token=token(), user_data="", type="m7i.large", subnet=subnet,
                            spot=True, version="abc")
    # Whatever the image or the account would have instead.
    assert asked[0]["MetadataOptions"].items() >= {
        "HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}.items()
    (seen,) = fleet.describe()
    assert (seen.id, seen.type, seen.version) == (launched.id, "m7i.large", "abc")
    raw = ec2.describe_instances(InstanceIds=[seen.id])["Reservations"][0]["Instances"][0]
    assert raw["SubnetId"] == subnet


def test_a_token_with_other_parameters_is_our_mistake(world: Any) -> None:
    fleet = world.fleet()
    key = token()
    first = fleet.launch("n", token=key, user_data="")
    if world.kind == "moto":
        # The same: moto launches it.
        assert fleet.launch("other", token=key, user_data="").id != first.id
        return
    with pytest.raises(errors.AlreadyExists) as caught:
        fleet.launch("other", token=key, user_data="")
    assert caught.value.code == "IdempotentParameterMismatch"
    assert active(fleet) == [first.id]


def test_a_terminated_instance_is_gone(world: Any) -> None:
    fleet = world.fleet()
    first = fleet.launch("n", token=token(), user_data="")
    second = fleet.launch("m", token=token(), user_data="")
    fleet.terminate([first.id])
    assert world.eventually(lambda: state(fleet, first.id) is None)
    assert active(fleet) == [second.id]
    fleet.terminate([first.id])
    fleet.terminate([])
    assert active(fleet) == [second.id]


def test_an_ended_instance_is_known_to_have_ended(world: Any) -> None:
    fleet, others = world.fleet("-a"), world.fleet("-b")
    works, stopped, ends = [fleet.launch(f"n-{i}", token=token(), user_data="").id for i in range(3)]
    theirs = others.launch("n", token=token(), user_data="").id
    everyone = [works, stopped, ends, theirs, "i-0123456789abcdef0"]
    assert fleet.ended([]) == fleet.ended(everyone) == frozenset()
    fleet.stop([stopped])
    fleet.terminate([ends])
    others.terminate([theirs])
    assert world.eventually(lambda: fleet.ended(everyone)) == {ends}, "of the cluster alone"
    assert fleet.ended([works]) == frozenset(), "only what was asked for"


def test_a_stopped_instance_is_kept_and_starts_again(world: Any) -> None:
    fleet = world.fleet()
    launched = fleet.launch("n", token=token(), user_data="IRS_PORT=1\n")
    fleet.stop([launched.id])
    assert world.eventually(lambda: state(fleet, launched.id) == "stopped")
    assert active(fleet) == []
    fleet.start([launched.id])
    assert world.eventually(lambda: state(fleet, launched.id) == "running")
    assert fleet.user_data(launched.id) == "IRS_PORT=1\n"


def test_an_instance_that_never_was_is_not_found(world: Any) -> None:
    fleet = world.fleet()
    unknown = "i-0123456789abcdef0"
    for call in (fleet.terminate, fleet.stop, fleet.start):
        with pytest.raises(errors.NotFound):
            call([unknown])
    with pytest.raises(errors.NotFound):
        fleet.user_data(unknown)


def test_a_cluster_sees_its_own_instances_only(world: Any) -> None:
    mine, theirs = world.fleet("-a"), world.fleet("-b")
    launched = mine.launch("n", token=token(), user_data="")
    theirs.launch("n", token=token(), user_data="")
    assert active(mine) == [launched.id]


def test_the_oldest_comes_first(world: Any) -> None:
    fleet = world.fleet()
    ids = {fleet.launch(f"n-{i}", token=token(), user_data="").id for i in range(3)}
    seen = fleet.describe()
    assert {i.id for i in seen} == ids
    assert seen == sorted(seen, key=lambda i: (i.launched_at, i.id))
