"""One request until it has an answer: how often it is repeated, and after what pauses."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from irs.client import errors, wire
from irs.client.images import Body
from irs.client.wire import Answer, NoAnswer, Reply, Request

T = TypeVar("T")

#: Seconds that one request waits for a result: load balancers cut a connection that has been
#: silent for 60.
POLL = 50.0
#: Seconds before the first repeat; doubled each time, up to the most.
BACKOFF, BACKOFF_MOST = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


Flow = Generator[Request | Pause, Answer | None, T]


class Repeats:
    """``retries`` is how often a request without an answer is repeated.

    Where there is a deadline, a busy service is asked again until then, as it asks to be.
    """

    def __init__(self, *, retries: int, clock: Callable[[], float] = time.monotonic,
                 jitter: Callable[[], float] = random.random) -> None:
        self._retries = retries
        self._clock = clock
        self._jitter = jitter

    def ask(self, build: Callable[[float], Request], deadline: float | None = None) -> Flow[Reply]:
        """The answer to ``build(seconds to wait)``, asked again while there is none or a busy one."""
        for attempt in itertools.count():
            left = 0.0 if deadline is None else max(0.0, deadline - self._clock())
            request = build(min(left, POLL))
            answer = yield request
            # A busy answer to an upload that names its job is no reason to send it again.
            if isinstance(answer, Reply) and (answer.status not in wire.BUSY
                                              or (request.method == "POST" and answer.id)):
                return answer
            patient = deadline is not None and isinstance(answer, Reply)
            late = deadline is not None and self._clock() >= deadline
            if late or (attempt >= self._retries and not patient):
                break
            yield self.pause(self.delay(attempt, answer), deadline)
        return replied(answer)

    def post(self, path: str, body: Body, kind: str, deadline: float | None, *,
             patience: int = 0) -> Flow[Reply]:
        """The answer to a body sent; ``patience`` is the seconds it may take, 0: what is left, in whole."""
        # One key for all tries: a repeat whose first answer was lost is no second job.
        headers = {"Content-Type": kind, "Idempotency-Key": str(uuid.uuid4())}
        with contextlib.closing(body):
            return (yield from self.ask(
                lambda left: Request(method="POST", path=path, body=body,
                                     wait=patience or wire.whole(left),
                                     headers=headers | wire.prefer(left)), deadline))

    def pause(self, seconds: float, deadline: float | None) -> Pause:
        """So many seconds, or as many as are left until the deadline."""
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - self._clock()))
        return Pause(seconds)

    def delay(self, attempt: int, answer: Answer | None) -> float:
        """Seconds before the next try, spread so that clients do not come back together."""
        if isinstance(answer, Reply) and (asked := answer.retry_after) is not None:
            return max(asked, BACKOFF) * (1 + self._jitter() / 4)
        return min(BACKOFF_MOST, BACKOFF * 2.0 ** min(attempt, 16)) * (1 + self._jitter()) / 2


def replied(answer: Answer | None) -> Reply:
    """The answer; raises `errors.Unreachable` where there is none."""
    if isinstance(answer, Reply):
        return answer
    raise errors.Unreachable(answer.why if isinstance(answer, NoAnswer) else "no answer")
