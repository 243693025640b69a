"""Celery's dispatcher and mailbox as ours: what is published, and from where it is asked."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from celery import Celery
from celery.events import EventReceiver

from irs import errors, settings
from irs.broker import events as broker_events
from irs.broker import outbox
from irs.broker.control import ControlChannel


class Topic:
    """In place of SNS: what was published to it, each a message's body."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.threads: set[str] = set()
        self.faults: list[Exception] = []

    def put(self, exchange: str, message: dict[str, Any], *_: Any, **__: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if self.faults:
            raise self.faults.pop()
        assert exchange == f"{settings.load().cluster}ev"
        self.bodies.append(json.loads(message["body"]))


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setattr(outbox, "LINGER", 60.0)
    # What is tested is that it goes, not how soon a busy machine has made the first connection.
    monkeypatch.setattr(broker_events, "GRACE", 60.0)
    found = Topic()
    monkeypatch.setattr(ControlChannel, "_put_fanout", found.put)
    return found


@pytest.fixture
def app() -> Celery:
    from irs.celery import app

    return app


def dispatcher(app: Celery, *, enabled: bool = True) -> Any:
    # As Celery's worker makes it.
    return app.events.Dispatcher(
        app.connection_for_write(), hostname="one@here", enabled=enabled, groups=None,
        buffer_group=["task"], on_send_buffered=lambda: pytest.fail("nothing is left to the main loop"))


def test_events_of_a_moment_are_one_message_of_a_thread_of_its_own(app: Celery, topic: Topic) -> None:
    sender = dispatcher(app)
    sender.send("worker-online", freq=20)
    for kind in ("task-received", "task-started", "task-succeeded"):
        sender.send(kind, uuid="x")
    assert topic.bodies == []
    sender.close()
    (body,) = topic.bodies
    assert [event["type"] for event in body] == [
        "worker-online", "task-received", "task-started", "task-succeeded"]
    assert {event["hostname"] for event in body} == {"one@here"}
    assert topic.threads == {"broker-events"}
    # Celery's own reader takes it apart.
    seen: list[str] = []
    reader = EventReceiver.__new__(EventReceiver)
    reader.handlers = {"*": lambda event: seen.append(event["type"])}
    reader.clock, reader.adjust_clock = app.clock, app.clock.adjust
    reader._receive(body, None)
    assert seen == [event["type"] for event in body]


def test_a_publish_that_fails_breaks_nothing_and_the_next_one_goes(
        app: Celery, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 1)
    forgotten: list[Any] = []
    monkeypatch.setattr(ControlChannel, "forget_topics", lambda channel: forgotten.insert(0, channel))
    topic.faults = [errors.AccessDenied("no")]
    sender = dispatcher(app)
    for number in range(3):
        sender.send("task-started", uuid=str(number))
    sender.close()
    assert [event["uuid"] for (event,) in topic.bodies] == ["1", "2"]
    # The topic may have been deleted; the channel stays, or each fault would leave one behind.
    assert len(forgotten) == 1


def test_closed_or_never_enabled_it_publishes_nothing(app: Celery, topic: Topic) -> None:
    never = dispatcher(app, enabled=False)
    never.send("worker-online")
    never.close()
    closed = dispatcher(app)
    closed.close()
    closed.send("worker-offline")
    closed.close()
    assert topic.bodies == []
    assert "broker-events" not in {thread.name for thread in threading.enumerate()}


def test_a_thread_has_one_reply_queue_however_often_it_asks(app: Celery) -> None:
    def name() -> str:
        return app.control.mailbox(app.connection_for_read()).get_reply_queue().name

    other: list[str] = []
    asking = threading.Thread(target=lambda: other.append(name()))
    asking.start()
    asking.join()
    assert len({name() for _ in range(20)}) == 1
    assert other != [name()]
