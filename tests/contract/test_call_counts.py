"""Real clients against an emulator: what they call is what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors
from irs.aws import calls, provision
from irs.aws.calls import Tally
from irs.aws.objects import Objects
from irs.aws.queues import Queue


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    fresh = Tally()
    monkeypatch.setattr(calls, "TALLY", fresh)
    return fresh


def counted(tally: Tally) -> dict[str, dict[str, int]]:
    return {f"{service}.{operation}": {name: n for name, n in count.outcomes.items() if n}
            for (service, operation), count in tally.read().items()}


def test_every_call_is_counted_once_with_its_outcome(cloud: Any, tally: Tally) -> None:
    settings = cloud.fresh()
    provision.ensure(settings)
    before = counted(tally)
    objects, queue = Objects(settings, settings.input_bucket), Queue(settings, settings.input_queue)
    objects.put("a", b"1")
    with pytest.raises(errors.AlreadyExists):
        objects.put("a", b"2", create=True)
    assert objects.get("a") == b"1"
    with pytest.raises(errors.NotFound):
        objects.get("b")
    assert not objects.exists("b")
    assert list(objects.keys()) == ["a"]
    queue.send("hello")
    assert len(queue.receive()) == 1
    with pytest.raises(errors.NotFound):
        _ = Queue(settings, "no-such-queue").url
    after = counted(tally)
    found = {name: {outcome: n - before.get(name, {}).get(outcome, 0) for outcome, n in outcomes.items()}
             for name, outcomes in after.items()}
    assert found["s3.PutObject"] == {"ok": 1, "exists": 1}
    assert found["s3.GetObject"] == {"ok": 1, "not_found": 1}
    assert found["s3.HeadObject"] == {"not_found": 1}
    assert found["s3.ListObjectsV2"] == {"ok": 1}
    assert found["sqs.SendMessageBatch"] == found["sqs.ReceiveMessage"] == {"ok": 1}
    assert found["sqs.GetQueueUrl"]["not_found"] >= 1


def test_a_list_of_several_pages_is_several_calls(cloud: Any, tally: Tally) -> None:
    settings = cloud.fresh()
    provision.ensure(settings)
    objects = Objects(settings, settings.input_bucket)
    for number in range(1_001):
        objects.put(f"k{number:04}", b"")
    keys = list(objects.keys())
    assert keys == sorted(keys)
    assert len(keys) == 1_001
    assert counted(tally)["s3.ListObjectsV2"] == {"ok": 2}


def test_an_endpoint_that_is_not_there_is_unreachable(cloud: Any, tally: Tally) -> None:
    # Port 9 of loopback refuses at once.
    settings = cloud.fresh(aws_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(errors.Unreachable):
        _ = Queue(settings, settings.input_queue).url
    assert counted(tally)["sqs.GetQueueUrl"] == {"unreachable": 1}
