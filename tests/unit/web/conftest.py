"""The web tier on fakes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request

from irs import settings as settings_module
from irs.domain.jobs import Job, Result
from irs.testing import MemoryListener, MemoryObjects, MemoryResults
from irs.web.app import create_app
from irs.web.stats import Sight
from tests.conformity import Conformity
from tests.unit.web.webkit import Service


@pytest.fixture
def make() -> Iterator[Callable[..., Service]]:
    """Builds a service; keyword arguments are settings, or ports by `create_app`'s names.

    Every answer that a test gets of it has to be one that its OpenAPI document tells of.
    """
    made, faults = [], []

    def build(**overrides: Any) -> Service:
        ports = {name: overrides.pop(name)
                 for name in ("clock", "sources", "sign", "callbacks", "dead", "work") if name in overrides}
        # One picture serves most tests, and each is to get as far as the worker.
        settings = settings_module.build({"client_wait": 5.0, "reuse": "off", **overrides})
        objects, results = MemoryObjects(), MemoryResults()

        def told(result: Result) -> None:
            app.extensions["irs"].cloud.done(result)

        listener = MemoryListener(told=told)
        records = overrides.pop("records", None) or MemoryObjects("out")

        def send(job: Job, *, reply_to: str) -> None:
            service.send(job, reply_to=reply_to)

        def announce(result: Result, reply_to: object) -> None:
            if service.announcing and reply_to == listener.address:
                listener.announce(result)

        def depth() -> int:
            if isinstance(service.depth, Exception):
                raise service.depth
            return service.depth

        def ready() -> None:
            if service.unready is not None:
                raise service.unready

        def look() -> Sight:
            service.looks += 1
            if isinstance(service.sight, Exception):
                raise service.sight
            return service.sight

        app = create_app(settings, objects=objects, results=results, listener=listener,
                         send=send, depth=depth, ready=ready, look=look, records=records,
                         announce=announce, **ports)
        service = Service(app=app, settings=settings, objects=objects, results=results,
                          listener=listener, records=records)
        made.append(service)
        _watch(app, faults)
        return service

    yield build
    for service in made:
        service.app.extensions["irs"].cloud.close()
    assert not faults


def _watch(app: Flask, faults: list[str]) -> None:
    """Hold every answer of ``app`` against its document, after everything else has had it."""
    book = functools.cache(lambda: Conformity(app.extensions["irs"].document.tree))

    def look(response: Response) -> Response:
        if request.endpoint != "static" and request.method not in ("HEAD", "OPTIONS"):
            body = None if response.is_streamed else response.get_data()
            faults.extend(book().faults(request.method, request.path, response.status_code,
                                        response.headers, body))
        return response

    app.after_request_funcs[None].insert(0, look)


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    """A service with the default settings and a wait of 5 s."""
    return make()
