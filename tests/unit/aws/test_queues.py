from __future__ import annotations

import socket
import time

import pytest

from irs import errors
from irs import settings as settings_module
from irs.aws import queues


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
