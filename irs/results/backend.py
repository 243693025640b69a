"""Celery's result backend over the result objects in S3.

``AsyncResult(id).get()`` from any Celery program reads the same truth as the web tier. The
web tier does not come this way: its waiting threads are woken by `irs.results.listener`.
"""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.base import BaseBackend

from irs.results.store import ResultStore
from irs.settings import load


class ResultBackend(BaseBackend):
    """Reads results; they are written by the task itself (see `irs.worker.pipeline`).

    A failed job is a *successful* task whose result says ``"status": "failed"``: the
    outcome is final and known. A job without a result object is pending.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._store: ResultStore | None = None

    @property
    def results(self) -> ResultStore:
        """The store, connected at first use."""
        if self._store is None:
            self._store = ResultStore(load())
        return self._store

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        result = self.results.read(task_id)
        if result is None:
            return {"status": states.PENDING, "result": None}
        return {"status": states.SUCCESS, "result": result.as_dict(), "task_id": task_id,
                "date_done": result.times.get("finished"), "traceback": None, "children": []}

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None,
                      request: Any = None, **kwargs: Any) -> None:
        """Nothing: a task of ours has stored its result before it returns.

        Celery comes here for states in between and for tasks that raised; those leave no
        result, because their message will be received again.
        """

    def _forget(self, task_id: str) -> None:
        """Results expire by the bucket's lifecycle rule, not by a client's wish."""
