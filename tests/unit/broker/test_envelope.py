"""Messages that anybody may have sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from irs.aws.queues import Message
from irs.broker import envelope
from irs.testing import MemoryQueue

QUEUE = MemoryQueue("tasks")
SENT = 1_764_000_000_000
OURS = {"body": "[[], {}, {}]", "content-type": "application/json", "headers": {"task": "t"},
        "properties": {"delivery_info": {"routing_key": "tasks"}, "delivery_tag": "theirs"}}


def read(body: str, receives: int = 1) -> dict[str, Any]:
    return envelope.read(Message(id="m", body=body, receipt="r", receives=receives, sent_ms=SENT), QUEUE)


def test_ours_comes_back_with_its_delivery() -> None:
    found = read(json.dumps(OURS), receives=3)
    assert found["body"] == OURS["body"]
    assert found["headers"] == {"task": "t", envelope.RECEIVES_HEADER: 3, envelope.SENT_HEADER: SENT}
    assert found["properties"]["delivery_tag"] == "r"
    assert found["properties"]["delivery_info"]["routing_key"] == "tasks"
    assert found["properties"]["delivery_info"]["sqs_queue_object"] is QUEUE


def test_what_kombus_own_transport_sends_is_read_as_well() -> None:
    found = read(base64.b64encode(json.dumps(OURS).encode()).decode())
    assert found["headers"]["task"] == "t"


def test_a_sender_cannot_say_how_often_it_was_received_nor_since_when_it_waits() -> None:
    body = json.dumps(OURS | {"headers": {envelope.RECEIVES_HEADER: 99, envelope.SENT_HEADER: "soon"}})
    assert read(body)["headers"] == {envelope.RECEIVES_HEADER: 1, envelope.SENT_HEADER: SENT}


@pytest.mark.parametrize("body", [
    "", "hello", "hell", "[1]", "null", "1e999", "{}", "[" * 100_000, "/////w==", '{"properties": 1}',
    '{"properties": {"delivery_info": 1}, "headers": 2}', '{"properties": {}, "headers": null}', "ÿ"])
def test_anything_else_is_a_message_without_a_task(body: str) -> None:
    found = read(body)
    assert found["headers"] == {envelope.RECEIVES_HEADER: 1, envelope.SENT_HEADER: SENT}
    assert found["properties"]["delivery_tag"] == "r"
    assert found["properties"]["delivery_info"]["sqs_queue"] == QUEUE.url


def test_a_foreign_schedule_is_not_kept() -> None:
    """An ETA in 2099 would hold a slot, and every drain, until then."""
    body = json.dumps({"body": "[]", "properties": {}, "headers": {
        "task": "irs.classify", "eta": "2099-01-01T00:00:00Z", "expires": 1, "timelimit": [1, 1],
        "compression": "application/x-bz2"}})
    headers = read(body)["headers"]
    assert headers["task"] == "irs.classify"
    assert not {"eta", "expires", "timelimit", "compression"} & set(headers)


# -- a task, read without Celery ---------------------------------------------------------------
ARGUMENTS = [["id", "key"], {"name": "a.jpg"}, {"chain": None}]
TASK = {"body": json.dumps(ARGUMENTS), "headers": {"task": "irs.classify"}, "properties": {"reply_to": "q"}}


def test_a_task_is_read() -> None:
    found = envelope.task(json.dumps(TASK))
    assert (found.name, found.args, found.kwargs, found.reply_to) == (
        "irs.classify", ["id", "key"], {"name": "a.jpg"}, "q")


def test_a_task_in_base64_is_read_whole_or_by_its_body() -> None:
    inner = TASK | {"body": base64.b64encode(TASK["body"].encode()).decode(),
                    "properties": {"body_encoding": "base64"}}
    assert envelope.task(base64.b64encode(json.dumps(TASK).encode()).decode()).name == "irs.classify"
    assert envelope.task(json.dumps(inner)).args == ["id", "key"]


@pytest.mark.parametrize("change", [
    {"body": "{"}, {"body": "[]"}, {"body": "{}"}, {"body": None}, {"body": "[" * 100_000},
    {"body": json.dumps([{}, [], {}])}, {"headers": None}, {"headers": {}}, {"headers": {"task": 5}},
    {"properties": None}, {"body": "*", "properties": {"body_encoding": "base64"}}])
def test_what_is_no_task_is_a_value_error(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        envelope.task(json.dumps(TASK | change))


@pytest.mark.parametrize("body", ["", "hello", "[]", "null", "[" * 100_000])
def test_what_is_no_envelope_is_a_value_error(body: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        envelope.task(body)
