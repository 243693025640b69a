"""Remote control and events over SNS and SQS: what kept Celery's from working, mended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from amqp.protocol import queue_declare_ok_t
from kombu.transport import SQS

from irs import errors, log
from irs.aws.faults import translated
from irs.broker import owned
from irs.settings import load

_log = log.get("broker")


class ControlChannel(SQS.Channel):
    """kombu's SQS channel, its fan-out usable by Celery; faults are `irs.errors.CloudError`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.settings = load()
        super().__init__(*args, **kwargs)

    @property
    def supports_fanout(self) -> bool:
        return self.settings.remote_control

    def _is_task_queue(self, name: str) -> bool:
        return name == self.settings.input_queue

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str,
                    **kwargs: Any) -> None:
        try:
            with translated(f"SNS publish to {exchange}"):
                super()._put_fanout(exchange, message, routing_key, **kwargs)
        except errors.CloudError as exc:
            self._lost_control(exc, exchange)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: Any, queue: str) -> None:
        # kombu's also asks for the queue of every subscription of the topic, one call each: a
        # fleet of n would make n of them at each start. `irs.broker.owned` does it, seldom.
        if self._exchange_is_fanout(exchange):
            with self._or_dropped(queue), translated("SNS topic"):
                self.fanout._get_or_create_topic(exchange)

    def forget_topics(self) -> None:
        """Look their ARNs up anew, and make those that are gone."""
        self._fanout = None

    @contextlib.contextmanager
    def _or_dropped(self, queue: str) -> Iterator[None]:
        """Drop a client's queue that cannot be subscribed: it tries again with another, for ever."""
        try:
            yield
        except errors.CloudError:
            if self.hub is None:
                try:
                    owned.registry(self.settings).drop(self.queue(queue))
                except errors.CloudError as exc:
                    _log.info("broker.control_left", why=str(exc))
            raise

    def _lost_control(self, exc: errors.CloudError, target: str) -> None:
        """A lost task is its sender's to know of; a worker must not stop for a lost reply."""
        if isinstance(exc, errors.NotFound) and self._is_task_queue(target):
            raise self._absent(target) from exc
        if self.hub is None or self._is_task_queue(target):
            raise exc
        _log.warning("broker.control_lost", target=target, why=str(exc))

    @staticmethod
    def _absent(queue: str) -> errors.NotFound:
        return errors.NotFound(f"queue {queue} does not exist: `irs doctor` says how to make it")

    def exchange_declare(self, exchange: str | None = None, type: str = "direct",
                         **kwargs: Any) -> None:
        # Celery declares its event exchange as topic, which SNS does not have. Its routing
        # keys only narrow what a monitor hears, so fan-out is right, and all there is.
        if exchange == self.connection.event_exchange:
            type = "fanout"
        super().exchange_declare(exchange, type, **kwargs)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> Any:
        # kombu counts the queue's messages at each declaration, which is once a connection;
        # only who declares passively wants to know.
        if passive or queue is None:
            return super().queue_declare(queue, passive=passive, **kwargs)
        self._new_queue(queue, **kwargs)
        return queue_declare_ok_t(queue, 0, 0)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Sequence[str]:
        # Bindings live in the process that declared them, and the one that replies is
        # another: the reply queue's name follows from exchange and routing key (kombu.pidbox).
        if exchange.startswith("reply.") and exchange.endswith(".pidbox"):
            return [f"{routing_key}.{exchange}"]
        return super()._lookup(exchange, routing_key, default)

    def after_reply_message_received(self, queue: str) -> None:
        """Keep the reply queue for this process's next question.

        SQS refuses to make a queue again within 60 s of its deletion.
        """

    def _subscribe_queue_to_fanout_exchange_if_required(self, queue_name: str) -> None:
        super()._subscribe_queue_to_fanout_exchange_if_required(queue_name)
        if self._fanout is not None:
            owned.registry(self.settings).subscribed(
                self._fanout.subscriptions._subscription_arn_cache.values())

    def _make_anew(self, queue: str) -> None:
        """A control queue of ours was deleted: another process took us for gone.

        Called in the receiving thread; nobody else uses this channel's subscriptions then.
        """
        owned.registry(self.settings).create(self.queue(queue))
        with translated(f"SNS subscription of {queue}"):
            self.fanout.subscriptions._subscription_arn_cache.clear()
            self._subscribe_queue_to_fanout_exchange_if_required(queue)
