"""The fault proxy between the real clients and the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from irs import errors
from irs.aws import provision
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.settings import Settings
from irs.testing.proxy import Answer, Exchange, Proxy, Rule

pytestmark = pytest.mark.integration


@pytest.fixture
def heard() -> list[Exchange]:
    return []


@pytest.fixture
def settings(cloud) -> Settings:
    made = cloud.fresh()
    provision.ensure(made)
    return made


@pytest.fixture
def proxy(cloud, heard) -> Iterator[Proxy]:
    with Proxy(cloud.endpoint, heard=heard.append) as found:
        yield found


@pytest.fixture
def behind(settings: Settings, proxy: Proxy) -> Settings:
    return settings.model_copy(update={"aws_endpoint_url": proxy.endpoint})


def test_every_client_of_ours_goes_through_it(behind, heard):
    queue = Queue(behind, behind.input_queue)
    queue.send("x")
    (message,) = queue.receive(wait=0)
    queue.delete_batch([message.receipt])
    objects = Objects(behind, behind.input_bucket)
    objects.put("a/b", b"data", create=True)
    assert objects.get("a/b") == b"data"
    assert list(objects.keys("a/")) == ["a/b"]
    assert objects.exists("a/b")
    objects.delete("a/b")
    Fleet(behind).describe()
    assert [(e.call.service, e.call.operation) for e in heard] == [
        ("sqs", "GetQueueUrl"), ("sqs", "SendMessageBatch"), ("sqs", "ReceiveMessage"),
        ("sqs", "DeleteMessageBatch"), ("s3", "PutObject"), ("s3", "GetObject"),
        ("s3", "ListObjectsV2"), ("s3", "HeadObject"), ("s3", heard[8].call.operation),
        ("ec2", "DescribeInstances")]
    assert {e.call.target for e in heard[:4]} == {behind.input_queue}
    assert heard[4].call.target == f"{behind.input_bucket}/a/b"


@pytest.mark.parametrize(("status", "code", "kind"), [
    (400, "QueueDoesNotExist", errors.NotFound), (403, "ExpiredToken", errors.Unreachable),
    (400, "RequestThrottled", errors.Throttled), (403, "AccessDenied", errors.AccessDenied),
    (500, "InternalError", errors.Unreachable), (503, "ServiceUnavailable", errors.Unreachable),
])
def test_sqs_refusals_are_the_errors_that_aws_gives(behind, proxy, status, code, kind):
    queue = Queue(behind, behind.input_queue)
    fault = proxy.add(Rule(service="sqs", action=Answer(status, code), operations={"ReceiveMessage"}))
    with pytest.raises(kind):
        queue.receive(wait=0)
    assert fault.fired == 1


@pytest.mark.parametrize(("status", "code", "kind"), [
    (403, "AccessDenied", errors.AccessDenied), (404, "NoSuchKey", errors.NotFound),
    (503, "SlowDown", errors.Throttled), (500, "InternalError", errors.Unreachable),
])
def test_s3_refusals_are_the_errors_that_aws_gives(behind, proxy, status, code, kind):
    fault = proxy.add(Rule(service="s3", action=Answer(status, code)))
    with pytest.raises(kind):
        Objects(behind, behind.input_bucket).get("a/b")
    assert fault.fired


def test_ec2_refusals_are_the_errors_that_aws_gives(behind, proxy):
    proxy.add(Rule(service="ec2", action=Answer(403, "UnauthorizedOperation")))
    with pytest.raises(errors.AccessDenied):
        Fleet(behind).describe()
