"""Calls to AWS, counted in memory: which, what came of them, how long they took.

Read by `/metrics` where somebody asks. boto3's calls are seen by hooks of its clients, with
the repeats that it makes itself as one; SQS's and obstore's are timed where they are made. One costs
some microseconds (`bench/calls_cost.py`), a call to AWS milliseconds.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from irs import errors
from irs.aws.faults import classify, translate

#: Seconds, upper bounds: an object in the region, a batch call, a slow one, a long poll, a timeout.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
#: What may come of a call: the class of its error, the first that fits.
_BY_CLASS: tuple[tuple[type[errors.CloudError], str], ...] = (
    (errors.Throttled, "throttled"), (errors.Retryable, "unreachable"), (errors.NotFound, "not_found"),
    (errors.AlreadyExists, "exists"), (errors.AccessDenied, "denied"), (errors.BadReceipt, "bad_receipt"),
    (errors.NoCapacity, "no_capacity"), (errors.CloudError, "refused"),
)
OK = "ok"
OUTCOMES = (OK, *(name for _, name in _BY_CLASS))
#: Where a boto3 call's context keeps the time of its beginning.
_BEGAN = "irs_began"


@dataclass(kw_only=True, slots=True)
class Count:
    """What there is to tell of one operation."""

    #: calls by outcome
    outcomes: dict[str, int]
    #: calls by how long they took, as `BOUNDS` has it; the last: longer
    buckets: list[int]
    #: all of them together
    seconds: float = 0.0


class Tally:
    """Thread-safe. Operations are as many as the code calls: some twenty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], Count] = {}

    def add(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """One call that has ended."""
        with self._lock:
            count = self._counts.get((service, operation))
            if count is None:
                count = self._counts[service, operation] = Count(
                    outcomes=dict.fromkeys(OUTCOMES, 0), buckets=[0] * (len(BOUNDS) + 1))
            count.outcomes[outcome] += 1
            count.buckets[bisect_left(BOUNDS, seconds)] += 1
            count.seconds += seconds

    def read(self) -> dict[tuple[str, str], Count]:
        """A copy, by service (as boto3 calls it) and operation (as AWS does)."""
        with self._lock:
            return {key: Count(outcomes=dict(c.outcomes), buckets=list(c.buckets), seconds=c.seconds)
                    for key, c in self._counts.items()}


#: The process's.
TALLY = Tally()


def outcome(kind: type[errors.CloudError]) -> str:
    """What an error of that class is called."""
    return next(name for known, name in _BY_CLASS if issubclass(kind, known))


@contextmanager
def timed(service: str, operation: str) -> Iterator[None]:
    """Count what is done inside as one call; around it errors are AWS's or obstore's no more."""
    began, came = time.perf_counter(), OK
    try:
        yield
    except errors.CloudError as exc:
        came = outcome(type(exc))
        raise
    finally:
        TALLY.add(service, operation, came, time.perf_counter() - began)


def watch(client: Any) -> None:
    """Count the calls of a boto3 client."""
    service = client.meta.service_model.service_name

    def before(context: dict[str, Any], **_: Any) -> None:
        context[_BEGAN] = time.perf_counter()

    def ended(model: Any, context: dict[str, Any], parsed: dict[str, Any], **_: Any) -> None:
        if _BEGAN not in context:
            return  # answered by another hook, and never made
        came = OK
        if error := parsed.get("Error"):
            came = outcome(classify(
                str(error.get("Code", "")), parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
                str(error.get("Message", ""))))
        TALLY.add(service, model.name, came, time.perf_counter() - context[_BEGAN])

    def failed(context: dict[str, Any], exception: Exception, event_name: str, **_: Any) -> None:
        # Named after-call-error.sqs.ReceiveMessage. An error of a hook before ours is no call's.
        if _BEGAN not in context:
            return
        TALLY.add(service, event_name.rpartition(".")[2], outcome(type(translate(exception, service))),
                  time.perf_counter() - context[_BEGAN])

    client.meta.events.register("before-call", before)
    client.meta.events.register("after-call", ended)
    client.meta.events.register("after-call-error", failed)
