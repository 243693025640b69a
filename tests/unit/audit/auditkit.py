"""A service's buckets and queues in memory, and messages as the web tier sends them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from irs.audit.letters import Letter
from irs.audit.pending import Keeper
from irs.domain import keys
from irs.domain.jobs import Failure, Job, Prediction, Result, Status, stamp
from irs.domain.tasks import CLASSIFY
from irs.testing import FakeClock, FaultPlan, MemoryObjects, MemoryQueue, MemoryResults

#: What no task can be read from.
FOREIGN = ("hello", "{}", json.dumps({"body": "[]", "properties": {}, "headers": {}}),
           json.dumps({"body": "[[], {}, {}]", "properties": {}, "headers": {"task": "no.such.task"}}),
           json.dumps({"body": "[[1], {}, {}]", "properties": {}, "headers": {"task": CLASSIFY}}))


def job(name: str = "cat.png") -> Job:
    job_id = keys.new_id()
    return Job(id=job_id, image=name, key=keys.input_key(job_id, name), received=datetime.now(UTC))


def message(of: Job, reply_to: str = "") -> str:
    """The job's message."""
    return json.dumps({
        "body": json.dumps([[of.id, of.key], {"name": of.image, "received": stamp(of.received)}, {}]),
        "headers": {"task": CLASSIFY, "id": of.id}, "properties": {"reply_to": reply_to}})


def done(of: Job) -> Result:
    return Result(id=of.id, image=of.image, status=Status.DONE,
                  predictions=(Prediction(label="tench", index=0, confidence=0.9),))


def failed(of: Job, code: str = "dead_letter") -> Result:
    return Result(id=of.id, image=of.image, status=Status.FAILED, error=Failure(code=code, message="no"))


class World:
    """Everything that the audit looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.faults = FaultPlan()
        self.inputs = MemoryObjects("in", clock=self.clock)
        self.outputs = MemoryObjects("out", clock=self.clock)
        self.results = MemoryResults()
        self.work = MemoryQueue("work", clock=self.clock)
        self.dead = MemoryQueue("dead", clock=self.clock, visibility_timeout=30)
        self.told: list[tuple[str, object]] = []

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    def announce(self, result: Result, reply_to: object) -> None:
        self.told.append((result.id, reply_to))

    def upload(self, of: Job) -> Job:
        self.inputs.put(of.key, b"image", metadata={"name": of.image})
        return of

    def send(self, of: Job) -> None:
        self.work.send(message(of, "again"))

    @property
    def keeper(self) -> Keeper:
        return Keeper(inputs=self.inputs, results=self.results, announce=self.announce,
                      send=self.faults.wrap(self).send)


def ids(letters: list[Letter]) -> list[Any]:
    return [letter.job and letter.job.id for letter in letters]
