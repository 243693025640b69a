"""Structured logs: one event a line, stable event names, keyword fields.

``log = irs.log.get("web")`` then ``log.info("job.accepted", id=…)``. Event names and
fields are part of the service's interface: alarms may rely on them, and docs/logs.md has
all of them. What is about a job carries its ``id``. No user's file name or S3 key above
debug level.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

# structlog imports all of rich, a tenth of a worker's start, for tracebacks of a kind that is
# not used here.
_rich = sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog

if _rich is None:
    del sys.modules["rich"]


#: Gives fields for every line; None: there are no more.
_more: Callable[[], Mapping[str, str]] | None = None


def configure(level: str = "INFO", fmt: str = "pretty") -> None:
    """Send the standard library's logs and ours through one formatter to stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_more,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A cached logger would keep the settings of its first line for ever; that costs 2 us a line.
        cache_logger_on_first_use=False,
    )
    # Fields of the library's own records that no line of ours has; two records are made a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined] - as its documentation has it
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(fmt, shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Python's own warnings are lines like any other.
    logging.captureWarnings(True)
    _quieten(level)


def _formatter(fmt: str, shared: list[Any]) -> logging.Formatter:
    # Without local variables: they hold file names, keys, images and credentials.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    tail: list[Any] = (
        [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
        if fmt == "json"
        else [_tame, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0,
                                                   exception_formatter=_indented)]
    )
    return _Formatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """structlog's, which makes a second record of each line: a fifth of what ours take."""

    def format(self, record: logging.LogRecord) -> str:
        if not hasattr(record, "_logger"):
            return super().format(record)  # a library's
        line: Any = dict(record.msg)  # type: ignore[call-overload] - ours, as `wrap_for_formatter` has it
        for process in self.processors[1:]:  # the first takes off what is not put on here
            line = process(None, "", line)
        return str(line)


def _quieten(level: str) -> None:
    # Their INFO lines are one a request or one a retry; ours say the same with an id.
    # Celery's name the user's file besides.
    for noisy in ("botocore", "boto3", "urllib3", "PIL", "waitress", "waitress.queue",
                  "celery.worker.strategy", "kombu.transport.SQS.SNS"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # Its warnings are rejected tasks with a traceback; `job.postponed` said why in a line.
    logging.getLogger("celery.app.trace").setLevel(max(logging.ERROR, logging.getLevelName(level)))


def get(name: str) -> Any:
    """A logger named ``irs.<name>``."""
    return structlog.stdlib.get_logger(f"irs.{name}")


def about(**fields: str) -> AbstractContextManager[None]:
    """Every line that this thread writes within it carries the fields, libraries' lines as well."""
    return structlog.contextvars.bound_contextvars(**fields)


def more(fields: Callable[[], Mapping[str, str]] | None) -> None:
    """What ``fields()`` gives goes into every line from now on."""
    global _more  # noqa: PLW0603 - one log a process
    _more = fields


def _with_more(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    return line if _more is None else {**_more(), **line}


# -- nobody's words make a line of their own ------------------------------------------------
# In JSON every value is escaped. Here a header, a file's name or an exception of somebody
# else's would be written as it is, ends of lines and terminal commands included.

class _Told:
    """A value as it is written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _tame(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    for name, value in line.items():
        if isinstance(value, str):
            if not value.isprintable():
                line[name] = (_printable(value) if name == "event" else
                              _lines(value) if name == "stack" else _Told(repr(value)))
        elif not isinstance(value, (int, float, tuple, type(None))):
            told = repr(value)
            if not told.isprintable():
                line[name] = _Told(_printable(told))
    return line


def _printable(text: str) -> str:
    """What does not print, and what turns the direction of writing, is written as its number."""
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _lines(text: str) -> str:
    """Several lines, each set in: none of them can pass for an event."""
    return "\n".join(f"    {_printable(line)}" for line in text.split("\n"))


def _indented(out: TextIO, exc_info: Any) -> None:
    out.write("\n" + _lines("".join(traceback.format_exception(*exc_info)).rstrip("\n")))
