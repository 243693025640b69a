"""Celery's pool of threads, which settles every message it was given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.concurrency import thread
from celery.exceptions import Reject

from irs import log

_log = log.get("worker")


class TaskPool(thread.TaskPool):
    """Set as ``worker_pool``.

    What goes wrong outside the task itself (a body that is JSON but no argument list, no
    memory) ends in a future that nobody looks at: the message would be kept invisible and
    its place in the prefetch be lost, until a few of them make the worker deaf.
    """

    def on_apply(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``target`` in a thread."""
        return super().on_apply(functools.partial(_settled, target), *args, **kwargs)


def _settled(target: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, Any, float]:
    """``target``'s (failed, value, seconds), also when it raises: then a rejection."""
    try:
        return target(*args, **kwargs)
    except Exception as exc:
        # Celery's own tracer: the task's name, and its id, which may be anybody's.
        _log.warning("task.not_run", id=str(args[1])[:100] if len(args) > 1 else None, why=repr(exc)[:200])
        rejection = Reject(repr(exc), requeue=True)
        return 1, ExceptionInfo((Reject, rejection, exc.__traceback__)), 0.0
