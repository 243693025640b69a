"""`irs.tracing` by OpenTelemetry. Imported only where traces are on.

Nothing is registered globally: the provider is this object's own, so that a library of
somebody else's records nothing, and tests may have several.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from irs import __version__, log
from irs.settings import Settings
from irs.tracing import HEADERS, NOWHERE, TRACEPARENT, Kind, Place, Span
from irs.tracing.export import Exporter

#: Seconds that the end of a process gives to the last send.
GRACE = 2.0
#: Jobs whose places are remembered.
JOBS = 10_000

_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT,
          "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}
_headers = TraceContextTextMapPropagator()
V = TypeVar("V")


class _Known(Generic[V]):
    """The newest by id; thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, value: V) -> None:
        with self._lock:
            self._known[key] = value
            self._known.move_to_end(key)
            if len(self._known) > JOBS:
                self._known.popitem(last=False)

    def get(self, key: str) -> V | None:
        return self._known.get(key)


class Recorded(Span):
    """A span of OpenTelemetry's."""

    __slots__ = ("_failed", "_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._failed = False
        self._token: Any = None

    @property
    def recorded(self) -> bool:  # type: ignore[override]
        return self._span.is_recording()

    @property
    def place(self) -> Place:  # type: ignore[override]
        return trace.set_span_in_context(self._span, Context())

    @property
    def traceparent(self) -> str:  # type: ignore[override]
        carrier: dict[str, str] = {}
        _headers.inject(carrier, self.place)
        return carrier[TRACEPARENT]

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 traceback: TracebackType | None) -> None:
        context.detach(self._token)
        if isinstance(exc, Exception) and not self._failed:
            self.fail(_code(exc))
        self.end()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        token = context.attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            context.detach(token)

    def set(self, attributes: Mapping[str, Any]) -> None:
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def fail(self, why: str) -> None:
        self._failed = True
        self._span.set_attribute("error.type", why)
        self._span.set_status(Status(StatusCode.ERROR, why))

    def end(self) -> None:
        self._span.end()


class Tracer:
    """What `irs.tracing` calls; thread-safe."""

    def __init__(self, settings: Settings, role: str, instance: str) -> None:
        ratio = TraceIdRatioBased(settings.trace_share)
        # What our own processes send each other is decided. A client's word may leave a request
        # out, and cannot bring one in: strangers do not choose how much we record.
        sampler = ParentBased(ratio, remote_parent_sampled=ratio) if role == "web" else ParentBased(ratio)
        self._exporter = Exporter(settings.traces or "")
        self._provider = TracerProvider(
            sampler=sampler, shutdown_on_exit=False, resource=Resource.create({
                "service.name": f"irs-{role}", "service.namespace": settings.cluster,
                "service.version": __version__,
                "service.instance.id": instance or f"{socket.gethostname()}-{os.getpid()}"}))
        # Bounded: 2,048 spans wait, and the oldest go where nobody takes them.
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("irs", __version__)
        self.jobs: _Known[Place] = _Known()
        #: when results were announced, in nanoseconds since the epoch, and where
        self.heard: _Known[tuple[int, Place]] = _Known()
        log.more(_ids)
        atexit.register(self.close)

    def close(self) -> None:
        """Send what there is, for `GRACE` seconds at most."""
        atexit.unregister(self.close)
        log.more(None)
        # In a thread: a receiver that hangs would hold it for longer than it is told.
        last = threading.Thread(target=self._provider.shutdown, name="tracing-last", daemon=True)
        last.start()
        last.join(GRACE)
        self._exporter.give_up()

    def span(self, name: str, kind: Kind, attributes: Mapping[str, Any] | None, *, at: Place = None,
             links: Iterable[Place] = (), since: int | None = None, inner: bool = False) -> Span:
        around = at if at is not None else context.get_current()
        if inner and not _identity(around).trace_flags.sampled:
            return NOWHERE
        return Recorded(self._tracer.start_span(
            name, around, _KINDS[kind], _present(attributes), [Link(_identity(p)) for p in links if p],
            start_time=since))

    def together(self, name: str, places: Iterable[Place], attributes: Mapping[str, Any] | None) -> Span:
        recorded = [p for p in places if p is not None and _identity(p).trace_flags.sampled]
        if not recorded:
            return NOWHERE
        first, *others = recorded
        made = self.span(name, "internal", attributes, at=first, links=others)
        for other in others:
            trace.get_current_span(other).add_link(_identity(made.place))
        return made

    def note(self, attributes: Mapping[str, Any], link: Place) -> None:
        around = trace.get_current_span()
        around.set_attributes(_present(attributes))
        if link is not None:
            around.add_link(_identity(link))

    def place(self) -> Place:
        here = context.get_current()
        return here if _identity(here).is_valid else None

    @contextlib.contextmanager
    def within(self, where: Place) -> Iterator[None]:
        token = context.attach(where if where is not None else Context())
        try:
            yield
        finally:
            context.detach(token)

    def carrying(self, act: Callable[..., Any]) -> Any:
        here = context.get_current()

        @functools.wraps(act)
        def there(*args: Any, **kwargs: Any) -> Any:
            with self.within(here):
                return act(*args, **kwargs)

        return there

    def carried(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _headers.inject(carrier)
        return carrier

    def read(self, headers: Mapping[str, Any]) -> Place:
        # From anybody: what is no text is nothing.
        found = {name: value for name in HEADERS if isinstance(value := headers.get(name), str)}
        where = _headers.extract(found, Context())
        return where if _identity(where).is_valid else None

    def moment(self, headers: Mapping[str, Any]) -> tuple[int, Place]:
        return time.time_ns(), self.read(headers)

    def answering(self, job_ids: Iterable[str]) -> Span:
        heard = [moment for job_id in job_ids if (moment := self.heard.get(job_id)) is not None]
        return self.span("irs.answer", "internal", None, inner=True, links=[place for _, place in heard],
                         since=max((at for at, _ in heard), default=None))


def _ids() -> Mapping[str, str]:
    """For a line of the log: the trace in which it was written."""
    here = _identity(context.get_current())
    return {"trace_id": trace.format_trace_id(here.trace_id)} if here.trace_flags.sampled else {}


def _identity(where: Place) -> trace.SpanContext:
    return trace.get_current_span(where).get_span_context()


def _present(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (attributes or {}).items() if value is not None}


def _code(exc: Exception) -> str:
    code = getattr(exc, "code", None)
    return code if isinstance(code, str) and code else type(exc).__name__
