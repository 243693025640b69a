"""One request, as its line in the log and its span tell of it.

``web.answered`` is written for each request, whatever became of it; of those that machines
ask for every few seconds at debug level. What a request is about is an id: never its path,
its query, or the name of a file, which are its sender's own words.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from flask import Response, has_request_context, request

from irs import log, tracing
from irs.domain import keys
from irs.tracing import Span
from irs.web.metrics import METHODS
from irs.web.services import services

#: Where a request has its own; Flask's ``g`` may be two requests', one within the other.
_KEY = "irs.access"
#: Routes of machines that look whether we live and how we are (the dashboard is one), and of
#: the page's own files.
QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/v1/targets", "/v1/stats", "/v1/stats/history",
                   "/static/<path:filename>"})
#: What the rules call the id that they have in them.
_IDS = {"text": "id", "batch": "batch"}

_log = log.get("web")


class Access:
    """What there is to tell of one request."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.rule = request.url_rule.rule if request.url_rule else None
        self.method = request.method if request.method in METHODS else "_OTHER"
        #: jobs, and what became of each within this request
        self.jobs: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.span: Span = tracing.NOWHERE
        self.last: Span = tracing.NOWHERE
        #: for as long as its thread works on it
        self.stack = ExitStack()
        for argument, field in _IDS.items():
            try:
                self.fields[field] = keys.parse_id((request.view_args or {}).get(argument))
            except ValueError:
                continue
        if self.fields:
            self.stack.enter_context(log.about(**self.fields))
        if tracing.on() and self.rule not in QUIET:
            self._trace()

    def _trace(self) -> None:
        about = self.fields.get("id"), self.fields.get("batch")
        self.span = tracing.span(
            f"{self.method} {self.rule}" if self.rule else self.method, "server",
            {"http.request.method": self.method, "http.route": self.rule, "url.scheme": request.scheme,
             "irs.job.id": about[0], "irs.batch.id": about[1]},
            at=tracing.read({name: request.headers.get(name) for name in tracing.HEADERS}),
            links=[tracing.recall(one) for one in about if one])
        self.stack.enter_context(self.span.current())

    def line(self, status: int, key: str) -> None:
        """Write it; ``key`` is the name of the API key that the request had, if any."""
        say = _log.debug if self.rule in QUIET else _log.info
        ids = dict(self.fields)
        more: dict[str, Any] = {"key": key} if key else {}
        if len(self.jobs) == 1:
            ids = {"id": next(iter(self.jobs))}
        elif self.jobs:
            # One line for all of them could be thirty pages long.
            more["jobs"] = len(self.jobs)
            for job_id, outcome in self.jobs.items():
                _log.info("job.answered", id=job_id, outcome=outcome)
        say("web.answered", route=self.rule, method=self.method, status=status,
            seconds=round(time.perf_counter() - self.began, 3), **ids, **more)

    def end(self) -> None:
        """The answer has gone out."""
        self.last.end()
        self.span.end()


def begin() -> None:
    """Before the request is looked at."""
    request.environ[_KEY] = access = Access()
    access.stack.enter_context(services().metrics.running.track_inprogress())


def _mine() -> Access:
    mine: Access = request.environ[_KEY]
    return mine


def about(job_id: str | None, outcome: str) -> None:
    """The request under way is about a job, of which it says ``outcome``; elsewhere nothing."""
    if job_id is not None and has_request_context():
        _mine().jobs[job_id] = outcome


def about_batch(batch_id: str) -> None:
    """The request under way is about a batch."""
    access = _mine()
    access.fields["batch"] = batch_id
    access.span.set({"irs.batch.id": batch_id})


def answering(job_ids: Iterable[str]) -> None:
    """Results were waited for and are there: all that is left is to tell."""
    if tracing.on() and has_request_context():
        access = _mine()
        access.last.end()
        access.last = tracing.answering(job_ids)


def finish(response: Response) -> Response:
    """The answer is made."""
    access = _mine()
    access.line(response.status_code, services().admission.client(
        lambda name: request.headers.get(name, "")))
    if tracing.on():
        access.span.set({"http.response.status_code": response.status_code})
        if len(access.jobs) == 1:
            access.span.set({"irs.job.id": next(iter(access.jobs))})
        if response.status_code >= 500:
            access.span.fail(str(response.status_code))
        if access.span.recorded:
            response.headers["traceresponse"] = access.span.traceparent
    response.call_on_close(access.end)
    return response


def leave(_exc: BaseException | None = None) -> None:
    """The thread goes on to another request."""
    _mine().stack.close()
