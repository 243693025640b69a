"""The channel of a monitor: long looks, seldom, and an end that drops its queue."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection

from irs import settings as settings_module
from irs.broker import asking
from irs.broker.channel import Channel
from irs.testing import MemoryQueue

ROOT = Path(__file__).resolve().parents[3]


class Watched(MemoryQueue):
    """Notes how long each receive may take, and what is deleted."""

    def __init__(self) -> None:
        super().__init__("events", poll_wait=0)
        self.waits: list[int | None] = []
        self.deleted = 0

    def receive(self, count: int = 10, *, wait: int | None = None, **given: Any) -> Any:
        self.waits.append(wait)
        return super().receive(count, wait=0, **given)

    def delete_batch(self, receipts: Any) -> Any:
        self.deleted += len(receipts)
        return super().delete_batch(receipts)


@pytest.fixture
def queue() -> Watched:
    return Watched()


@pytest.fixture
def channel(queue: Watched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    monkeypatch.setattr(Channel, "queue", lambda self, name: queue)
    monkeypatch.setattr(asking, "_end_at_sigterm", lambda: None)
    for name in ("_subscribe_queue_to_fanout_exchange_if_required", "_new_queue", "_queue_bind"):
        monkeypatch.setattr(Channel, name, lambda *args, **kwargs: None)
    connection = Connection("sqs://", transport="irs.broker.transport:Transport")
    channel = connection.channel()
    channel.hub = None
    yield channel
    connection.close()


def consume(channel: Channel, exchange: str, got: list[Any]) -> None:
    channel.exchange_declare(exchange, "topic")
    channel.queue_declare("box")
    channel.queue_bind("box", exchange, "#")
    channel.basic_consume("box", True, got.append, "tag")


def message() -> str:
    return json.dumps({"body": "[]", "headers": {}, "properties": {"delivery_info": {}}})


def test_events_are_looked_for_in_long_polls_a_second_apart_and_not_deleted(
        channel: Channel, queue: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=slept.append))
    got: list[Any] = []
    consume(channel, channel.connection.event_exchange, got)
    for _ in range(12):
        queue.send(message())
    channel._get_bulk("box", timeout=1)
    now[0] += 0.25
    channel._get_bulk("box", timeout=1)
    now[0] += 50
    with pytest.raises(Empty):
        channel._get_bulk("box", timeout=1)
    assert len(got) == 12
    assert queue.deleted == 0
    assert queue.waits == [settings_module.build().poll_wait] * 3
    assert slept == [0.0, 0.75, 0.0]


def test_a_reply_is_waited_for_as_long_as_was_asked_and_deleted(channel: Channel, queue: Watched) -> None:
    got: list[Any] = []
    consume(channel, "reply.irs.pidbox", got)
    queue.send(message())
    channel._get_bulk("box", timeout=1.5)
    assert len(got) == queue.deleted == 1
    assert queue.waits == [2]


@pytest.mark.parametrize(("handler", "code"), [
    ("signal.SIG_DFL", 128 + signal.SIGTERM), ("lambda *_: print('theirs')", 0)], ids=["none", "own"])
def test_sigterm_ends_a_monitor_as_ctrl_c_does_unless_it_has_its_own_way(handler: str, code: int) -> None:
    # In a process of its own: the signal would end this one, were it not caught.
    program = (f"import signal\nfrom irs.broker import asking\nsignal.signal(signal.SIGTERM, {handler})\n"
               "asking._end_at_sigterm()\nsignal.raise_signal(signal.SIGTERM)\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                          check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (code, "theirs\n" if code == 0 else "", "")
