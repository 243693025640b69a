"""Structured logs: one event a line, stable event names, keyword fields.

``log = irs.log.get("web")`` then ``log.info("job.accepted", id=…)``. Event names and
fields are part of the service's interface: alarms may rely on them. No user's file name
or S3 key above debug level.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

# structlog imports all of rich, a tenth of a worker's start, for tracebacks of a kind that is
# not used here.
_rich = sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog

if _rich is None:
    del sys.modules["rich"]


def configure(level: str = "INFO", fmt: str = "pretty") -> None:
    """Send the standard library's logs and ours through one formatter to stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
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
    # Without local variables: they hold file names, keys, images and credentials.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    tail: list[Any] = (
        [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
        if fmt == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0,
                                            exception_formatter=structlog.dev.plain_traceback)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Their INFO lines are one a request or one a retry; ours say the same with an id.
    # Celery's name the user's file besides.
    for noisy in ("botocore", "boto3", "urllib3", "PIL", "hypercorn", "waitress.queue",
                  "celery.worker.strategy", "kombu.transport.SQS.SNS"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # Its warnings are rejected tasks with a traceback; `job.postponed` said why in a line.
    logging.getLogger("celery.app.trace").setLevel(max(logging.ERROR, logging.getLevelName(level)))


def get(name: str) -> Any:
    """A logger named ``irs.<name>``."""
    return structlog.stdlib.get_logger(f"irs.{name}")
