"""The web tier on fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs import settings as settings_module
from irs.domain.jobs import Job, Result
from irs.testing import MemoryListener, MemoryObjects, MemoryResults
from irs.web.app import create_app
from tests.unit.web.webkit import Service


@pytest.fixture
def make() -> Iterator[Callable[..., Service]]:
    """Builds a service; keyword arguments are settings, or ports by `create_app`'s names."""
    made = []

    def build(**overrides: Any) -> Service:
        ports = {name: overrides.pop(name) for name in ("clock",) if name in overrides}
        # One picture serves most tests, and each is to get as far as the worker.
        settings = settings_module.build({"client_wait": 5.0, "reuse": "off", **overrides})
        objects, results = MemoryObjects(), MemoryResults()

        def told(result: Result) -> None:
            app.extensions["irs"].cloud.hear(result)

        listener = MemoryListener(told=told)

        def send(job: Job, *, reply_to: str) -> None:
            service.send(job, reply_to=reply_to)

        def depth() -> int:
            if isinstance(service.depth, Exception):
                raise service.depth
            return service.depth

        def ready() -> None:
            if service.unready is not None:
                raise service.unready

        app = create_app(settings, objects=objects, results=results, listener=listener,
                         send=send, depth=depth, ready=ready, **ports)
        service = Service(app=app, settings=settings, objects=objects, results=results,
                          listener=listener)
        made.append(service)
        return service

    yield build
    for service in made:
        service.app.extensions["irs"].cloud.close()


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    """A service with the default settings and a wait of 5 s."""
    return make()
