"""Faults of the way to the endpoint: refusals, silence, resets, lost answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from irs.testing.proxy import Action, Answer, Delay, Duplicate, Hang, LoseReply, Proxy, Reset, Rule
from tests.faults.catalogue.fault import Active, Fault, NetworkFault
from tests.faults.harness.stack import Stack


def _receive(name: str, action: Action, *, short: bool = False, seconds: float = 8.0) -> NetworkFault:
    """ReceiveMessage on the input queue fails in the worker."""
    return NetworkFault(
        number=6, name=f"receive-{name}", tier="worker", seconds=seconds, short=short, least=2,
        rules=(Rule(service="sqs", operations={"ReceiveMessage"}, target="{input_queue}",
                    action=action),))


def _store(number: int, name: str, action: Action, *, tier: str, operation: str, bucket: str,
           seconds: float = 8.0, short: bool = False) -> NetworkFault:
    """One S3 operation on one bucket fails in one tier."""
    return NetworkFault(
        number=number, name=name, tier=tier, seconds=seconds, short=short,
        rules=(Rule(service="s3", operations={operation}, target=bucket, action=action),))


#: tier, operation, bucket: where the service depends on S3
_WAYS = {
    "put-upload": ("web", "PutObject", "{input_bucket}"),
    "get-upload": ("worker", "GetObject", "{input_bucket}"),
    "put-result": ("worker", "PutObject", "{output_bucket}"),
}
_S3 = tuple(
    _store(number, f"{way}-{what}", action, tier=tier, operation=operation, bucket=bucket,
           seconds=seconds, short=(way, what) == ("put-result", "500"))
    for way, (tier, operation, bucket) in _WAYS.items()
    for number, what, action, seconds in (
        (4, "500", Answer(500, "InternalError"), 5.0),
        (4, "503", Answer(503, "SlowDown"), 8.0),
        (4, "late", Delay(20.0), 12.0),
        (5, "403", Answer(403, "AccessDenied"), 8.0),
        (5, "no-bucket", Answer(404, "NoSuchBucket"), 8.0),
    ))


def _send(name: str, action: Action, *, seconds: float = 8.0) -> NetworkFault:
    """SendMessage to the input queue fails in the web tier, or seems to."""
    return NetworkFault(
        number=7, name=f"send-{name}", tier="web", seconds=seconds,
        rules=(Rule(service="sqs", operations={"SendMessage", "SendMessageBatch"},
                    target="{input_queue}", action=action),))


def _all(tier: str, name: str, action: Action, seconds: float) -> NetworkFault:
    """Nothing of a tier's gets through."""
    return NetworkFault(number=20, name=f"{name}-{tier}", tier=tier, seconds=seconds,
                        rules=(Rule(action=action),))


class _Refused:
    """A proxy that takes no connection."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.fired = 0

    def begin(self) -> Self:
        self._proxy.refuse()
        self.fired = 1
        return self

    def clear(self) -> None:
        self._proxy.accept()


@dataclass(frozen=True, kw_only=True, eq=False)
class Refusal(Fault):
    """Every connection of a tier is reset or refused."""

    tier: str

    def inject(self, stack: Stack) -> Active:
        return _Refused(stack.proxy(self.tier)).begin()


FAULTS: tuple[Fault, ...] = (
    # Each message is received and sent twice; what is sent twice is two messages.
    NetworkFault(number=2, name="received-twice", tier="worker", rules=(
        Rule(service="sqs", operations={"ReceiveMessage"}, target="{input_queue}",
             action=Duplicate()),)),
    NetworkFault(number=2, name="sent-twice", tier="web", workers=2, seconds=4.0, short=True, rules=(
        Rule(service="sqs", operations={"SendMessage", "SendMessageBatch"}, target="{input_queue}",
             action=Duplicate()),)),
    *_S3,
    _receive("500", Answer(500, "InternalError")),
    _receive("503", Answer(503, "ServiceUnavailable"), seconds=5.0, short=True),
    _receive("reset", Reset()),
    _receive("throttled", Answer(400, "RequestThrottled")),
    _receive("expired-token", Answer(403, "ExpiredToken")),
    _receive("no-queue", Answer(400, "QueueDoesNotExist")),
    # A stalled poll is given up after its wait and some seconds; two of them fit.
    _receive("hang", Hang(), seconds=20.0),
    _send("500", Answer(500, "InternalError")),
    _send("denied", Answer(403, "AccessDenied")),
    _send("throttled", Answer(400, "RequestThrottled")),
    _send("reply-lost", LoseReply()),
    _send("hang", Hang(), seconds=12.0),
    # The worker says so and nobody hears; nobody is told; nobody can ask.
    NetworkFault(number=8, name="announcements-refused", tier="worker", rules=(
        Rule(service="sqs", operations={"SendMessage", "SendMessageBatch"},
             action=Answer(503, "ServiceUnavailable")),)),
    NetworkFault(number=8, name="announcements-hang", tier="worker", rules=(
        Rule(service="sqs", operations={"SendMessage", "SendMessageBatch"}, action=Hang()),)),
    NetworkFault(number=8, name="listener-deaf", tier="web", rules=(
        Rule(service="sqs", operations={"ReceiveMessage"}, action=Answer(500, "InternalError")),)),
    Refusal(number=20, name="refused-worker", tier="worker", seconds=8.0),
    Refusal(number=20, name="refused-web", tier="web", seconds=8.0),
    _all("worker", "black-hole", Hang(), 15.0),
    _all("web", "black-hole", Hang(), 15.0),
)
