"""What is counted of calls to AWS."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from irs import errors
from irs.aws import calls
from irs.aws.calls import Tally


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    fresh = Tally()
    monkeypatch.setattr(calls, "TALLY", fresh)
    return fresh


class Events:
    """A client's, with botocore's names."""

    def __init__(self) -> None:
        self.hooks: dict[str, Any] = {}

    def register(self, name: str, hook: Any) -> None:
        self.hooks[name] = hook


class Client:
    """As much of a boto3 client as is watched."""

    def __init__(self) -> None:
        self.meta = self
        self.events = Events()
        self.service_model = self
        self.service_name = "sqs"
        self.name = "SendMessageBatch"
        calls.watch(self)

    def call(self, parsed: dict[str, Any] | None = None, exc: Exception | None = None) -> None:
        context: dict[str, Any] = {}
        self.events.hooks["before-call"](context=context, event_name="before-call.sqs.SendMessageBatch")
        if exc is None:
            self.events.hooks["after-call"](model=self, context=context, parsed=parsed,
                                            event_name="after-call.sqs.SendMessageBatch")
        else:
            self.events.hooks["after-call-error"](context=context, exception=exc,
                                                  event_name="after-call-error.sqs.SendMessageBatch")


def refusal(code: str, status: int) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}


def test_a_client_s_calls_by_what_came_of_them(tally: Tally) -> None:
    client = Client()
    client.call({"Successful": []})
    client.call(refusal("ThrottlingException", 400))
    client.call(refusal("InternalError", 500))
    client.call(refusal("AWS.SimpleQueueService.NonExistentQueue", 400))
    client.call(refusal("SomethingNew", 400))
    client.call(exc=ConnectionResetError("reset"))
    (key, count), = tally.read().items()
    assert key == ("sqs", "SendMessageBatch")
    assert {name: n for name, n in count.outcomes.items() if n} == {
        "ok": 1, "throttled": 1, "unreachable": 2, "not_found": 1, "refused": 1}
    assert sum(count.buckets) == 6
    assert set(count.outcomes) == set(calls.OUTCOMES), "a rate needs all of them from the start"


def test_what_another_hook_has_answered_is_no_call(tally: Tally) -> None:
    """boto3 asks its hooks in turn, and the first that answers is the last that is asked."""
    client = Client()
    client.events.hooks["after-call"](model=client, context={}, parsed={}, event_name="after-call.sqs.X")
    client.events.hooks["after-call-error"](context={}, exception=OSError(),
                                            event_name="after-call-error.sqs.X")
    assert tally.read() == {}


@pytest.mark.parametrize(("error", "name"), [
    (errors.Throttled, "throttled"), (errors.Unreachable, "unreachable"), (errors.NoBucket, "not_found"),
    (errors.AlreadyExists, "exists"), (errors.AccessDenied, "denied"), (errors.BadReceipt, "bad_receipt"),
    (errors.NoCapacity, "no_capacity"), (errors.Permanent, "refused")])
def test_each_class_of_error_has_a_name(tally: Tally, error: type[errors.CloudError], name: str) -> None:
    with pytest.raises(error), calls.timed("s3", "GetObject"):
        raise error("no")
    assert tally.read()["s3", "GetObject"].outcomes[name] == 1


def test_what_is_refused_by_ourselves_was_a_good_call(tally: Tally) -> None:
    with pytest.raises(errors.TooLarge), calls.timed("s3", "GetObject"):
        raise errors.TooLarge("an object of 1 TB")
    assert tally.read()["s3", "GetObject"].outcomes["ok"] == 1


def test_seconds_fall_into_buckets(tally: Tally) -> None:
    for seconds in (0.005, 0.006, 31.0):
        tally.add("s3", "PutObject", "ok", seconds)
    count = tally.read()["s3", "PutObject"]
    assert (count.buckets[0], count.buckets[1], count.buckets[-1]) == (1, 1, 1)
    assert count.seconds == pytest.approx(31.011)


def test_no_call_of_many_threads_is_forgotten(tally: Tally) -> None:
    def many() -> None:
        for _ in range(2_000):
            tally.add("s3", "PutObject", "ok", 0.01)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.read()["s3", "PutObject"].outcomes["ok"] == 8_000
