"""Batches in memory: buckets, a queue with a fleet behind it, and processes that feed."""

from __future__ import annotations

import contextlib
import functools
import io
from collections import deque
from concurrent.futures import Executor, Future
from typing import Any

from PIL import Image

from irs import errors
from irs import settings as settings_module
from irs.bulk.feeder import Feeder
from irs.bulk.ports import Ports
from irs.bulk.store import Batches
from irs.domain import bulk, images, keys
from irs.domain.bulk import CHUNK, FILES, LIST, Batch, Member
from irs.domain.jobs import Failure, Job, Prediction, Result, Status
from irs.domain.pacing import Backlog
from irs.testing import FakeClock, FaultPlan, MemoryForeign, MemoryObjects, MemoryResults
from irs.web.sources import Sources


@functools.cache
def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3)).save(out, "PNG")
    return out.getvalue()


class AtOnce(Executor):
    """A pool that does what it is given before it returns."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future


class World:
    """Everything outside the feeders; time passes in `pass_`."""

    def __init__(self, *, rate: float = 40.0, plan: FaultPlan | None = None, **settings: Any) -> None:
        self.settings = settings_module.build({"source_buckets": ("theirs",)} | settings)
        self.clock = FakeClock()
        self.plan = plan or FaultPlan()
        self.records = MemoryObjects("out", clock=self.clock)
        #: ids of batches that were said to have finished
        self.ended: list[str] = []
        self.inputs = MemoryObjects("in", clock=self.clock)
        self.theirs = MemoryObjects("theirs", clock=self.clock)
        self.results = MemoryResults()
        self.batches = Batches(self.records, self.settings.cluster)
        #: what one instance finishes in a second, and the instances
        self.rate = rate
        self.fleet = 1
        self._done = 0.0
        #: messages on the queue: when they came, the job, and whom its result is told to
        self.queue: deque[tuple[float, Job, Feeder | None]] = deque()
        #: every send of a member
        self.sends: list[str] = []
        #: names of images that cannot be decoded
        self.broken: set[str] = set()
        #: seconds that single uploads have waited
        self.waits: list[float] = []

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    # -- batches -------------------------------------------------------------------------------
    def upload(self, count: int, *refused: int) -> str:
        """A batch of files, as a web process leaves it."""
        batch_id = keys.new_id()
        members = [Member(name=f"{n}.png", error=Failure(code="too_large", message="is") if n in refused
                          else None) for n in range(count)]
        for number, member in enumerate(members):
            if member.error is None:
                self.inputs.put(keys.input_key(bulk.member_id(batch_id, number), member.name), b"image")
        return self._make(batch_id, members, FILES)

    def named(self, *addresses: str) -> str:
        """A batch of addresses."""
        return self._make(keys.new_id(), [
            Member(name=a.rpartition("/")[2], source=a) for a in addresses], LIST)

    def below(self, prefix: str) -> str:
        """A batch of all that is below an address."""
        return self._make(keys.new_id(), [], f"s3://theirs/{prefix}", listed=False)

    def _make(self, batch_id: str, members: list[Member], source: str, *, listed: bool = True) -> str:
        self.batches.tell(batch_id, Backlog(at=self.clock.now()))
        for start in range(0, len(members), CHUNK):
            self.batches.write_chunk(batch_id, start // CHUNK, members[start:start + CHUNK])
        self.batches.create(Batch(id=batch_id, created=self.clock.now(), source=source,
                                  total=len(members), listed=listed))
        return batch_id

    def batch(self, batch_id: str) -> Batch:
        found = self.batches.read(batch_id)
        assert found is not None
        return found

    # -- processes -----------------------------------------------------------------------------
    def feeder(self, holder: str = "one") -> Feeder:
        """A process that is to feed."""
        def build() -> Ports:
            return Ports(
                batches=Batches(self.plan.wrap(self.records), self.settings.cluster),
                inputs=self.plan.wrap(self.inputs), results=self.plan.wrap(self.results),
                sources=Sources(self.settings, lambda name: self.plan.wrap(MemoryForeign(self.theirs))),
                send=self.plan.wrap(_Sender(self, feeder)).send, finished=lambda result: None,
                ended=self.ended.append,
                limits=images.Limits(max_bytes=1_000_000, max_pixels=1_000_000), pool=AtOnce(),
                fetching=contextlib.nullcontext())

        feeder = Feeder(self.settings, build, clock=self.seconds, now=self.clock.now, holder=holder)
        return feeder

    def single(self) -> None:
        """A single upload comes to the queue."""
        job_id = keys.new_id()
        self.queue.append((self.seconds(), Job(id=job_id, image="single", key=f"{job_id}/s",
                                               received=self.clock.now()), None))

    def pass_(self, seconds: float, *feeders: Feeder, step: float = 0.1) -> None:
        """Time passes: the fleet works, and each feeder has its turns."""
        for _ in range(round(seconds / step)):
            for feeder in feeders:
                # A turn that fails is followed by the next, as in its thread.
                with contextlib.suppress(errors.CloudError):
                    feeder.turn()
            self._done += self.rate * self.fleet * step
            while self.queue and self._done >= 1:
                self._done -= 1
                self._finish(*self.queue.popleft())
            if not self.queue:
                self._done = min(self._done, 1.0)
            self.clock.advance(step)

    def _finish(self, came: float, job: Job, feeder: Feeder | None) -> None:
        if job.image == "single":
            self.waits.append(self.seconds() - came)
            return
        assert job.key in self.inputs.stored, "sent before it was stored"
        if job.image in self.broken:
            result = Result(id=job.id, image=job.image, status=Status.FAILED, instance="i-0",
                            error=Failure(code="undecodable", message="is"))
        else:
            result = Result(id=job.id, image=job.image, status=Status.DONE,
                            instance=f"i-{len(self.sends) % self.fleet}",
                            predictions=(Prediction(label="tench", index=0, confidence=0.9),))
        result = self.results.write(result)
        if feeder is not None:
            feeder.heard(result)


class _Sender:
    """A process's way to the queue."""

    def __init__(self, world: World, feeder: Feeder) -> None:
        self._world = world
        self._feeder = feeder

    def send(self, job: Job) -> None:
        self._world.sends.append(job.id)
        self._world.queue.append((self._world.seconds(), job, self._feeder))








