"""An OTLP/HTTP receiver: keeps every span that it is sent, as OpenTelemetry's own protocol has it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.processes import until
from tests.receiver import Receiver, receiving

_KINDS = {number: name.removeprefix("SPAN_KIND_").lower()
          for name, number in trace_pb2.Span.SpanKind.items()}


@dataclass(frozen=True)
class Span:
    """One span."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    #: empty: none
    parent: str
    began: int
    ended: int
    attributes: Mapping[str, Any]
    #: (trace, span) of each
    links: tuple[tuple[str, str], ...]
    failed: bool

    def __str__(self) -> str:
        return f"{self.service} {self.name}"


class Collector:
    """What a receiver was sent."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    @property
    def url(self) -> str:
        return self.receiver.url("")

    @property
    def spans(self) -> list[Span]:
        """All so far, the earliest first."""
        found = []
        for call in list(self.receiver.calls):
            assert call.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(call.body).resource_spans:
                service = _plain(resource.resource.attributes)["service.name"]
                found += [_span(service, span) for scope in resource.scope_spans for span in scope.spans]
        return sorted(found, key=lambda span: span.began)

    def trace(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def whole(self, trace: str, *names: str) -> list[Span]:
        """The trace, once it has a span of each of these names, as often as it is named."""
        def there() -> list[Span]:
            spans = self.trace(trace)
            left = [span.name for span in spans]
            for name in names:
                if name not in left:
                    return []
                left.remove(name)
            return spans

        try:
            return until(there, 20, f"{names}")
        finally:
            print("\n".join(tree(self.trace(trace))))


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A receiver on a free port."""
    with receiving() as receiver:
        yield Collector(receiver)


def tree(spans: list[Span]) -> list[str]:
    """The spans as an indented outline, children in the order of their begin."""
    ids = {span.id for span in spans}

    def below(parent: str, depth: int) -> Iterator[str]:
        for span in spans:
            if span.parent == parent or (depth == 0 and span.parent not in ids):
                yield "  " * depth + str(span)
                yield from below(span.id, depth + 1)

    return list(below("none", 0))


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        service=service, name=span.name, kind=_KINDS[span.kind], trace=span.trace_id.hex(),
        id=span.span_id.hex(), parent=span.parent_span_id.hex(), began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_plain(span.attributes), failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links))


def _plain(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
