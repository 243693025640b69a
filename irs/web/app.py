"""The application's factory."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from irs import __version__, errors, log
from irs.audit.letters import DeadLetters
from irs.audit.redrive import Work
from irs.aws.queues import Queue
from irs.settings import Settings
from irs.web import (
    access,
    answers,
    api,
    batches,
    dashboard,
    direct,
    docs,
    events,
    fleet,
    health,
    history,
    hooks,
    letters,
    limits,
    metrics,
    openapi,
    pages,
    refusals,
    rekognition,
    stats,
    targets,
    uploads,
)
from irs.web.admission import ADMITTED, REFUSAL, Admission
from irs.web.bulk import Bulk
from irs.web.cloud import Cloud
from irs.web.desk import Desk
from irs.web.dispatch import Dispatcher
from irs.web.document import Document
from irs.web.estimates import Estimates
from irs.web.metrics import Metrics
from irs.web.probe import Probe
from irs.web.services import KEY, Services, services
from irs.web.sources import Sources
from irs.web.staging import Staging
from irs.web.streams import Streams
from irs.web.thumbnails import Thumbnails
from irs.web.waiting import Drain, Gate, Waiting

#: No script, no style and no picture but our files, and pictures that a script of ours has made
#: of the user's own (blob:); nothing is fetched from elsewhere, and there is no frame around us.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
                               "style-src 'self'; img-src 'self' blob:; form-action 'self'; "
                               "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Of every answer but the page's own files, which are the same for all who ask.
_VARY = ("Accept", "Prefer")
_ANSWERS = {**_HEADERS, "Cache-Control": "no-store", "Vary": ", ".join(_VARY)}
#: Seconds; the address of a static file carries the version. One that does not is asked for again
#: each time (304 as a rule): scripts import each other by their names.
_STATIC_AGE = 86_400

_log = log.get("web")


def create_app(settings: Settings, *, depth: Callable[[], int] | None = None,
               ready: Callable[[], None] | None = None, look: Callable[[], stats.Sight] | None = None,
               clock: Callable[[], float] = time.monotonic, dead: DeadLetters | None = None,
               work: Work | None = None, **ports: Any) -> Flask:
    """The WSGI application. Nothing is asked of the cloud before the first request.

    The ports default to the real ones for ``settings``. ``depth`` gives the input queue's
    visible messages, ``ready`` raises `errors.CloudError` while the cloud cannot be used,
    ``look`` gives what ``/v1/stats`` tells of queue and fleet, ``clock`` gives seconds for waits
    and estimates; ``dead`` and ``work`` are the queues of a redrive; ``ports`` are those of
    `irs.web.cloud.Cloud`, by their names.
    """
    app = Flask("irs.web")
    app.config.update(MAX_CONTENT_LENGTH=limits.request_limit(settings), PROPAGATE_EXCEPTIONS=False)
    app.get_send_file_max_age = _static_age
    # No view is a coroutine, for which Flask would look five times a request.
    app.ensure_sync = lambda function: function
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["version"] = __version__
    cloud = Cloud(settings, **ports)
    app.extensions[KEY] = _services(
        app, settings, clock=clock, cloud=cloud, desk=Desk(settings, cloud, dead=dead, work=work),
        depth=depth or functools.partial(_depth, settings),
        ready=ready or functools.partial(health.look, settings),
        look=look or functools.partial(stats.look, settings, lambda: cloud.records))
    for module in (uploads, api, events, batches, direct, hooks, rekognition, stats, history, targets,
                   letters, pages, dashboard, health, metrics, openapi, docs):
        app.register_blueprint(module.blueprint)
    app.after_request(_finish)
    app.before_request(access.begin)
    app.before_request(_admit)
    app.teardown_request(access.leave)
    for kind, handler in ((errors.Refused, _known), (errors.Overloaded, _known),
                          (errors.CloudError, _cloud), (HTTPException, _http), (OSError, _disk),
                          (Exception, _bug)):
        app.register_error_handler(kind, handler)
    return app


def _services(app: Flask, settings: Settings, *, clock: Callable[[], float], cloud: Cloud,
              desk: Desk, depth: Callable[[], int], ready: Callable[[], None],
              look: Callable[[], stats.Sight]) -> Services:
    drain = Drain(clock)
    estimates = Estimates(
        depth, clock, fleet=functools.partial(fleet.look, settings, lambda: cloud.records),
        fresh=health.FRESH, patience=health.PATIENCE)
    gate = Gate(settings.max_waiting, drain, functools.partial(
        estimates.retry_after, waiting=settings.max_waiting))
    sources = Sources(settings, cloud.source)
    bulk = Bulk(settings, cloud, estimates, sources)
    estimates.elsewhere = lambda: bulk.rate_elsewhere
    streams = Streams(cloud, clock)
    counters = Metrics(waiting=lambda: gate.inside, streams=lambda: streams.count,
                       heard=lambda: cloud.heard, upkeep=lambda: cloud.counts,
                       bulk=lambda: bulk.counts, callbacks=lambda: cloud.calls)
    waiting = Waiting(cloud, drain, clock, missed=counters.missed.inc)
    return Services(
        settings=settings, admission=Admission(settings, gate, estimates, clock), bulk=bulk,
        cloud=cloud, desk=desk, document=Document(app=app, settings=settings), drain=drain,
        estimates=estimates, gate=gate, history=history.Shelf(settings, lambda: cloud.records),
        metrics=counters, waiting=waiting,
        dispatcher=Dispatcher(settings, cloud, waiting, estimates, counters),
        ready=Probe(ready, fresh=health.FRESH, patience=health.PATIENCE),
        sights=Probe(look, fresh=stats.FRESH, patience=health.PATIENCE),
        sources=sources, staging=Staging(settings, cloud), streams=streams,
        targets=Probe(functools.partial(targets.look, settings, lambda: cloud.records),
                      fresh=targets.FRESH, patience=targets.PATIENCE),
        thumbnails=Thumbnails(settings))


def _depth(settings: Settings) -> int:
    return Queue(settings, settings.input_queue).depth().visible


def _static_age(name: str | None) -> int:
    return _STATIC_AGE if "v" in request.args else 0


def _finish(response: Response) -> Response:
    rule = request.url_rule.rule if request.url_rule else None
    services().metrics.request(rule, request.method, response.status_code)
    static = request.endpoint == "static"
    # All at once: asked for each, werkzeug looks through all that are there, several times.
    given = {name.lower() for name, _ in response.headers}
    response.headers.extend([(name, value) for name, value in (_HEADERS if static else _ANSWERS).items()
                             if name.lower() not in given])
    if "vary" in given and not static:
        response.vary.update(_VARY)
    return access.finish(response)


def _admit() -> None:
    """What the server has not asked, this asks; and what it was told, this says."""
    if (refusal := request.environ.get(REFUSAL)) is not None:
        raise refusal
    if not request.environ.get(ADMITTED):
        services().admission.check(request.method, request.path,
                                   lambda name: request.headers.get(name, ""))


# -- errors ------------------------------------------------------------------------------
def _known(exc: errors.IRSError) -> Response:
    if isinstance(exc, errors.Overloaded):
        services().metrics.overloads.inc()
    return answers.error(exc)


def _cloud(exc: errors.CloudError) -> Response:
    # The reason names buckets and queues: for the log, not for the client.
    _log.warning("web.unavailable", why=str(exc), code=exc.code)
    more = api.named(request.view_args)
    response = answers.error(
        errors.Unreachable("the service cannot reach its storage, try again"), more)
    response.headers["Retry-After"] = str(services().estimates.retry_after())
    if more:
        response.headers["Location"] = more["location"]
    return response


def _http(exc: HTTPException) -> Response | HTTPException:
    code = exc.code or 500
    if code < 400 or exc.response is not None:
        return exc
    why = refusals.of_status(code)
    if code == 405:
        why.args = (f"{request.method} is not allowed here",)
    response = answers.error(why)
    for name, value in exc.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value  # Allow, WWW-Authenticate, …
    return response


def _disk(exc: OSError) -> Response:
    """A request that was taken and found no room for its files."""
    if not refusals.is_no_room(exc):
        return _bug(exc)
    _log.warning("web.disk_full", why=str(exc))
    return _known(refusals.no_room())


def _bug(exc: Exception) -> Response:
    _log.error("web.bug", path=str(request.url_rule), exc_info=exc)
    why = refusals.of_status(500)
    why.args = ("something went wrong inside the service",)
    return answers.error(why)
