"""The channel: kombu 5.7.0's SQS channel over `irs.aws`.

Kept from kombu: the message envelope, delays, the SNS fan-out. Replaced: finding queues
(GetQueueUrl once, no ListQueues), receiving (a thread with timeouts, `irs.broker.receiver`),
settling (batches, `irs.broker.settle`), sending (shared batches), and what keeps remote
control from working over SQS.
"""

from __future__ import annotations

import functools
import json
import math
import threading
from collections.abc import Iterator, Sequence
from queue import Empty
from typing import Any

from kombu.transport import SQS, virtual
from kombu.transport.SQS import exceptions as sqs_exceptions

from irs import errors, log
from irs.aws import clients
from irs.aws.faults import translated
from irs.aws.queues import BATCH, Message, Queue
from irs.broker import names, owned, shared
from irs.broker.qos import QoS
from irs.broker.receiver import Heartbeat, Receiver
from irs.settings import load

#: Header in which a task finds how often its message has been received.
RECEIVES_HEADER = "irs_receives"

_log = log.get("broker")


class Channel(SQS.Channel):
    """A channel over `irs.aws`; every process shares its clients and queue URLs."""

    QoS = QoS
    #: The body travels as UTF-8 JSON inside the envelope: a third smaller than base64.
    body_encoding = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.settings = load()
        self._receivers: dict[str, Receiver] = {}
        self._heartbeats: list[Heartbeat] = []
        self._undelivered = 0
        self._undelivered_lock = threading.Lock()
        super().__init__(*args, **kwargs)

    # -- clients and names ---------------------------------------------------------------
    def sqs(self, queue: str | None = None) -> Any:
        return clients.client(self.settings, "sqs")

    def _new_boto_client(self, service: str, *args: Any, **kwargs: Any) -> Any:
        return clients.client(self.settings, service)

    @property
    def supports_fanout(self) -> bool:
        return self.settings.remote_control

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

    def _is_task_queue(self, name: str) -> bool:
        return name == self.settings.input_queue

    def _new_queue(self, queue: str, **kwargs: Any) -> str:
        try:
            return self._resolve_queue_url(queue)
        except sqs_exceptions.DoesNotExistQueueException:
            if self._is_task_queue(queue):
                # Made here it would lack its redrive policy: `irs up` makes it, or the stack.
                raise errors.NotFound(
                    f"queue {queue} does not exist: `irs doctor` says how to make it") from None
        return owned.registry(self.settings).create(self.queue(queue)).url

    # -- sending -------------------------------------------------------------------------
    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        delay = self._resolve_delay_seconds(message.get("properties", {})) or 0
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            if not self._is_task_queue(queue):
                self._new_queue(queue)
            shared.sender(self.queue(queue)).submit((body, delay), len(body.encode()))
        except errors.CloudError as exc:
            self._lost_control(exc, queue)

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str,
                    **kwargs: Any) -> None:
        try:
            with translated(f"SNS publish to {exchange}"):
                super()._put_fanout(exchange, message, routing_key, **kwargs)
        except errors.CloudError as exc:
            self._lost_control(exc, exchange)

    def _lost_control(self, exc: errors.CloudError, target: str) -> None:
        """A lost task is its sender's to know of; a worker must not stop for a lost reply."""
        if self.hub is None or self._is_task_queue(target):
            raise exc
        _log.warning("broker.control_lost", target=target, why=str(exc))

    def exchange_declare(self, exchange: str | None = None, type: str = "direct",
                         **kwargs: Any) -> None:
        # Celery declares its event exchange as topic, which SNS does not have. Its routing
        # keys only narrow what a monitor hears, so fan-out is right, and all there is.
        if exchange == self.connection.event_exchange:
            type = "fanout"
        super().exchange_declare(exchange, type, **kwargs)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Sequence[str]:
        # Bindings live in the process that declared them, and the one that replies is
        # another: the reply queue's name follows from exchange and routing key (kombu.pidbox).
        if exchange.startswith("reply.") and exchange.endswith(".pidbox"):
            return [f"{routing_key}.{exchange}"]
        return super()._lookup(exchange, routing_key, default)

    # -- receiving -----------------------------------------------------------------------
    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str,
                      *args: Any, **kwargs: Any) -> None:
        with translated(f"SNS subscription of {queue}"):
            self._subscribe_queue_to_fanout_exchange_if_required(queue)
        if no_ack:
            self._noack_queues.add(queue)
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag)
        if self.hub is not None and queue not in self._receivers:
            self._start(queue, no_ack)

    def _start(self, queue: str, no_ack: bool) -> None:
        source = self.queue(queue)
        self._receivers[queue] = Receiver(
            source,
            room=(lambda: BATCH) if no_ack else self._room,
            deliver=functools.partial(self._hand_over, queue, source, no_ack),
            refuse=functools.partial(self._give_back, source),
            control=no_ack,
        )
        if not no_ack:
            self._heartbeats.append(Heartbeat(
                source, window=self.settings.visibility_timeout, held=self._held))

    def _held(self) -> Iterator[tuple[str, float]]:
        return iter(list(self.qos.received.items()))

    def _room(self) -> int:
        room = self.qos.can_consume_max_estimate()
        if room is None:
            return BATCH
        room -= self._undelivered
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
            self._undelivered += len(messages)
        self.hub.call_soon(self._on_received, queue, source, messages)

    def _on_received(self, queue: str, source: Queue, messages: list[Message]) -> None:
        """Called in the main loop."""
        callback = self.connection._callbacks.get(queue) if self.connection else None
        if callback is None:
            self._give_back(source, messages)
        else:
            for message in messages:
                try:
                    callback(self._payload(message, source))
                except Exception:
                    # Left alone it is received again, and dead-lettered in the end. The
                    # worker, and its neighbours in the batch, go on.
                    _log.exception("broker.undeliverable", queue=queue, message=message.id)
        with self._undelivered_lock:
            self._undelivered -= len(messages)
        self.room_freed()

    @staticmethod
    def _give_back(source: Queue, messages: list[Message]) -> None:
        for message in messages:
            shared.settler().release(source, message.receipt, 0)

    def _payload(self, message: Message, source: Queue) -> dict[str, Any]:
        """kombu's envelope from an SQS message; what is not one becomes a bare body."""
        text = self._optional_b64_decode(message.body.encode()).decode()
        payload = self._prepare_json_payload(text)
        if not isinstance(payload.get("properties"), dict):
            payload = {}
        payload = self._envelope_payload(
            payload, text, {"ReceiptHandle": message.receipt, "MessageId": message.id}, source.url)
        payload["properties"]["delivery_info"]["sqs_queue_object"] = source
        headers = payload.get("headers")
        payload["headers"] = headers if isinstance(headers, dict) else {}
        payload["headers"][RECEIVES_HEADER] = message.receives
        return payload

    def _poll(self, cycle: Any, callback: Any, timeout: float | None = None) -> Any:
        # kombu's drops the timeout, and a client's question would last a whole long poll.
        return cycle.get(callback, timeout=timeout)

    def _get_bulk(self, queue: str, callback: Any = None, timeout: float | None = None,
                  **kwargs: Any) -> None:
        """One receive without a main loop, for `celery inspect` and other clients."""
        source = self.queue(queue)
        wait = self.settings.poll_wait if timeout is None else max(1, math.ceil(timeout))
        messages = source.receive(max(1, min(self._room(), BATCH)), wait=wait)
        if not messages:
            raise Empty
        if queue in self._noack_queues:
            source.delete_batch([m.receipt for m in messages])
        for message in messages:
            self.connection._deliver(self._payload(message, source), queue)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        source = self.queue(queue)
        messages = source.receive(1, wait=1)
        if not messages:
            raise Empty
        if queue in self._noack_queues:
            source.delete_batch([messages[0].receipt])
        return self._payload(messages[0], source)

    # -- settling ------------------------------------------------------------------------
    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        source = self._source(delivery_tag)
        if source is not None:
            shared.settler().delete(source, delivery_tag)
        self.qos.ack(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Leave the message to SQS: back after a pause that doubles with each receive.

        With or without ``requeue``: the redrive policy counts its receives and takes it to
        the dead-letter queue in the end. Nothing is deleted that was not finished.
        """
        source = self._source(delivery_tag)
        if source is not None:
            receives = self.qos.get(delivery_tag).headers.get(RECEIVES_HEADER, 1)
            pause = min(2 ** min(int(receives), 10), self.settings.visibility_timeout)
            shared.settler().release(source, delivery_tag, pause)
        self.qos.ack(delivery_tag)

    def _source(self, delivery_tag: str) -> Queue | None:
        try:
            return self.qos.get(delivery_tag).delivery_info.get("sqs_queue_object")
        except KeyError:
            return None  # restored at a close in the meantime: visible again already

    # -- looking and closing ---------------------------------------------------------------
    def _size(self, queue: str) -> int:
        return self.queue(queue).depth().visible

    def _purge(self, queue: str) -> int:
        return self.queue(queue).purge()

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if not self._is_task_queue(queue):
            owned.registry(self.settings).drop(self.queue(queue))

    def after_reply_message_received(self, queue: str) -> None:
        """Keep the reply queue for this process's next question.

        SQS refuses to make a queue again within 60 s of its deletion.
        """

    def _subscribe_queue_to_fanout_exchange_if_required(self, queue_name: str) -> None:
        super()._subscribe_queue_to_fanout_exchange_if_required(queue_name)
        if self._fanout is not None:
            owned.registry(self.settings).subscribed(
                self._fanout.subscriptions._subscription_arn_cache.values())

    def basic_cancel(self, consumer_tag: str) -> None:
        receiver = self._receivers.pop(self._tag_to_queue.get(consumer_tag, ""), None)
        if receiver is not None:
            receiver.stop()
        super().basic_cancel(consumer_tag)

    def close(self) -> None:
        for heartbeat in self._heartbeats:
            heartbeat.stop()
        super().close()
