"""The metadata endpoint answers as EC2's does, to our client and to botocore's."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from botocore.utils import InstanceMetadataFetcher  # noqa: TID251 - the client that must understand us

from irs.aws.metadata import Metadata
from irs.errors import NotFound
from irs.local.metadata import Facts, MetadataServer
from irs.local.role import Credentials

LENT = Credentials(role="irs-app", access_key="ASIA1", secret_key="s", token="t",
                   expires=datetime(2099, 1, 1, tzinfo=UTC))
FACTS = Facts(
    credentials=LENT,
    instance_id="i-0123456789abcdef0", instance_type="c7i.large", ami="ami-0ee8cf7b8a34448a6",
    region="eu-west-1", user_data="IRS_MODEL=resnet18\nIRS_CLUSTER=é\n",
    tags={"Name": "AppTier-Instance-1", "irs:cluster": "irs", "irs:role": "app"})


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    running = MetadataServer(FACTS)
    yield running
    running.close()


def call(server: MetadataServer, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(
        server.endpoint + path, method=method,
        headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


@pytest.mark.parametrize(("path", "text"), [
    ("user-data", FACTS.user_data),
    ("meta-data/instance-id", FACTS.instance_id),
    ("meta-data/instance-type", "c7i.large"),
    ("meta-data/ami-id", FACTS.ami),
    ("meta-data/placement/region", "eu-west-1"),
    ("meta-data/placement/availability-zone", "eu-west-1a"),
    ("meta-data/local-ipv4", "127.0.0.1"),
    ("meta-data/tags/instance/Name", "AppTier-Instance-1"),
    ("meta-data/tags/instance/irs:role", "app"),
    ("meta-data/tags/instance/", "Name\nirs:cluster\nirs:role"),
    ("meta-data/tags/instance", "Name\nirs:cluster\nirs:role"),
    ("meta-data/iam/security-credentials/", "irs-app"),
    ("meta-data/", "ami-id\niam/\ninstance-id\ninstance-type\nlocal-ipv4\nplacement/\ntags/"),
])
def test_values(server: MetadataServer, path: str, text: str) -> None:
    assert Metadata(server.endpoint).get(path) == text


@pytest.mark.parametrize("path", [
    "meta-data/nothing", "meta-data/instance", "nothing", "", "meta-data/spot/instance-action",
    "meta-data/iam/security-credentials/other",
])
def test_unknown_paths_are_not_found(server: MetadataServer, path: str) -> None:
    with pytest.raises(NotFound):
        Metadata(server.endpoint).get(path)


def test_an_instance_without_user_data(server: MetadataServer) -> None:
    server.facts = Facts(instance_id="i-1", instance_type="t", ami="ami-1", region="r", credentials=LENT)
    metadata = Metadata(server.endpoint)
    assert metadata.user_data() == ""
    assert metadata.instance_id() == "i-1"


def test_a_spot_interruption_appears_once_announced(server: MetadataServer) -> None:
    metadata = Metadata(server.endpoint)
    assert metadata.spot_action() is None
    server.interrupt("stop", seconds=120)
    notice = json.loads(metadata.spot_action() or "")
    assert notice["action"] == "stop"
    assert notice["time"].endswith("Z")


def test_identity_document(server: MetadataServer) -> None:
    document = json.loads(Metadata(server.endpoint).get("dynamic/instance-identity/document"))
    assert document["instanceId"] == FACTS.instance_id
    assert document["region"] == "eu-west-1"


@pytest.mark.parametrize(("why", "headers", "status"), [
    ("version 1 is off", {}, 401),
    ("a token we never gave", {"X_aws_ec2_metadata_token": "made-up"}, 401),
])
def test_gets_need_a_token(
        server: MetadataServer, why: str, headers: dict[str, str], status: int) -> None:
    assert call(server, "/latest/meta-data/instance-id", **headers)[0] == status, why


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 400),
    ({"X_aws_ec2_metadata_token_ttl_seconds": "0"}, 400),
    ({"X_aws_ec2_metadata_token_ttl_seconds": "21601"}, 400),
    ({"X_aws_ec2_metadata_token_ttl_seconds": "soon"}, 400),
    ({"X_aws_ec2_metadata_token_ttl_seconds": "60", "X_Forwarded_For": "10.0.0.1"}, 403),
    ({"X_aws_ec2_metadata_token_ttl_seconds": "60"}, 200),
])
def test_tokens(server: MetadataServer, headers: dict[str, str], status: int) -> None:
    assert call(server, "/latest/api/token", method="PUT", **headers)[0] == status


def test_a_token_expires(server: MetadataServer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = server.new_token("60")
    assert server.admits(token)
    monkeypatch.setattr("irs.local.metadata.time.monotonic", lambda: float("inf"))
    assert not server.admits(token)


def test_botocore_finds_credentials(server: MetadataServer) -> None:
    fetcher = InstanceMetadataFetcher(base_url=server.endpoint + "/", env={})
    found = fetcher.retrieve_iam_role_credentials()
    assert found["role_name"] == "irs-app"
    assert (found["access_key"], found["secret_key"], found["token"]) == ("ASIA1", "s", "t")
    assert found["expiry_time"] == "2099-01-01T00:00:00Z"
