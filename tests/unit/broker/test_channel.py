"""The channel under a real kombu hub; only the queues are in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Connection
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from irs import errors
from irs import settings as settings_module
from irs.broker import names, owned, receiver, shared
from irs.broker.channel import Channel
from irs.settings import Settings
from irs.testing import FaultPlan, MemoryQueue

TASKS = Settings.model_construct().input_queue
#: Seconds of one long poll: what each test waits for in the end.
POLL = 0.05


class Missing:
    """A queue that is not there."""

    name = "missing"

    @property
    def url(self) -> str:
        raise errors.NotFound("no such queue")

    def send_batch(self, entries: Any) -> Any:
        raise errors.NotFound("no such queue")


class World:
    """A hub, a transport, and the queues that its channels find."""

    def __init__(self) -> None:
        self.hub = Hub()
        set_event_loop(self.hub)
        self.queues: dict[str, Any] = {TASKS: MemoryQueue(TASKS, poll_wait=POLL)}
        self.connection = Connection("sqs://", transport="irs.broker.transport:Transport")
        self.transport = self.connection.transport
        self.got: list[Any] = []

    @property
    def tasks(self) -> Any:
        return self.queues[TASKS]

    def channel(self, prefetch: int = 10) -> Channel:
        channel = self.connection.channel()
        channel.basic_qos(0, prefetch)
        return channel

    def consume(self, channel: Channel, callback: Callable[[Any], Any] | None = None, *,
                queue: str = TASKS, no_ack: bool = False) -> None:
        channel.basic_consume(queue, no_ack, callback or self.got.append, "tag")

    def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Turn the hub until ``condition``."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            self.hub.run_once()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    shared.settler.cache_clear()
    world = World()
    monkeypatch.setattr(Channel, "queue", lambda self, name: world.queues.get(name, Missing()))
    yield world
    world.connection.close()
    receiver.stop_all()
    shared.settler().close(5)
    shared.settler.cache_clear()
    shared.sender.cache_clear()
    world.hub.close()
    set_event_loop(None)


def send(queue: Any, count: int = 1) -> None:
    for n in range(count):
        queue.send(json.dumps({"body": str(n), "headers": {}, "properties": {"delivery_info": {}}}))


def settled() -> None:
    assert shared.settler().flush(5)


def at_rest() -> None:
    """No poll under way either: one may take what was handed back, and hand it back in turn."""
    receiver.stop_all()
    settled()


def test_delivers_as_many_as_the_prefetch_allows_and_more_as_they_are_settled(world: World) -> None:
    send(world.tasks, 7)
    channel = world.channel(prefetch=4)
    world.consume(channel)
    world.until(lambda: len(world.got) == 4)
    assert world.tasks.depth().visible == 3
    assert channel.unsettled == 4
    for message in world.got[:2]:
        message.ack()
    world.until(lambda: len(world.got) == 6)
    settled()
    assert len(world.tasks.bodies()) == 5
    assert channel.unsettled == 4


def test_a_rejected_message_comes_back_after_a_pause_and_is_never_deleted(world: World) -> None:
    pauses: list[int] = []
    real = world.tasks.set_visibility_batch
    world.tasks.set_visibility_batch = lambda entries: pauses.extend(
        s for _, s in entries) or real([(r, 0) for r, _ in entries])
    send(world.tasks)
    world.consume(world.channel())
    for times in range(1, 8):
        world.until(lambda times=times: len(world.got) == times)
        world.got[-1].reject(requeue=times % 2 == 0)
        settled()
    longest = settings_module.build().visibility_timeout
    assert pauses == [2, 4, 8, 16, longest, longest, longest]
    assert len(world.tasks.bodies()) == 1


def test_a_message_that_breaks_its_consumer_is_postponed_and_takes_no_place(world: World) -> None:
    def callback(message: Any) -> None:
        if message.body == b"0":
            raise TypeError("not what I expected")
        world.got.append(message)

    send(world.tasks, 3)
    channel = world.channel(prefetch=10)
    world.consume(channel, callback)
    world.until(lambda: len(world.got) == 2)
    settled()
    assert channel.unsettled == 2
    assert channel._room() == 8
    assert world.tasks.depth().in_flight == 3  # the first one for two seconds


def test_a_closed_channel_hands_back_what_is_unsettled_and_a_late_ack_deletes_nothing(
        world: World) -> None:
    send(world.tasks, 3)
    channel = world.channel()
    world.consume(channel)
    world.until(lambda: len(world.got) == 3)
    world.got[0].ack()
    settled()
    channel.close()
    at_rest()
    assert world.tasks.depth().visible == 2
    world.got[1].ack()
    world.got[2].reject(requeue=True)
    settled()
    assert world.tasks.depth().visible == 2
    assert channel.unsettled == 0


def test_a_close_hands_back_what_is_on_its_way_to_the_main_loop(world: World) -> None:
    send(world.tasks, 3)
    channel = world.channel()
    world.consume(channel)
    deadline = time.monotonic() + 5
    while channel.unsettled < 3:  # received, and the hub does not turn
        assert time.monotonic() < deadline
        time.sleep(0.002)
    channel.close()
    at_rest()
    assert world.tasks.depth().visible == 3
    world.hub.run_once()
    assert world.got == []
    # And what a receive brings after the close.
    (message, *_) = world.tasks.receive()
    channel._hand_over(TASKS, world.tasks, False, [message])
    settled()
    assert world.tasks.depth().in_flight == 2


def test_a_cancelled_consumer_gets_nothing_more(world: World) -> None:
    channel = world.channel()
    world.consume(channel)
    channel.basic_cancel("tag")
    send(world.tasks, 2)
    world.hub.run_once()
    at_rest()
    assert world.got == []
    assert world.tasks.depth().visible == 2


def test_control_messages_are_deleted_before_they_are_obeyed(world: World) -> None:
    world.queues["box"] = box = MemoryQueue("box", poll_wait=POLL)
    left: list[int] = []
    channel = world.channel()
    world.consume(channel, lambda message: left.append(len(box.bodies())), queue="box", no_ack=True)
    send(box)
    world.until(lambda: left)
    assert left == [0]
    assert channel.unsettled == 0


def test_settling_what_was_never_delivered_leaves_nothing_behind(world: World) -> None:
    channel = world.channel(prefetch=2)
    for n in range(10):
        channel.basic_ack(str(n))
        channel.basic_reject(str(n))
    assert channel.qos.can_consume_max_estimate() == 2


def test_after_the_loop_was_reset_the_next_connection_receives(world: World) -> None:
    world.hub.reset()  # as Celery does when a connection is lost
    assert get_event_loop() is None
    connection = Connection("sqs://", transport="irs.broker.transport:Transport")
    connection.connect()
    connection.transport.register_with_event_loop(connection.connection, world.hub)
    channel = connection.default_channel
    assert channel.hub is world.hub
    send(world.tasks)
    world.consume(channel)
    world.until(lambda: world.got)
    connection.close()


def test_a_sender_waits_for_its_own_message_to_be_accepted(world: World) -> None:
    world.queues[TASKS] = FaultPlan().fail("send_batch", 1, errors.Unreachable("reset")).wrap(world.tasks)
    channel = world.channel()
    message = channel.prepare_message("[]", properties={"delay_seconds": 5})
    with pytest.raises(errors.Unreachable):
        channel.basic_publish(message, "", TASKS)
    channel.basic_publish(message, "", TASKS)
    assert world.tasks.depth().delayed == 1


def test_a_reply_to_a_client_that_is_gone_is_dropped_and_its_queue_not_made(world: World) -> None:
    channel = world.channel()
    message = channel.prepare_message("{}")
    channel.basic_publish(message, "", "id.reply.irs.pidbox")
    channel.hub = None  # a client: what it sends, it wants to know of
    with pytest.raises(errors.NotFound):
        channel.basic_publish(channel.prepare_message("{}"), "", "id.reply.irs.pidbox")
    assert owned.registry.cache_info().currsize == 0


def test_a_missing_task_queue_is_named_and_not_made(world: World) -> None:
    del world.queues[TASKS]
    with pytest.raises(errors.NotFound, match="irs doctor"):
        world.channel().queue_declare(TASKS)
    channel = world.channel()
    with pytest.raises(errors.NotFound, match="irs doctor"):  # nor by a sender, who does not declare it
        channel.basic_publish(channel.prepare_message("[]"), "", TASKS)


def test_what_remote_control_needs(world: World) -> None:
    channel = world.channel()
    assert "fanout" in world.transport.implements.exchange_type
    assert channel.supports_fanout
    channel.exchange_declare(world.transport.event_exchange, "topic")
    assert channel.state.exchanges[world.transport.event_exchange]["type"] == "fanout"
    assert channel._lookup("reply.irs.pidbox", "me") == ["me.reply.irs.pidbox"]


def test_a_client_without_a_loop_receives_within_its_own_timeout(world: World) -> None:
    world.queues["box"] = box = MemoryQueue("box", poll_wait=20)
    channel = world.channel()
    channel.hub = None
    world.consume(channel, queue="box", no_ack=True)
    send(box)
    world.transport.drain_events(world.transport, timeout=5)
    assert len(world.got) == 1
    assert box.bodies() == []
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        world.transport.drain_events(world.transport, timeout=0.5)
    assert time.monotonic() - began < 3


def test_names_reach_the_queues(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings = settings_module.load()
    assert world.channel().canonical_queue_name("a.b") == names.sqs_name(settings, "a.b")
