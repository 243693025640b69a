"""One attempt at a callback, and what is written down about it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from irs import log, signing, tracing
from irs.callbacks.records import Held, Records
from irs.domain import addresses
from irs.domain.callbacks import BATCH, GONE, Answer, Record, State

#: What an id's callback carries, as JSON; None: nothing yet. Raises `irs.errors.CloudError`.
Payload = Callable[[str], bytes | None]
#: What may become of an attempt, for the metric.
OUTCOMES = ("delivered", "retried", "gone", "failed")

_log = log.get("callbacks")


class Poster(Protocol):
    """`irs.callbacks.posting.Post`; its answer tells whatever goes wrong."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempted:
    """What came of one turn."""

    #: whether the receiver took it; None: it was not called
    taken: bool | None = None
    #: what is to be attempted once more, and in how many seconds
    again: Held | None = None
    seconds: float = 0.0


class Caller:
    """Thread-safe. Methods raise `irs.errors.CloudError`."""

    def __init__(self, records: Records, payloads: Mapping[str, Payload], post: Poster,
                 secrets: Sequence[bytes], *, now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 luck: Callable[[], float] = random.random) -> None:
        self._records = records
        self._payloads = payloads
        self._post = post
        self._secrets = secrets
        self._now = now
        self._luck = luck
        self._lock = threading.Lock()
        #: attempts by what became of them, so far
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))

    def payload(self, record: Record) -> bytes | None:
        """What there is to say; None: nothing so far, or it is another version's business."""
        known = self._payloads.get(record.about)
        return known(record.id) if known is not None else None

    def attempt(self, held: Held) -> Attempted:
        """Call, and write down what came of it."""
        body = self.payload(held.record)
        mine = self._begin(held) if body is not None else None
        if body is None or mine is None:
            return Attempted()
        answer = self._call(mine.record, body)
        record = mine.record.answered(answer, self._now(), self._luck())
        self._tell(record)
        if record.state.final:
            self._records.end(record)
            return Attempted(taken=answer.taken)
        # In the place of what is held: what another process did meanwhile stands.
        return Attempted(taken=answer.taken, again=self._records.replace(mine, record),
                         seconds=(record.next_at - self._now()).total_seconds())

    def _call(self, record: Record, body: bytes) -> Answer:
        headers = signing.headers(self._secrets, record.id, body, int(self._now().timestamp()))
        # Of the address its host alone: the rest may be the receiver's password.
        with tracing.span("POST", "client", {
                "http.request.method": "POST", "server.address": addresses.host(record.url),
                "http.request.resend_count": record.attempts - 1 or None,
                f"irs.{'batch' if record.about == BATCH else 'job'}.id": record.id},
                at=tracing.recall(record.id)) as span:
            answer = self._post(record.url, body, {**headers, **tracing.carried()})
            span.set({"http.response.status_code": answer.status or None})
            if not answer.taken:
                span.fail(str(answer.status or "no_answer"))
        return answer

    def _begin(self, held: Held) -> Held | None:
        """The attempt's record, claimed where another process may think that it is its own."""
        record = held.record.begun(self._now())
        if held.own and held.record.safe(self._now()):
            return Held(record=record, etag=held.etag, own=True)
        return self._records.replace(held, record)

    def _tell(self, record: Record) -> None:
        outcome = ("delivered" if record.state is State.DELIVERED
                   else "retried" if record.state is State.PENDING
                   else "gone" if record.last_status == GONE else "failed")
        with self._lock:
            self.outcomes[outcome] += 1
        # Never the URL: its path and query may be the receiver's password.
        told = {"id": record.id, "host": addresses.host(record.url), "attempts": record.attempts,
                "status": record.last_status, "why": record.last_error}
        if outcome == "delivered":
            _log.info("callback.delivered", **told)
        elif outcome == "retried":
            _log.warning("callback.retried", **told)
        else:
            _log.warning("callback.gone" if outcome == "gone" else "callback.failed", **told)
