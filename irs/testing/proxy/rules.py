"""What goes wrong, with which calls, and how often."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from irs.testing.proxy.calls import Call, ErrorCode
from irs.testing.proxy.wire import Reply

#: SQS: messages in one answer.
_MOST = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """The service refuses: ``status`` and ``code``, in its own wire form; nothing is forwarded."""

    status: int
    code: str = ErrorCode.INTERNAL


@dataclass(frozen=True, slots=True)
class Delay:
    """The call is forwarded ``seconds`` later, or when the fault is cleared."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, and nothing forwarded; reset when the fault is cleared."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST); nothing is forwarded."""


@dataclass(frozen=True, slots=True)
class LoseReply:
    """The call succeeds and its answer is lost: ``sent`` bytes of it, then a reset."""

    sent: int = 0


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A message arrives twice: a receive brings each message twice, anything else is sent twice."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The answer's body is changed on its way."""

    change: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Stale:
    """The last answer to the same Describe or count of the same target, again.

    Where there has been none yet, the call passes.
    """


Action = Answer | Delay | Hang | Reset | LoseReply | Duplicate | Rewrite | Stale


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One fault."""

    action: Action
    #: ``sqs``, ``s3``, ``ec2``, ``sns``; empty: any
    service: str = ""
    #: AWS's names (ReceiveMessage, PutObject); empty: any
    operations: Set[str] = frozenset()
    #: part of the queue's name or of ``bucket/key``; empty: any
    target: str = ""
    #: calls that it may hit; None: all until it is cleared
    count: int | None = None
    #: of each call that matches, 0..1
    chance: float = 1.0

    def matches(self, call: Call) -> bool:
        """Whether ``call`` is of those that it is about."""
        return ((not self.service or self.service == call.service)
                and (not self.operations or call.operation in self.operations)
                and self.target in call.target)


class Injection:
    """A rule at work. Thread-safe."""

    def __init__(self, rule: Rule, chance: random.Random, wake: Callable[[], None]) -> None:
        self.rule = rule
        #: calls hit so far
        self.fired = 0
        self._random = chance
        self._wake = wake
        self._lock = threading.Lock()
        self._cleared = False

    @property
    def cleared(self) -> bool:
        """Whether it is over."""
        return self._cleared

    def clear(self) -> None:
        """The fault ends; calls that hang are reset, calls that are delayed go on."""
        with self._lock:
            self._cleared = True
        self._wake()

    def draw(self, call: Call) -> bool:
        """Whether it hits ``call``, and count it if so."""
        if not self.rule.matches(call):
            return False
        with self._lock:
            spent = self.rule.count is not None and self.fired >= self.rule.count
            if self._cleared or spent or self._random.random() >= self.rule.chance:
                return False
            self.fired += 1
            return True


def twice(reply: Reply) -> Reply:
    """A ReceiveMessage answer (JSON protocol) with each message twice, ten at most."""
    try:
        body: Any = json.loads(reply.body)
    except ValueError:
        return reply
    messages = body.get("Messages") if isinstance(body, dict) else None
    if not messages:
        return reply
    body["Messages"] = [m for message in messages for m in (message, message)][:_MOST]
    return reply.with_body(json.dumps(body).encode())
