"""Sending spans, whatever the receiver does: one line of log when it fails, and the service goes on."""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from irs import log

#: Seconds between two lines about a receiver that goes on failing.
SAY_AGAIN = 600.0
#: Characters of the reason.
_LONGEST = 200

_log = log.get("tracing")


class _First(logging.Handler):
    """Keeps what OpenTelemetry first complained of, in place of a line for each complaint."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        # What comes after it says no more than that there were other tries.
        self.said = self.said or record.getMessage()


class Exporter(SpanExporter):
    """OTLP over HTTP to ``url``; an address without a path gets OTLP's own."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urllib.parse.urlsplit(url)
        path = parts.path.strip("/") or "v1/traces"
        self._to = OTLPSpanExporter(endpoint=f"{parts.scheme}://{parts.netloc}/{path}")
        self._host = parts.netloc
        self._clock = clock
        self._lost = 0
        self._told = float("-inf")
        self._failing = False
        self._given_up = False
        self._complaints = _First()
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers[:] = [self._complaints]
        theirs.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """OpenTelemetry's, in its own thread."""
        self._complaints.said = ""
        try:
            result = self._to.export(spans)
        except Exception as exc:  # a defect there must not end the thread that sends
            self._complaints.said = repr(exc)
            result = SpanExportResult.FAILURE
        if not self._given_up:
            self._tell(result is SpanExportResult.SUCCESS, len(spans))
        return result

    def _tell(self, well: bool, spans: int) -> None:
        if well:
            if self._failing:
                _log.info("tracing.export_recovered", to=self._host, lost=self._lost)
            self._failing, self._lost = False, 0
            return
        self._lost += spans
        self._failing = True
        if self._clock() - self._told >= SAY_AGAIN:
            self._told = self._clock()
            _log.warning("tracing.export_failed", to=self._host, lost=self._lost,
                         why=self._complaints.said[:_LONGEST])

    def give_up(self) -> None:
        """Say nothing more, and end a pause between two tries."""
        if not self._given_up:
            self._given_up = True
            self._to.shutdown()

    def shutdown(self) -> None:
        """OpenTelemetry's."""
        self.give_up()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return True
