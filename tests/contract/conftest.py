"""One suite a port: against the shipped fake, the embedded cloud and a moto server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from irs.aws import clients, provision
from irs.aws.fleet import Fleet
from irs.aws.foreign import Foreign
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.settings import Settings
from irs.testing import FakeClock, MemoryFleet, MemoryForeign, MemoryObjects, MemoryQueue

#: Seconds that a real endpoint gets to come round; far above what it takes.
PATIENCE = 20.0


class Memory:
    """Ports in memory, on a clock that stands still."""

    kind = "memory"

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._fleets: dict[str, MemoryFleet] = {}
        self._numbers = itertools.count(1)

    def queue(self, *, visibility: int = 30, dead: Any = None, receives: int = 3) -> Any:
        return MemoryQueue(f"q-{next(self._numbers)}", clock=self.clock, visibility_timeout=visibility,
                           dead=dead, max_receive_count=receives)

    def objects(self) -> Any:
        return MemoryObjects(clock=self.clock)

    def foreign(self) -> tuple[Any, Callable[[str, bytes], Any]]:
        """A bucket of others, and what fills it."""
        objects = self.objects()
        return MemoryForeign(objects), objects.put

    def fleet(self, cluster: str = "") -> Any:
        return self._fleets.setdefault(cluster, MemoryFleet(clock=self.clock))

    def eventually(self, look: Callable[[], Any]) -> Any:
        """The first true answer of ``look``, as time passes."""
        for _ in range(int(PATIENCE)):
            if found := look():
                return found
            self.clock.advance(1)
        raise AssertionError("it never came true")


class Endpoint:
    """Ports on something that speaks AWS."""

    def __init__(self, cloud: Any, kind: str) -> None:
        self.kind = kind
        self._cloud = cloud
        self._settings: Settings = cloud.fresh()
        self._numbers = itertools.count(1)

    def queue(self, *, visibility: int = 30, dead: Any = None, receives: int = 3) -> Any:
        queue = Queue(self._settings, f"{self._settings.input_queue}-{next(self._numbers)}")
        queue.create({"VisibilityTimeout": str(visibility)})
        if dead is not None:
            queue.redrive_to(dead, receives)
        return queue

    def objects(self) -> Any:
        provision.ensure(self._settings)
        return Objects(self._settings, self._settings.input_bucket)

    def foreign(self) -> tuple[Any, Callable[[str, bytes], Any]]:
        """A bucket of others, and what fills it."""
        provision.ensure(self._settings)
        name = self._settings.input_bucket
        fill = clients.client(self._settings, "s3").put_object
        return Foreign(self._settings, name), lambda key, data: fill(Bucket=name, Key=key, Body=data)

    def fleet(self, cluster: str = "") -> Any:
        name = f"{self._settings.cluster}{cluster}"
        return Fleet(self._settings.model_copy(update={"cluster": name}))

    def eventually(self, look: Callable[[], Any]) -> Any:
        """The first true answer of ``look``."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError("it never came true")


@pytest.fixture(params=["memory", "embedded", "moto"])
def world(request: pytest.FixtureRequest) -> Any:
    """Where this test's ports are."""
    if request.param == "memory":
        return Memory()
    name = {"embedded": "cloud", "moto": "moto_cloud"}[request.param]
    return Endpoint(request.getfixturevalue(name), request.param)
