"""Deliveries that a channel has handed out and not yet settled."""

from __future__ import annotations

import time
from typing import Any

from kombu.transport import SQS

from irs.broker import shared


class QoS(SQS.QoS):
    """Deliveries not yet settled, with the time of their receive."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self.received: dict[str, float] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        self.received[delivery_tag] = time.monotonic()
        super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self.received.pop(delivery_tag, None)
        super().ack(delivery_tag)
        self.channel.room_freed()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        # The channel has said to SQS what there is to say.
        self.ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Make what was never settled visible at once, by batch.

        A task of these that still runs goes on; its acknowledgement is for nothing, and
        whoever receives the message next finds the result stored, or stores the same.
        """
        self._on_collect.cancel()
        self._flush()
        for tag, message in list(self._delivered.items()):
            source = message.delivery_info.get("sqs_queue_object")
            if source is not None:
                shared.settler().release(source, tag, 0)
        self._delivered.clear()
        self.received.clear()
