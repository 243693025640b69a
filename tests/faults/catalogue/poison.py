"""Images that nobody can classify, and images that kill who tries."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import keys
from irs.domain.jobs import Result, Status
from irs.results.store import ResultStore
from irs.testing.proxy import Hang, Injection, Rule
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.catalogue.messages import task
from tests.faults.harness import poisons
from tests.faults.harness.stack import Stack
from tests.processes import Answer, until

#: Seconds for a file of several images, or for one that waits for its worker.
PATIENCE = 60.0
#: How a poison may end. Nothing else is a name for what is wrong with it.
NAMED = frozenset({"undecodable", "unsupported_format", "too_large", "no_file"})


@dataclass(frozen=True, kw_only=True, eq=False)
class PoisonImages(Fault):
    """Each poison in a request of its own, then all of them in one, good ones between them."""

    number: int = 18

    def inject(self, stack: Stack) -> Active:
        return _Uploads(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Uploads)
        return active.broken


class _Uploads:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.broken: list[str] = []
        self.fired = 0

    def begin(self) -> Self:
        every = poisons.all_of_them()
        for poison in every:
            (found,) = self._post((f"alone-{poison.name}", poison.data)).json["results"]
            self._judge(poison, found)
        good = poisons.good()
        files = [file for number, poison in enumerate(every)
                 for file in ((poison.name, poison.data), (f"good-{number}.jpg", good))]
        answers = self._post(*files).json["results"]
        for poison, found in zip(every, answers[::2], strict=True):
            self._judge(poison, found)
        self.broken += [f"P5: a good image between poisons is {found}"
                        for found in answers[1::2] if found["status"] != "done"]
        return self

    def _post(self, *files: tuple[str, bytes]) -> Answer:
        return self._stack.webs[0].upload(*files, Accept="application/json")

    def _judge(self, poison: poisons.Poison, found: dict[str, Any]) -> None:
        self.fired += 1
        code = found.get("error", {}).get("code")
        if not (code in NAMED or (poison.harmless and found["status"] == "done")):
            self.broken.append(f"P5: {poison.name} ended as {found}")

    def clear(self) -> None:
        """What was uploaded has ended: the answers are here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPoison(Fault):
    """The poisons straight into bucket and queue: no web tier has looked at them."""

    number: int = 18

    def inject(self, stack: Stack) -> Active:
        return _Stored(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Stored)
        return active.judge()


class _Stored:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._jobs: dict[str, poisons.Poison] = {}

    @property
    def fired(self) -> int:
        return len(self._jobs)

    def begin(self) -> Self:
        settings = self._stack.settings
        inputs, queue = Objects(settings, settings.input_bucket), Queue(settings, settings.input_queue)
        for poison in poisons.all_of_them():
            job = keys.new_id()
            key = keys.input_key(job, poison.name)
            inputs.put(key, poison.data)
            queue.send(task(args=[job, key], id=job))
            self._jobs[job] = poison
        return self

    def clear(self) -> None:
        """Until each has its end."""
        store = ResultStore(self._stack.settings)
        for job in self._jobs:
            until(lambda job=job: store.read(job), PATIENCE, f"an end of {self._jobs[job].name}")

    def judge(self) -> list[str]:
        store = ResultStore(self._stack.settings)
        found = [(poison, store.read(job)) for job, poison in self._jobs.items()]
        return [f"P5: {poison.name} ended as {result}" for poison, result in found
                if not _fits(poison, result)]


def _fits(poison: poisons.Poison, result: Result | None) -> bool:
    if result is None:
        return False
    if result.status is Status.DONE:
        return poison.harmless
    return result.error is not None and result.error.code in NAMED


# -- an image that kills its worker -------------------------------------------------------------
@dataclass(frozen=True, kw_only=True, eq=False)
class KillingImage(Fault):
    """Each worker that opens one certain image is killed, and another one is started.

    Nine good images were sent with it, in one batch: they are received together, again and
    again, and must not share its fate.
    """

    number: int = 18
    settings: Any = field(default_factory=lambda: {"visibility_timeout": 10})

    def inject(self, stack: Stack) -> Active:
        return _Killer(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Killer)
        return active.judge()


class _Killer:
    """Stands for a decoder's crash: SIGKILL as soon as the worker has asked for the image."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._job = keys.new_id()
        self._mates = [keys.new_id() for _ in range(9)]
        self._opened: Injection | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self.fired = 0

    def begin(self) -> Self:
        settings = self._stack.settings
        inputs, bodies = Objects(settings, settings.input_bucket), []
        for job in (*self._mates[:4], self._job, *self._mates[4:]):
            key = keys.input_key(job, "killer.jpg")
            inputs.put(key, poisons.good())
            bodies.append((task(args=[job, key], id=job), 0))
        self._opened = self._stack.proxy("worker").add(Rule(
            service="s3", operations={"GetObject"}, target=f"{settings.input_bucket}/{self._job}",
            action=Hang()))
        outcomes = Queue(settings, settings.input_queue).send_batch(bodies)
        assert not any(outcomes), outcomes
        self._thread.start()
        return self

    def _run(self) -> None:
        assert self._opened is not None
        while not self._over.is_set():
            if self._opened.fired > self.fired:
                self._stack.end(self._stack.workers[0], signal.SIGKILL)
                self.fired = self._opened.fired
                self._stack.start_worker()
            self._over.wait(0.01)

    def clear(self) -> None:
        """Until it has an end, by which nobody is to receive it again."""
        store = ResultStore(self._stack.settings)
        try:
            until(lambda: store.read(self._job), 150.0, "an end of the image that kills")
        finally:
            self._over.set()
            self._thread.join(PATIENCE)

    def judge(self) -> list[str]:
        store = ResultStore(self._stack.settings)
        result = store.read(self._job)
        named = result is not None and result.error is not None and result.error.code in (
            "dead_letter", "gave_up")
        broken = [] if named else [f"P5: the image that kills ended as {result}"]
        for job in self._mates:
            mate = until(lambda job=job: store.read(job), PATIENCE, "an end of a batch mate")
            if mate.status is not Status.DONE:
                broken.append(f"P5: a batch mate of the image that kills ended as {mate.error}")
        return broken


FAULTS: tuple[Fault, ...] = (
    PoisonImages(name="poison-uploaded", seconds=2.0, pairs=False, settings={"client_wait": 60}),
    StoredPoison(name="poison-stored", seconds=2.0, least=19, pairs=False),
    KillingImage(name="image-that-kills", seconds=20.0, least=3, images=40, pairs=False),
)
