"""kombu and Celery are pinned, and this is where a new version of them is noticed.

We replace methods of kombu's SQS transport and of Celery's worker, some of them private. A
new version may change one under us without a word, so the originals are remembered here
by digest.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from celery.app import events as app_events
from celery.backends.base import BaseBackend
from celery.concurrency import thread
from celery.events import EventDispatcher, EventReceiver
from celery.worker import consumer, request
from celery.worker import pidbox as worker_pidbox
from celery.worker.consumer import control as worker_control
from kombu import pidbox
from kombu.transport import SQS

from irs.broker.asking import AskingChannel
from irs.broker.channel import Channel
from irs.broker.control import ControlChannel
from irs.broker.events import Dispatcher, Events, Receiver
from irs.broker.mailbox import Mailbox
from irs.broker.qos import QoS
from irs.broker.transport import Transport
from irs.results.backend import ResultBackend
from irs.worker.consumer import Consumer
from irs.worker.pool import TaskPool
from irs.worker.remote import Box, Control
from irs.worker.request import Request

ROOT = Path(__file__).parents[3]

WHAT_TO_DO = (
    "{name} is another than the one that {ours} was written against. Read what changed, bring the "
    "override in line, run tests/integration/test_broker.py, then remember the new one: {found!r}")

#: Each original that is replaced, and the first digits of its source's sha256.
ORIGINALS: dict[str, str] = {
    "celery.backends.base.Backend.__init__": "cdf88d682b86e317",
    "celery.backends.base.Backend._forget": "86452db41a3d3a42",
    "celery.concurrency.thread.TaskPool.on_apply": "5b5ead7fb32e4e6d",
    "celery.events.dispatcher.EventDispatcher.__init__": "5cc6b0f6bac2d68b",
    "celery.events.dispatcher.EventDispatcher._publish": "70b7053ff73568e9",
    "celery.events.dispatcher.EventDispatcher.close": "f011a2f8b8ddcb0c",
    "celery.events.dispatcher.EventDispatcher.enable": "8a9b1306e830e439",
    "celery.worker.consumer.consumer.Consumer.__init__": "c27ca6ec2d4bbfe4",
    "celery.worker.consumer.consumer.Consumer.on_decode_error": "e3538c586a7ffa75",
    "celery.worker.consumer.consumer.Consumer.on_invalid_task": "9893e7a4eee33a33",
    "celery.worker.consumer.consumer.Consumer.on_unknown_message": "213bd3ee55cb5ca6",
    "celery.worker.consumer.consumer.Consumer.on_unknown_task": "35e6cbe564947a25",
    "celery.worker.consumer.control.Control.__init__": "35676395acaf937f",
    "celery.worker.pidbox.Pidbox.on_stop": "54385d55c2079928",
    "celery.worker.pidbox.Pidbox.start": "94ac3a69cb479ebf",
    "celery.worker.request.Request.__init__": "efdf47149cde3635",
    "celery.worker.request.Request.info": "3c2e986f6780d19e",
    "celery.worker.request.Request.revoked": "5132788b1bc86f26",
    "celery.worker.request.Request.send_event": "75ec861e3f357ae9",
    "kombu.mixins.ConsumerMixin.consume": "16b4ba15bf615823",
    "kombu.pidbox.Mailbox.oid": "db3f4202dcb2d441",
    "kombu.transport.SQS.Channel.__init__": "a74bf9f64cd5a266",
    "kombu.transport.SQS.Channel._delete": "dff293d11b680e83",
    "kombu.transport.SQS.Channel._get": "7840f251d1f057f2",
    "kombu.transport.SQS.Channel._get_bulk": "bfafc08017df203d",
    "kombu.transport.SQS.Channel._new_boto_client": "46a75b1a2261d1a5",
    "kombu.transport.SQS.Channel._new_queue": "f54c7ddd8557c555",
    "kombu.transport.SQS.Channel._purge": "ec697ad8e38eb397",
    "kombu.transport.SQS.Channel._put": "abbc7aaeaa2c49c8",
    "kombu.transport.SQS.Channel._put_fanout": "387b695edc42c665",
    "kombu.transport.SQS.Channel._queue_bind": "48fb74106e82281e",
    "kombu.transport.SQS.Channel._resolve_queue_url": "54a051df9e1dc1bc",
    "kombu.transport.SQS.Channel._size": "b47fce9db8a0b9cf",
    "kombu.transport.SQS.Channel._subscribe_queue_to_fanout_exchange_if_required": "6af7a2249750bf84",
    "kombu.transport.SQS.Channel._update_queue_cache": "c00c37c31090b7e4",
    "kombu.transport.SQS.Channel.basic_ack": "ea203438531fa1e0",
    "kombu.transport.SQS.Channel.basic_cancel": "9bdcc2fe60e3b029",
    "kombu.transport.SQS.Channel.basic_consume": "949b19b52aa81813",
    "kombu.transport.SQS.Channel.basic_reject": "6055f0dfee5e8f64",
    "kombu.transport.SQS.Channel.canonical_queue_name": "4b891abcca4e8ad0",
    "kombu.transport.SQS.Channel.close": "7be659a7c7697a2c",
    "kombu.transport.SQS.Channel.sqs": "3ee83e568cc09c4a",
    "kombu.transport.SQS.Channel.sqs_base64_encoding": "d7f196dc9a20bfd3",
    "kombu.transport.SQS.Channel.supports_fanout": "b8a163913fc0ea0a",
    "kombu.transport.SQS.QoS.reject": "e73c89c6f7a86f07",
    "kombu.transport.SQS.Transport.__init__": "8d1481862bb2712b",
    "kombu.transport.base.Transport.register_with_event_loop": "240a2d71a22ec75e",
    "kombu.transport.virtual.base.AbstractChannel._poll": "33a43870d9ce3e25",
    "kombu.transport.virtual.base.Channel._lookup": "82b0e60149b5e172",
    "kombu.transport.virtual.base.Channel.after_reply_message_received": "aedf3cee34884104",
    "kombu.transport.virtual.base.Channel.exchange_declare": "daded22904e2e980",
    "kombu.transport.virtual.base.Channel.queue_declare": "391700e2702cfa40",
    "kombu.transport.virtual.base.QoS.__init__": "86388d33d7d6fb40",
    "kombu.transport.virtual.base.QoS.ack": "0714292b916fecb2",
    "kombu.transport.virtual.base.QoS.append": "b388f0cd6485c28a",
    "kombu.transport.virtual.base.QoS.restore_unacked_once": "c81f3d0fb29b9599",
}

PAIRS = ((Channel, SQS.Channel), (ControlChannel, SQS.Channel), (AskingChannel, SQS.Channel),
         (QoS, SQS.QoS), (Transport, SQS.Transport), (Consumer, consumer.Consumer),
         (TaskPool, thread.TaskPool), (ResultBackend, BaseBackend), (Request, request.Request),
         (Dispatcher, EventDispatcher), (Receiver, EventReceiver), (Events, app_events.Events),
         (Mailbox, pidbox.Mailbox), (Box, worker_pidbox.Pidbox), (Control, worker_control.Control))


def digest(original: Any) -> str:
    """Of the source, signature included."""
    original = getattr(original, "fget", None) or getattr(original, "func", original)
    return hashlib.sha256(inspect.getsource(original).encode()).hexdigest()[:16]


def overrides() -> list[tuple[str, str, Any]]:
    """(our name, the original's name, the original) of everything that we replace."""
    found = []
    for ours, theirs in PAIRS:
        for name in vars(ours):
            base = next((base for base in theirs.__mro__[:-1] if name in vars(base)), None)
            original = vars(base)[name] if base else None
            if inspect.isfunction(original) or hasattr(original, "fget") or hasattr(original, "func"):
                label = f"{base.__module__}.{base.__name__}.{name}"
                found.append((f"{ours.__name__}.{name}", label, original))
    return found


@pytest.mark.parametrize("package", ["kombu", "celery"])
def test_the_version_is_pinned_and_is_the_one_installed(package: str) -> None:
    (pin,) = re.findall(rf"(?m)^{package}==(\S+)", (ROOT / "requirements.txt").read_text())
    assert importlib.metadata.version(package) == pin


@pytest.mark.parametrize(("ours", "name", "original"), [
    pytest.param(*each, id=f"{each[0]} over {each[1]}") for each in overrides()])
def test_what_we_override_is_what_we_read(ours: str, name: str, original: Any) -> None:
    found = digest(original)
    assert ORIGINALS.get(name) == found, WHAT_TO_DO.format(name=name, ours=ours, found=found)


def test_nothing_is_remembered_that_is_no_longer_overridden() -> None:
    assert set(ORIGINALS) == {name for _, name, _ in overrides()}
