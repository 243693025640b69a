"""kombu's envelope around a task, read from an SQS message that anybody may have sent."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from irs.aws.queues import Message, Queue

#: Header in which a task finds how often its message has been received.
RECEIVES_HEADER = "irs_receives"
#: And in which when it was sent, in milliseconds since the epoch.
SENT_HEADER = "irs_sent"
#: What nothing of ours asks for and a foreign message must not have: an ETA keeps a slot
#: until it comes, an expired task is deleted without a result, and a compressed body may
#: be a thousand times as large as a message.
_UNWANTED = ("eta", "expires", "timelimit", "compression")


def read(message: Message, source: Queue) -> dict[str, Any]:
    """The payload that kombu's `Message` takes; what is no envelope becomes a bare body.

    Everything kombu and Celery look at before they decide what a message is has the type
    they count on: a foreign message must reach Celery's own refusal, and break nothing.
    """
    envelope = _object(message.body) or _object(_unwrapped(message.body))
    if envelope is None or not isinstance(envelope.get("properties"), dict):
        envelope = {"body": message.body, "properties": {}}
    properties = envelope["properties"]
    if not isinstance(properties.get("delivery_info"), dict):
        properties["delivery_info"] = {}
    properties["delivery_info"].update(
        sqs_message={"MessageId": message.id, "ReceiptHandle": message.receipt},
        sqs_queue=source.url, sqs_queue_object=source)
    properties["delivery_tag"] = message.receipt
    if not isinstance(envelope.get("headers"), dict):
        envelope["headers"] = {}
    for name in _UNWANTED:
        envelope["headers"].pop(name, None)
    envelope["headers"][RECEIVES_HEADER] = message.receives
    envelope["headers"][SENT_HEADER] = message.sent_ms
    return envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task's message, as far as it can be read without Celery."""

    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    #: whatever the sender wrote there
    reply_to: object = None


def task(body: str) -> Task:
    """The task in a message's body; raises `ValueError` where there is none."""
    envelope = _object(body) or _object(_unwrapped(body))
    if envelope is None:
        raise ValueError("not an envelope")
    try:
        raw = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            raw = base64.b64decode(raw, validate=True)
        args, kwargs, _ = json.loads(raw)
        name = envelope["headers"]["task"]
        reply_to = envelope["properties"].get("reply_to")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as exc:
        raise ValueError(f"not a task: {exc!r}") from exc
    if not (isinstance(name, str) and isinstance(args, list) and isinstance(kwargs, dict)):
        raise ValueError("not a task: name, arguments or keyword arguments of another type")  # noqa: TRY004
    return Task(name=name, args=args, kwargs=kwargs, reply_to=reply_to)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unwrapped(text: str) -> str:
    """What kombu's own transport sends: base64 of the envelope. Empty for anything else."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
