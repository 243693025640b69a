"""Traces: what an image's time was spent on, from its request to its answer, across processes.

Everything that is traced calls this module and nothing else. Off (IRS_TRACES), it does
nothing and OpenTelemetry is not imported; on, `irs.tracing.otel` does the work.

    with tracing.span("irs.decode") as span:
        span.set({"irs.input.format": "JPEG"})

A span finds the one around it by itself within one thread. Whatever goes to another thread
takes its `place` along; whatever goes to another process, what `carried` gives. No user's
file name and no S3 key is ever an attribute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from irs.settings import Settings
    from irs.tracing.otel import Tracer

#: Where in a trace something happens; opaque.
Place = Any
#: What a span does, by OpenTelemetry's names.
Kind = Literal["internal", "server", "client", "producer", "consumer"]
F = TypeVar("F", bound=Callable[..., Any])

#: The header, and the key of an upload's metadata, that carries a place: W3C Trace Context.
TRACEPARENT = "traceparent"
#: All that may carry it: the second is other vendors' own, and passed on unread.
HEADERS = (TRACEPARENT, "tracestate")


class Span:
    """A stretch of time. This one is recorded nowhere; `irs.tracing.otel` has the other one.

    Inside its ``with`` it is the one around all others of the thread; it ends there, or with
    `end` where there is no ``with``.
    """

    __slots__ = ()

    #: whether anybody will see it: of a share, not all are
    recorded = False
    #: where it is, for what comes below it elsewhere; None: nowhere
    place: Place = None
    #: the same as a header's value; empty: nowhere
    traceparent = ""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 trace: TracebackType | None) -> None:
        """An exception that comes through makes it a failure."""

    def current(self) -> AbstractContextManager[None]:
        """Within it this is the span around all others of the thread; it ends with `end`, later."""
        return nullcontext()

    def set(self, attributes: Mapping[str, Any]) -> None:
        """More about it."""

    def fail(self, why: str) -> None:
        """It did not work; ``why`` is a code or a class of errors, never a message."""

    def end(self) -> None:
        """It is over."""


NOWHERE = Span()

_tracer: Tracer | None = None
_starting = threading.Lock()


def on() -> bool:
    """Whether anything is recorded."""
    return _tracer is not None


def start(settings: Settings, role: str, instance: str = "") -> None:
    """Record from now on, where ``settings.traces`` says so; ``role``: ``web``, ``worker``, …"""
    global _tracer  # noqa: PLW0603 - one tracer a process, as there is one log
    if settings.traces is None:
        return
    try:
        from irs.tracing.otel import Tracer
    except ImportError as exc:  # on a machine image of before: no reason not to work
        from irs import log

        _log = log.get("tracing")
        _log.warning("tracing.not_installed", why=str(exc))
        return
    with _starting:
        if _tracer is None:
            _tracer = Tracer(settings, role, instance)


def stop() -> None:
    """Send what there is, for a moment at most, and record no more."""
    global _tracer
    with _starting:
        tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.close()


def span(name: str, kind: Kind = "internal", attributes: Mapping[str, Any] | None = None, *,
         at: Place = None, links: Iterable[Place] = (), since: int | None = None,
         inner: bool = False) -> Span:
    """A span that has begun: below ``at``, else below the one around it, else a trace of its own.

    ``links`` are places that have to do with it; those that are None are left out. ``since``
    is when it began, in nanoseconds since the epoch. An ``inner`` one is recorded only below
    another: what goes on in the background all the time has no trace.
    """
    if _tracer is None:
        return NOWHERE
    return _tracer.span(name, kind, attributes, at=at, links=links, since=since, inner=inner)


def together(name: str, places: Iterable[Place], attributes: Mapping[str, Any] | None = None) -> Span:
    """One span for what is done for several at once.

    Below the first of the ``places``, linked with the others; nowhere where all are None.
    """
    return NOWHERE if _tracer is None else _tracer.together(name, places, attributes)


def s3(operation: str, bucket: str) -> Span:
    """A call of S3's within something else. Not its key: there is a file's name in it."""
    return NOWHERE if _tracer is None else aws("S3", operation, {"aws.s3.bucket": bucket})


def aws(service: str, operation: str, attributes: Mapping[str, Any] | None = None) -> Span:
    """A call of AWS's within something else."""
    return span(f"{service}.{operation}", "client", {
        "rpc.system.name": "aws-api", "rpc.method": f"{service}/{operation}", **(attributes or {})},
        inner=True)


def messaging(operation: Literal["send", "receive", "process"], queue: str) -> dict[str, Any]:
    """The attributes that every span of a queue has."""
    return {"messaging.system": "aws_sqs", "messaging.destination.name": queue,
            "messaging.operation.name": operation, "messaging.operation.type": operation}


def note(attributes: Mapping[str, Any], link: Place = None) -> None:
    """More about the span that is around; a ``link`` to a place that has to do with it."""
    if _tracer is not None:
        _tracer.note(attributes, link)


# -- from thread to thread ------------------------------------------------------------------
def place() -> Place:
    """Where this thread is now; None: nowhere."""
    return None if _tracer is None else _tracer.place()


def within(where: Place) -> AbstractContextManager[None]:
    """Go on ``where`` another thread or process was; None: nowhere."""
    return nullcontext() if _tracer is None else _tracer.within(where)


def carrying(act: F) -> F:
    """``act``, to be called in other threads as if it were called in this one."""
    return act if _tracer is None else _tracer.carrying(act)


# -- from process to process ----------------------------------------------------------------
def carried() -> dict[str, str]:
    """Headers that say where this thread is; none: nowhere."""
    return {} if _tracer is None else _tracer.carried()


def read(headers: Mapping[str, Any]) -> Place:
    """The place that headers of another process name; None where they name none, or nonsense."""
    return None if _tracer is None else _tracer.read(headers)


# -- by a job's id --------------------------------------------------------------------------
def remember(job_id: str, where: Place) -> None:
    """A job is done below ``where``. The newest 10,000 are remembered."""
    if _tracer is not None and where is not None:
        _tracer.jobs.put(job_id, where)


def recall(job_id: str) -> Place:
    """Where the job was sent, as far as this process knows."""
    return None if _tracer is None else _tracer.jobs.get(job_id)


def hear(job_id: str, headers: Mapping[str, Any]) -> None:
    """The job's result was announced just now, from the place that ``headers`` name."""
    if _tracer is not None:
        _tracer.heard.put(job_id, _tracer.moment(headers))


def answering(job_ids: Iterable[str]) -> Span:
    """A request's last span: since the last of these results was heard, linked to their announcements."""
    return NOWHERE if _tracer is None else _tracer.answering(job_ids)
