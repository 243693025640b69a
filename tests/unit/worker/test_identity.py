"""Where others reach a worker's port."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from irs.local import role
from irs.local.metadata import Facts, MetadataServer
from irs.settings import load
from irs.worker import identity


@pytest.fixture(autouse=True)
def _nobody_yet() -> Iterator[None]:
    identity.metadata.cache_clear()
    yield
    identity.metadata.cache_clear()


@pytest.mark.parametrize(("host", "address"), [
    ("127.0.0.1", "127.0.0.1:9101"), ("10.0.0.7", "10.0.0.7:9101"), ("::1", "[::1]:9101")])
def test_one_address_is_what_it_is(host: str, address: str) -> None:
    assert identity.address(host, 9101) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_are_reached_at_the_instances_own(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MetadataServer(Facts(instance_id="i-1", instance_type="t", ami="ami-1", region="us-east-1",
                                  credentials=role.credentials(load(), "i-1")))
    try:
        monkeypatch.setenv("IRS_METADATA_ENDPOINT", server.endpoint)
        load.cache_clear()
        assert identity.address(host, 9101) == "127.0.0.1:9101"
    finally:
        server.close()


def test_off_ec2_at_the_hosts_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 of loopback refuses at once.
    monkeypatch.setenv("IRS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    load.cache_clear()
    assert identity.address("0.0.0.0", 9101) == f"{socket.gethostname()}:9101"
