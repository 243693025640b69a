"""The transport that Celery loads: ``broker_transport = "irs.broker.transport:Transport"``."""

from __future__ import annotations

import atexit
import functools
import os
from typing import Any

from kombu.asynchronous import set_event_loop
from kombu.transport import SQS

from irs import errors
from irs.broker import owned, receiver, shared
from irs.broker.channel import Channel
from irs.settings import load


class Transport(SQS.Transport):
    """kombu's SQS transport with our channel, and with fan-out for remote control."""

    Channel = Channel
    #: Every receive is a long poll already; a pause between them only adds to the wait.
    polling_interval = 0

    connection_errors = (*SQS.Transport.connection_errors, errors.CloudError)
    channel_errors = (*SQS.Transport.channel_errors, errors.CloudError)

    # Celery switches remote control off for a transport that does not list fan-out here.
    implements = SQS.Transport.implements.extend(
        exchange_type=frozenset(["direct", "fanout"]),
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        #: the exchange that Celery publishes its events to
        self.event_exchange = f"{load().cluster}ev"

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        # A connection error resets Celery's loop, after which kombu knows of none: channels
        # made for the next connection would take themselves for a client's and never receive.
        set_event_loop(loop)
        # A loop with nothing to read sleeps 0.1 s at a time, whatever is called in it meanwhile.
        loop.add_reader(_nothing(), lambda: None)
        for channel in (*self.channels, *self._avail_channels):
            channel.hub = loop


@functools.cache
def _nothing() -> int:
    """A descriptor of this process from which there is never anything to read."""
    reader, _writer = os.pipe()
    return reader


#: Seconds that the end of a process waits for deletes and releases to reach SQS.
CLOSE_GRACE = 5.0


@atexit.register
@functools.cache
def finish() -> None:
    """End this process's part in the queues, once: polls first, then what they brought.

    A poll under way is waited for (one poll's wait at most), its messages are handed back,
    deletes and releases are flushed, control queues are dropped.
    """
    receiver.stop_all()
    if shared.settler.cache_info().currsize:
        shared.settler().close(CLOSE_GRACE)
    if owned.registry.cache_info().currsize:
        owned.registry(load()).drop_all()
