"""How AWS is addressed, where no endpoint is named, and with which credentials."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import boto3  # noqa: TID251 - the session that an instance has
import botocore.session  # noqa: TID251 - the same
import pytest
from botocore.credentials import RefreshableCredentials  # noqa: TID251 - the same

from irs import errors
from irs import settings as settings_module
from irs.aws import clients, hurry
from irs.aws.objects import Objects


@pytest.mark.parametrize(("bucket", "by_host"), [("photos", "true"), ("photos.example.com", "false")])
def test_a_bucket_with_dots_is_no_hosts_name(bucket: str, by_host: str) -> None:
    """S3's certificate is for ``*.s3.REGION.amazonaws.com``, where ``*`` is one label."""
    settings = settings_module.build({"aws_access_key_id": "a", "aws_secret_access_key": "b"})
    assert clients.store(settings, bucket).config["virtual_hosted_style_request"] == by_host


@pytest.mark.parametrize("environment", [
    {}, {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}])
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"])
def test_an_endpoint_is_where_boto3_would_call(
        region: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_module.build({"region": region})
    assert clients.endpoint(settings, "sqs") == boto3.Session(
        "a", "b", region_name=region).client("sqs").meta.endpoint_url


@pytest.mark.parametrize(("left", "size", "seconds"), [
    (math.inf, 100, None), (31, 100, None), (29, 100, 14), (14, 100, 14), (13, 100, 7), (0, 100, 7),
    (13, 7_000_000, 14), (13, 13_000_000, None)],
    ids=["no hurry", "time enough", "little less", "just so", "less", "none left", "larger", "too large"])
def test_how_long_a_put_may_take(left: float, size: int, seconds: float | None) -> None:
    assert clients.soon(left, size) == seconds


@pytest.mark.parametrize("hangs", [1, 2])
def test_a_put_in_a_hurry_has_two_tries_and_ends_in_its_time(monkeypatch: pytest.MonkeyPatch,
                                                             hangs: int) -> None:
    monkeypatch.setattr(clients, "soon", lambda left, size: 2.0 if left < 10 else None)
    taken = []

    def serve() -> None:
        for number in (1, 2):
            connection = silent.accept()[0]
            taken.append(connection)
            if number > hangs:
                connection.recv(65_536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')

    with socket.socket() as silent, contextlib.ExitStack() as stack:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        bucket = Objects(settings_module.build({
            "aws_access_key_id": "a", "aws_secret_access_key": "b",
            "aws_endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}"}), "photos")
        began = time.monotonic()
        ended = pytest.raises(errors.Unreachable) if hangs > 1 else contextlib.nullcontext()
        with hurry.within(1), ended:
            bucket.put("a", b"b")
        took = time.monotonic() - began
        serving.join(10)
        for connection in taken:
            stack.enter_context(connection)
    assert len(taken) == 2
    assert took < 5, "the usual patience is 15 s a try"


class Role:
    """An instance's credentials, each good for a while from when they were made; the clock stands still."""

    def __init__(self, left: timedelta) -> None:
        self.now = datetime.now(UTC)
        self.ends = self.now + left
        self._made = 0
        self.credentials = RefreshableCredentials(
            **self._new(), expiry_time=self.ends, refresh_using=self._renew, method="test",
            time_fetcher=lambda: self.now)

    def _new(self) -> dict[str, str]:
        self._made += 1
        return {"access_key": f"KEY{self._made}", "secret_key": "secret", "token": "token"}

    def _renew(self) -> dict[str, str]:
        self.ends = self.now + timedelta(hours=6)
        return {**self._new(), "expiry_time": self.ends.isoformat()}


@pytest.mark.parametrize("minutes", [9, 14, 16, 29, 31, 360])
def test_no_credentials_are_kept_beyond_their_end(minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore renews those with less than 15 minutes left; obstore must not keep others for longer."""
    role = Role(timedelta(minutes=minutes))
    core = botocore.session.Session()
    monkeypatch.setattr(core, "get_credentials", lambda: role.credentials)
    monkeypatch.setattr(clients, "session", lambda _: boto3.Session(
        region_name="us-east-1", botocore_session=core))
    store = clients.store(settings_module.build({"cluster": f"keeps-{minutes}"}), "photos")
    assert callable(store.credential_provider)
    found = store.credential_provider()
    assert found["access_key_id"] == ("KEY2" if minutes < 15 else "KEY1")
    assert datetime.now(UTC) < found["expires_at"] <= role.ends
