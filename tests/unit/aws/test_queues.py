from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from irs import errors
from irs import settings as settings_module
from irs.aws import queues, sqs
from tests.receiver import receiving


def test_a_process_first_send_takes_no_longer_than_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to look for the queue's address as well, while SQS hangs."""
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        queue = queues.Queue(settings_module.build({
            "aws_access_key_id": "a", "aws_secret_access_key": "b",
            "aws_endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}"}), "tasks")
        began = time.monotonic()
        with pytest.raises(errors.Unreachable):
            queue.send("a task")
    assert time.monotonic() - began < 10, "three tries of 0.2 s, and pauses of 3 s at most"


@pytest.mark.parametrize("text", [
    {}, {"Successful": None, "Failed": None},
    {"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "InternalError", "Message": None}]},
])
def test_what_an_answer_does_not_name_has_not_been_sent(text: dict[str, Any]) -> None:
    """An answer that was cut off in its header, or somebody else's, is an empty one."""
    with receiving() as receiver:
        receiver.text = json.dumps(text).encode()
        queue = queues.Queue(settings_module.build({
            "aws_access_key_id": "a", "aws_secret_access_key": "b",
            "aws_endpoint_url": receiver.url("")}), "tasks", url="http://q/1/tasks")
        outcomes = queue.send_batch([(name, 0) for name in "abc"])
        told = [entry["Id"] for entry in text.get("Successful") or ()]
    for number, outcome in enumerate(outcomes):
        assert (outcome is None) == (str(number) in told)
        assert outcome is None or isinstance(outcome, errors.Unreachable)
    assert str(outcomes[2]) == "SQS send to tasks: the answer does not say what became of this message"


def test_an_answer_without_a_queue_s_address_is_no_sqs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs, "PAUSE", 0.0)
    with receiving() as receiver:
        receiver.text = b"{}"
        queue = queues.Queue(settings_module.build({
            "aws_access_key_id": "a", "aws_secret_access_key": "b",
            "aws_endpoint_url": receiver.url("")}), "tasks")
        with pytest.raises(errors.Unreachable) as caught:
            queue.depth()
    assert str(caught.value) == "SQS queue tasks: the answer has no URL of the queue"
