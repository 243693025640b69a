"""The channel: kombu 5.7.0's SQS channel over `irs.aws`.

Kept from kombu: the message envelope, delays, the SNS fan-out. Replaced: finding queues
(GetQueueUrl once, no ListQueues), receiving (a thread with timeouts, `irs.broker.receiver`),
settling (batches, `irs.broker.settle`), sending (shared batches), and what kept remote
control and monitors from working (`irs.broker.control`, `irs.broker.asking`).
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from typing import Any

from kombu.transport import virtual
from kombu.transport.SQS import exceptions as sqs_exceptions

from irs import errors, log
from irs.aws import clients, topics
from irs.aws.faults import translated
from irs.aws.queues import BATCH, Message, Queue
from irs.broker import envelope, names, owned, shared
from irs.broker.asking import AskingChannel
from irs.broker.qos import QoS
from irs.broker.receiver import Heartbeat, Receiver

_log = log.get("broker")


class Channel(AskingChannel):
    """A channel over `irs.aws`; every process shares its clients and queue URLs."""

    QoS = QoS
    #: The body travels as UTF-8 JSON inside the envelope: a third smaller than base64.
    body_encoding = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._receivers: dict[str, Receiver] = {}
        self._heartbeats: dict[str, Heartbeat] = {}
        #: received, and on their way to the main loop, by receipt
        self._undelivered: dict[str, tuple[Queue, Message]] = {}
        self._undelivered_lock = threading.Lock()
        super().__init__(*args, **kwargs)

    # -- clients and names ---------------------------------------------------------------
    def sqs(self, queue: str | None = None) -> Any:
        return clients.client(self.settings, "sqs")

    def _new_boto_client(self, service: str, *args: Any, **kwargs: Any) -> Any:
        return topics.client(self.settings) if service == "sns" else clients.client(self.settings, service)

    @property
    def sqs_base64_encoding(self) -> bool:
        return False

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """No ListQueues: it names 1,000 queues at most, and costs a call a channel."""

    def canonical_queue_name(self, queue_name: str) -> str:
        return names.sqs_name(self.settings, queue_name)

    def queue(self, name: str) -> Queue:
        """The SQS queue behind an AMQP queue."""
        return shared.queue(self.settings, self.canonical_queue_name(name))

    def _resolve_queue_url(self, queue: str) -> str:
        try:
            return self.queue(queue).url
        except errors.NotFound as exc:
            raise sqs_exceptions.DoesNotExistQueueException(str(exc)) from exc

    def _new_queue(self, queue: str, **kwargs: Any) -> str:
        try:
            return self._resolve_queue_url(queue)
        except sqs_exceptions.DoesNotExistQueueException:
            if self._is_task_queue(queue):
                # Made here it would lack its redrive policy: `irs up` makes it, or the stack.
                raise self._absent(queue) from None
        return owned.registry(self.settings).create(self.queue(queue)).url

    # -- sending -------------------------------------------------------------------------
    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        delay = self._resolve_delay_seconds(message.get("properties", {})) or 0
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            # Never made here: its consumer has made it, and one that is gone took it along.
            shared.sender(self.queue(queue)).submit((body, delay), len(body.encode()))
        except errors.CloudError as exc:
            self._lost_control(exc, queue)

    # -- receiving -----------------------------------------------------------------------
    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str,
                      *args: Any, **kwargs: Any) -> None:
        with self._or_dropped(queue), translated(f"SNS subscription of {queue}"):
            self._subscribe_queue_to_fanout_exchange_if_required(queue)
        if no_ack:
            self._noack_queues.add(queue)
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag)
        if self.hub is None:
            self._asks(queue)
        elif queue not in self._receivers:
            self._start(queue, no_ack)

    def _start(self, queue: str, no_ack: bool) -> None:
        source = self.queue(queue)
        self._receivers[queue] = Receiver(
            source,
            room=(lambda: BATCH) if no_ack else self._room,
            deliver=functools.partial(self._hand_over, queue, source, no_ack),
            refuse=functools.partial(self._give_back, source),
            control=no_ack,
            lost=functools.partial(self._make_anew, queue) if no_ack else None,
        )
        if not no_ack and queue not in self._heartbeats:
            self._heartbeats[queue] = Heartbeat(
                source, window=self.settings.visibility_timeout, held=self._held)

    def _held(self) -> Iterator[tuple[str, float]]:
        # A copy is made in one step; the main loop adds and removes meanwhile.
        return iter(self.qos.received.copy().items())

    @property
    def unsettled(self) -> int:
        """Messages taken from SQS that are neither deleted nor handed back."""
        return len(self._undelivered) + len(self.qos.received)

    def _room(self) -> int:
        room = self.qos.can_consume_max_estimate()
        if room is None:
            return BATCH
        room -= len(self._undelivered)
        # Ten at a time: a receive for each slot that comes free would cost ten times the
        # calls. The other half of the prefetch keeps the threads busy meanwhile.
        return room if room >= min(BATCH, max(1, self.qos.prefetch_count // 2)) else 0

    def room_freed(self) -> None:
        """A delivery was settled; the receivers may take another at once."""
        for receiver in list(self._receivers.values()):
            receiver.freed()

    def _hand_over(self, queue: str, source: Queue, no_ack: bool, messages: list[Message]) -> None:
        """Called in the receiving thread: pass the messages on to the main loop."""
        if no_ack:
            # Before they are obeyed: a `shutdown` that stays undeleted would stop the
            # next worker of this name too.
            source.delete_batch([m.receipt for m in messages])
        with self._undelivered_lock:
            closed = self.closed
            if not closed:
                self._undelivered.update((m.receipt, (source, m)) for m in messages)
        if closed:
            self._give_back(source, messages)
        else:
            self.hub.call_soon(self._on_received, queue, messages)

    def _on_received(self, queue: str, messages: list[Message]) -> None:
        """Called in the main loop."""
        callback = self.connection._callbacks.get(queue) if self.connection else None
        for message in messages:
            try:
                found = self._undelivered.get(message.receipt)
                if found is None:
                    continue  # handed back by a close in the meantime
                self._deliver_one(callback, found[0], message)
            finally:
                with self._undelivered_lock:
                    self._undelivered.pop(message.receipt, None)
        self.room_freed()

    def _deliver_one(self, callback: Any, source: Queue, message: Message) -> None:
        if callback is None:
            return self._give_back(source, [message])
        try:
            callback(envelope.read(message, source))
        except Exception as exc:
            # The worker, and the message's neighbours in the batch, go on.
            _log.warning("broker.undeliverable", queue=source.name, message=message.id,
                         receives=message.receives, why=repr(exc)[:200])
            _log.debug("broker.undeliverable", queue=source.name, message=message.id,
                       receives=message.receives, why=repr(exc)[:200], exc_info=True)
            self.qos.ack(message.receipt)
            self._postpone(source, message.receipt, message.receives)

    @staticmethod
    def _give_back(source: Queue, messages: list[Message]) -> None:
        for message in messages:
            shared.settler().release(source, message.receipt, 0)

    def _postpone(self, source: Queue, receipt: str, receives: int) -> None:
        """Visible again after a pause that doubles with each receive."""
        pause = min(2 ** min(receives, 10), self.settings.visibility_timeout)
        shared.settler().release(source, receipt, pause)

    # -- settling ------------------------------------------------------------------------
    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        source = self._source(delivery_tag)
        if source is not None:
            task = self.qos.get(delivery_tag).headers.get("id")
            shared.settler().delete(source, delivery_tag, task if isinstance(task, str) else "")
            self.qos.ack(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Leave the message to SQS, with or without ``requeue``.

        The redrive policy counts its receives and takes it to the dead-letter queue in the
        end. Nothing is deleted that was not finished.
        """
        source = self._source(delivery_tag)
        if source is not None:
            receives = self.qos.get(delivery_tag).headers.get(envelope.RECEIVES_HEADER, 1)
            self._postpone(source, delivery_tag, receives)
            self.qos.ack(delivery_tag)

    def _source(self, delivery_tag: str) -> Queue | None:
        try:
            return self.qos.get(delivery_tag).delivery_info.get("sqs_queue_object")
        except KeyError:
            return None  # a control message, or handed back by a close in the meantime

    # -- looking and closing ---------------------------------------------------------------
    def _size(self, queue: str) -> int:
        return self.queue(queue).depth().visible

    def _purge(self, queue: str) -> int:
        return self.queue(queue).purge()

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if not self._is_task_queue(queue):
            owned.registry(self.settings).drop(self.queue(queue))

    def basic_cancel(self, consumer_tag: str) -> None:
        receiver = self._receivers.pop(self._tag_to_queue.get(consumer_tag, ""), None)
        if receiver is not None:
            receiver.stop()
        super().basic_cancel(consumer_tag)

    def close(self) -> None:
        for heartbeat in self._heartbeats.values():
            heartbeat.stop()
        super().close()
        with self._undelivered_lock:
            left, self._undelivered = self._undelivered, {}
        for source, message in left.values():
            self._give_back(source, [message])
