"""One SQS queue: its URL looked up once, its calls in batches, its errors ours."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irs import errors
from irs.aws import sqs
from irs.aws.faults import classify
from irs.settings import Settings

#: SQS: entries in a batch call.
BATCH = 10
#: SQS: bytes in a message and in a batch call (1 MiB since August 2025).
MAX_BYTES = 1_048_576
#: Seconds beyond a long poll's wait before the connection counts as stalled.
STALL = 5.0
#: Seconds for the answer to a send, which takes SQS some milliseconds. A client waits meanwhile:
#: with all tries and their pauses it is told after 15 s that its image could not be sent.
SEND_TIMEOUT = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One delivery."""

    id: str
    body: str
    #: names this delivery in delete and visibility calls
    receipt: str
    #: deliveries so far, this one included
    receives: int
    #: milliseconds since the epoch when the message was sent
    sent_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """Approximate counts; AWS lets them lag by a minute and more."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def there(self) -> int:
        """Those that are not delayed: of dead letters all, with those that somebody looks at just now."""
        return self.visible + self.in_flight


class _Address:
    """A queue's URL, once somebody has asked for it."""

    def __init__(self) -> None:
        self.url: str | None = None


@functools.lru_cache(maxsize=256)
def _address(settings: Settings, name: str) -> _Address:
    """A process's objects for a queue share it: GetQueueUrl is a call like any other."""
    return _Address()


class Queue:
    """One queue by name. Every method raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings, name: str, *, url: str | None = None) -> None:
        self.name = name
        #: seconds of one long poll
        self.poll_wait = settings.poll_wait
        self._settings = settings
        self._address = _address(settings, name)
        if url is not None:
            self._address.url = url
        self._sqs = sqs.client(settings)

    @property
    def url(self) -> str:
        """The queue's URL (GetQueueUrl, once a process); raises `errors.NotFound`."""
        found = self._address.url
        if found is None:
            # Without a lock: where SQS hangs, one after the other would wait for all before it.
            found = self._address.url = self._find()
        return found

    def _find(self) -> str:
        # Perhaps part of a send.
        return self._named(self._sqs.call(
            f"SQS queue {self.name}", "GetQueueUrl", read_timeout=SEND_TIMEOUT, QueueName=self.name))

    def _named(self, answer: Mapping[str, Any]) -> str:
        url: str | None = answer.get("QueueUrl")
        if not url:
            raise errors.Unreachable(
                f"SQS queue {self.name}: the answer has no URL of the queue", code="NoUrl")
        return url

    def forget_url(self) -> None:
        """Look the URL up again at the next call (the queue was deleted and made anew)."""
        self._address.url = None

    def _call(self, what: str, operation: str, **given: Any) -> dict[str, Any]:
        """A call on the queue: one that is not there may be made anew, under another URL."""
        try:
            return self._sqs.call(f"SQS {what} {self.name}", operation, QueueUrl=self.url, **given)
        except errors.NotFound:
            self.forget_url()
            raise

    # -- sending -------------------------------------------------------------------------
    def send(self, body: str, *, delay: int = 0) -> None:
        """One message; returns when SQS has accepted it."""
        (outcome,) = self.send_batch([(body, delay)])
        if outcome is not None:
            raise outcome

    def send_batch(self, entries: Sequence[tuple[str, int]]) -> list[errors.CloudError | None]:
        """Up to 10 (body, delay in seconds); one outcome an entry, None for accepted."""
        answer = self._call(
            "send to", "SendMessageBatch", read_timeout=SEND_TIMEOUT,
            Entries=[{"Id": str(i), "MessageBody": body, **({"DelaySeconds": delay} if delay else {})}
                     for i, (body, delay) in enumerate(entries)])
        return self._outcomes(answer, len(entries), "send to")

    # -- receiving -----------------------------------------------------------------------
    def receive(self, count: int = BATCH, *, wait: int | None = None,
                visibility: int | None = None) -> list[Message]:
        """Up to ``count`` (at most 10) messages, after at most ``wait`` seconds.

        ``visibility``: seconds of invisibility; None: the queue's own.
        """
        seconds = self._settings.poll_wait if wait is None else min(wait, self._settings.poll_wait)
        hidden = {} if visibility is None else {"VisibilityTimeout": visibility}
        # A stalled poll is the receive loop's to retry, with its own record of it.
        answer = self._call(
            "receive from", "ReceiveMessage", read_timeout=self._settings.poll_wait + STALL, attempts=1,
            MaxNumberOfMessages=min(count, BATCH), WaitTimeSeconds=seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"], **hidden)
        return [
            Message(
                id=m["MessageId"], body=m["Body"], receipt=m["ReceiptHandle"],
                receives=int(m.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
                sent_ms=int(m.get("Attributes", {}).get("SentTimestamp", 0)),
            )
            for m in answer.get("Messages", ())
        ]

    def delete_batch(self, receipts: Sequence[str]) -> list[errors.CloudError | None]:
        """Delete up to 10 deliveries; one outcome a receipt."""
        answer = self._call(
            "DeleteMessage in", "DeleteMessageBatch",
            Entries=[{"Id": str(i), "ReceiptHandle": r} for i, r in enumerate(receipts)])
        return self._outcomes(answer, len(receipts), "delete from")

    def set_visibility_batch(
            self, entries: Sequence[tuple[str, int]]) -> list[errors.CloudError | None]:
        """Set (never add to) the invisibility, in seconds from now, of up to 10 deliveries."""
        answer = self._call(
            "visibility in", "ChangeMessageVisibilityBatch",
            Entries=[{"Id": str(i), "ReceiptHandle": r, "VisibilityTimeout": s}
                     for i, (r, s) in enumerate(entries)])
        return self._outcomes(answer, len(entries), "visibility in")

    def purge(self) -> int:
        """Delete every message; returns about how many there were."""
        count = self.depth().visible
        self._call("purge of", "PurgeQueue")
        return count

    # -- looking -------------------------------------------------------------------------
    def depth(self) -> Depth:
        """How many messages are visible, in flight and delayed, approximately."""
        found = self.attributes("ApproximateNumberOfMessages",
                                "ApproximateNumberOfMessagesNotVisible",
                                "ApproximateNumberOfMessagesDelayed")
        return Depth(visible=int(found.get("ApproximateNumberOfMessages", 0)),
                     in_flight=int(found.get("ApproximateNumberOfMessagesNotVisible", 0)),
                     delayed=int(found.get("ApproximateNumberOfMessagesDelayed", 0)))

    def attributes(self, *names: str) -> dict[str, str]:
        """The queue's named attributes."""
        answer = self._call("queue", "GetQueueAttributes", AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    # -- making --------------------------------------------------------------------------
    def create(self, attributes: Mapping[str, str] | None = None,
               tags: Mapping[str, str] | None = None) -> None:
        """Create the queue, or set ``attributes`` where it is there already."""
        try:
            self._address.url = self._find()
        except errors.NotFound:
            answer = self._sqs.call(
                f"SQS create {self.name}", "CreateQueue", QueueName=self.name,
                Attributes=dict(attributes or {}), tags=dict(tags or {}))
            self._address.url = self._named(answer)
            return
        if attributes:
            self._call("create", "SetQueueAttributes", Attributes=dict(attributes))

    def drop(self) -> None:
        """Delete the queue; one that is not there is no error."""
        try:
            self._call("delete queue", "DeleteQueue")
        except errors.NotFound:
            return
        finally:
            self.forget_url()

    def redrive_to(self, dead: Queue, receives: int) -> None:
        """Send messages received ``receives`` times without a delete to ``dead``."""
        policy = {"deadLetterTargetArn": dead.attributes("QueueArn")["QueueArn"],
                  "maxReceiveCount": receives}
        self._call("redrive policy of", "SetQueueAttributes",
                   Attributes={"RedrivePolicy": json.dumps(policy)})

    def redrive(self) -> tuple[str, int] | None:
        """The dead-letter queue's name and maxReceiveCount, or None without a policy."""
        raw = self.attributes("RedrivePolicy").get("RedrivePolicy")
        if not raw:
            return None
        policy = json.loads(raw)
        return policy["deadLetterTargetArn"].rsplit(":", 1)[-1], int(policy["maxReceiveCount"])

    def _outcomes(self, answer: Mapping[str, Any], count: int,
                  what: str) -> list[errors.CloudError | None]:
        told: dict[str, errors.CloudError | None] = {
            entry["Id"]: None for entry in answer.get("Successful", ())}
        for entry in answer.get("Failed", ()):
            code, message = entry.get("Code") or "", entry.get("Message") or ""
            kind = classify(code, 400 if entry.get("SenderFault") else 500, message)
            told[entry["Id"]] = kind(f"SQS {what} {self.name}: {message or code}", code=code)
        return [told[str(i)] if str(i) in told else errors.Unreachable(
            f"SQS {what} {self.name}: the answer does not say what became of this message", code="LeftOut")
            for i in range(count)]
