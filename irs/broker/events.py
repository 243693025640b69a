"""Celery's events over SNS: a message a second, sent beside the worker's main loop.

Celery publishes at each turn of its loop, in the loop: three publishes for a lone image,
and a loop that stands still while SNS does. A message with a list of events is Celery's own
format, which every reader of events understands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from celery.app import events
from celery.events import EventDispatcher, EventReceiver
from kombu import Connection, Producer

from irs import errors, log
from irs.broker.outbox import Outbox

#: Seconds between two heartbeats, each a publish: as many as there are long polls of a queue
#: at rest. A monitor calls a worker offline after two of these without one.
HEARTBEAT = 20.0
#: Seconds before a reader that could not listen tries again.
PAUSE = 5.0
#: Seconds that the end of a worker waits for its last events to go: its own "offline".
GRACE = 3.0

_log = log.get("broker")


class Events(events.Events):
    """``app.events``, with the dispatcher and the receiver below."""

    dispatcher_cls = "irs.broker.events:Dispatcher"
    receiver_cls = "irs.broker.events:Receiver"


class Receiver(EventReceiver):
    """Celery's reader of events, which says why it cannot listen.

    `celery events` tries again at once, for ever, and does not say what went wrong.
    """

    def consume(self, *args: Any, **given: Any) -> Iterator[Any]:
        """Yield for each event and each look."""
        try:
            yield from super().consume(*args, **given)
        except errors.CloudError as exc:
            _log.warning("broker.not_listening", seconds=PAUSE, why=str(exc))
            time.sleep(PAUSE)
            raise


class Dispatcher(EventDispatcher):
    """Celery's dispatcher, which leaves the publishing to an `Outbox`."""

    _outbox: Outbox | None = None
    _producer: Producer | None = None
    _connection: Connection | None = None

    def __init__(self, *args: Any, buffer_group: Any = None, **given: Any) -> None:
        # Celery's own buffer is flushed by the main loop, where nothing is left to do.
        super().__init__(*args, **given)

    def enable(self) -> None:
        """Begin to publish."""
        if self._outbox is None:
            self._outbox = Outbox(self._deliver)
        super().enable()

    def close(self) -> None:
        """Publish what is left, for a moment at most, and nothing more."""
        super().close()
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close(GRACE)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _publish(self, event: Any, producer: Any, routing_key: str, *args: Any, **given: Any) -> None:
        outbox = self._outbox  # a thread of the pool may be here while the main loop closes it
        if outbox is not None:
            outbox.put(event)

    def _deliver(self, gathered: list[dict[str, Any]]) -> None:
        """Called in the outbox's thread, whose connection is its own: channels are no thread's."""
        if self._producer is None:
            self._connection = self.app.connection_for_write()
            channel = self._connection.default_channel
            channel.hub = None  # not a worker's channel: a publish that fails raises
            self._producer = Producer(channel, exchange=self.exchange, serializer=self.serializer,
                                      auto_declare=False)
        try:
            self._producer.publish(
                gathered, routing_key="task.multi", exchange=self.exchange.name,
                declare=[self.exchange], headers=self.headers, delivery_mode=self.delivery_mode,
                retry=False)
        except Exception:
            # The topic may be gone: the next one makes it anew.
            self._producer.channel.forget_topics()
            raise
