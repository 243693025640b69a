"""Callbacks in memory: the records, a receiver that answers as a test says, and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from irs.callbacks.calling import Caller
from irs.callbacks.records import OPEN, OVER, Records
from irs.callbacks.turns import Limits, Turns
from irs.callbacks.upkeep import Callbacks
from irs.domain import keys
from irs.domain.callbacks import IMAGE, Answer, Record
from irs.testing import FakeClock, FaultPlan, MemoryObjects

URL = "https://hooks.example.com/secret?token=secret"
SECRET = b"k" * 24


class World:
    """Any number of processes (`process`) on one bucket."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.faults = FaultPlan()
        self.objects = MemoryObjects()
        #: id to payload, for those that have one
        self.payloads: dict[str, bytes] = {}
        #: (url, body, headers) of each POST
        self.posts: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.answer: Callable[[], Answer] = lambda: Answer(status=200)

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.posts.append((url, body, headers))
        return self.answer()

    def caller(self, store: Any = None) -> Caller:
        return Caller(Records(store or self.objects), {IMAGE: self.payloads.get}, self.post, [SECRET],
                      now=self.clock.now, luck=lambda: 0.5)

    def process(self, **limits: Any) -> Process:
        return Process(self, Turns(Limits(**limits), clock=self.seconds))

    def stored(self, record_id: str, folder: str = OPEN) -> Record | None:
        found = self.objects.stored.get(f"{folder}{record_id}.json")
        return found and Record.from_json(found.data)

    def over(self, record_id: str) -> Record | None:
        assert self.stored(record_id) is None
        return self.stored(record_id, OVER)


class Process(Callbacks):
    """One web process's callbacks, whose threads are the test's own."""

    def __init__(self, world: World, turns: Turns) -> None:
        self.store = world.faults.wrap(world.objects)
        self.caller = world.caller(self.store)
        self.turns = turns
        super().__init__(Records(self.store), self.caller, turns=turns, now=world.clock.now)

    def job(self, url: str = URL) -> str:
        job_id = keys.new_id()
        self.begin(job_id, url)
        return job_id

    def call(self) -> int:
        """Attempt what is due; how many."""
        number = 0
        while (held := self.turns.due()) is not None:
            self.turn(held)
            number += 1
        return number
