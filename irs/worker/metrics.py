"""What a worker is busy with: its images by stage, its batches, its processor time by thread."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from irs import metrics as shared
from irs.aws import calls
from irs.broker import receiver
from irs.domain.jobs import ModelInfo, Status
from irs.metrics import Read, known
from irs.worker.meter import Meter

#: Seconds: a small GET, a decode, a batch in the engine, a slow S3.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
#: The same of a message in the queue: at once, a batch ahead, a boot ahead, a fleet too small.
WAITS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
#: What labels may say.
STAGES, REASONS = ("fetch", "decode", "infer", "store"), ("cloud", "fault", "alone")
STATUSES = tuple(str(status) for status in Status if status.final)
#: What a thread does, by what its name begins with. Task threads fetch and store; what is in
#: no list of Python's is native: obstore's and the engine's own.
WORK = (
    ("MainThread", "loop"), ("ThreadPoolExecutor", "task"), ("receive-", "receive"), ("decode", "decode"),
    ("irs-engine", "infer"), ("announcer", "announce"), ("broker-settler", "delete"),
    ("heartbeat-", "heartbeat"), ("report", "report"),
)
NATIVE = "native"
#: Linux's own account of each thread, in nanoseconds; other systems have none.
_TASKS = Path("/proc/self/task")


class Batches(Protocol):
    """Of `irs.worker.models.Models`, what is shown."""

    @property
    def depth(self) -> int: ...
    @property
    def failures(self) -> int: ...


class Announces(Protocol):
    """The same of `irs.results.announce.Announcer`."""

    lost: int


class Metrics:
    """One worker's; thread-safe."""

    def __init__(self, meter: Meter, heard: Callable[[], float | None] = receiver.last_success) -> None:
        """``heard`` gives the `time.monotonic` of the last answered receive."""
        #: where they are served, host:port; None: nowhere so far
        self.address: str | None = None
        self.registry = registry = shared.registry()
        registry.register(Processor())
        registry.register(Read(lambda: shared.cloud_calls(calls.TALLY.read(), calls.BOUNDS)))
        registry.register(Read(lambda: _answered(heard())))
        self._waits = Histogram(
            "irs_worker_queue_wait_seconds", "Of a message, from its sending to its first receive.",
            buckets=WAITS, registry=registry)
        self._redelivered = Counter(
            "irs_worker_redelivered_messages_total", "Messages that had been received before.",
            registry=registry)
        self._stages = Histogram(
            "irs_worker_stage_seconds", "Of an image, by stage; waiting for its turn is in it.", ["stage"],
            buckets=BUCKETS, registry=registry)
        self._images = Counter("irs_worker_images_total", "Images with a result of this worker's.",
                               ["status"], registry=registry)
        #: tries that came to nothing and are repeated
        self.retries = Counter(
            "irs_worker_retries_total", "Tries of an image that came to nothing and are repeated: for a "
            "fault of the cloud, for one of its own, because it ended a worker while it ran alone.",
            ["reason"], registry=registry)
        #: images that run alone
        self.suspects = Counter("irs_worker_suspects_total", "Images that ran alone, as their worker had "
                                "ended too often.", registry=registry)
        self._batches = Histogram("irs_worker_batch_images", "Images in a call of the engine.",
                                  buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=registry)
        self._engine = Counter("irs_worker_engine_seconds_total", "In calls of the engine.",
                               registry=registry)
        Gauge("irs_worker_running_images", "Images under way.",
              registry=registry).set_function(lambda: meter.running)
        for family, values in ((self._stages, STAGES), (self._images, STATUSES), (self.retries, REASONS)):
            for value in values:  # a rate needs all of them from the start
                family.labels(value)
        #: looked up once: there are four of them an image
        self._stage_seconds = {stage: self._stages.labels(stage) for stage in STAGES}

    def tell(self, models: Sequence[ModelInfo], *, engines: Batches, announcer: Announces) -> None:
        """Show these as well; once."""
        info = Gauge("irs_worker_model_info", "Always 1; the model is in the labels, one on trial as well.",
                     ["model", "version", "engine", "canary"], registry=self.registry)
        for model in models:
            info.labels(model.name, model.version, model.engine, str(model.canary).lower()).set(1)
        Gauge("irs_worker_waiting_images", "Images that are decoded and wait for the engine.",
              registry=self.registry).set_function(lambda: engines.depth)

        def read() -> Iterator[Metric]:
            yield CounterMetricFamily("irs_worker_engine_failures", "Calls of the engine that failed.",
                                      value=engines.failures)
            yield CounterMetricFamily("irs_worker_lost_announcements", "Announcements that SQS did not "
                                      "take; their results are stored.", value=announcer.lost)

        self.registry.register(Read(read))

    def taken(self, receives: int, waited: float | None) -> None:
        """A message is here, ``waited`` seconds after its sending; None: nobody knows."""
        if receives > 1:
            self._redelivered.inc()
        elif waited is not None:
            self._waits.observe(waited)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Times one stage of one image, also where it fails."""
        return _Stage(self._stage_seconds[name])

    def batch(self, images: int, seconds: float) -> None:
        """A call of the engine."""
        self._batches.observe(images)
        self._engine.inc(seconds)

    def finished(self, status: str) -> None:
        """An image has its result."""
        self._images.labels(status).inc()


class _Stage:
    """Written out: `contextlib`'s of a generator takes almost twice as long, four times an image."""

    __slots__ = ("_began", "_seconds")

    def __init__(self, seconds: Histogram) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds.observe(time.perf_counter() - self._began)


def _answered(at: float | None) -> Iterator[Metric]:
    """``at`` is a `time.monotonic`."""
    return known("irs_worker_queue_answered_timestamp_seconds",
                 "When the input queue last answered a receive, or the worker was too full to ask.",
                 shared.wall(at))


class Processor(Collector):
    """Processor time of this process by what its threads do, ended ones included."""

    def __init__(self, tasks: Path = _TASKS) -> None:
        self._tasks = tasks
        self._lock = threading.Lock()
        #: by thread's id: what it does, and its seconds at the last look
        self._seen: dict[int, tuple[str, float]] = {}
        self._total: Tally[str] = Tally()

    def collect(self) -> Iterator[Metric]:
        """Prometheus's own protocol."""
        family = CounterMetricFamily("irs_worker_cpu_seconds", "Processor time by what threads do.",
                                     labels=["work"])
        for work, seconds in sorted(self.seconds().items()):
            family.add_metric([work], seconds)
        yield family

    def seconds(self) -> dict[str, float]:
        """By work, none of which ever falls; empty where the system does not tell."""
        names = {t.native_id: t.name for t in threading.enumerate() if t.native_id is not None}
        with self._lock:
            seen = {}
            for thread, spent in self._read():
                known, before = self._seen.get(thread, (NATIVE, 0.0))
                if spent < before:
                    known, before = NATIVE, 0.0  # the id was given again after the thread's end
                # Python names a thread a moment after its begin, and not at its very end.
                work = _work(names[thread]) if thread in names else known
                self._total[work] += spent - before
                seen[thread] = work, spent
            self._seen = seen
            return dict(self._total)

    def _read(self) -> Iterator[tuple[int, float]]:
        for folder in self._tasks.iterdir() if self._tasks.is_dir() else ():
            try:
                yield int(folder.name), int((folder / "schedstat").read_text().split()[0]) / 1e9
            except (OSError, ValueError, IndexError):
                continue  # ended a moment ago


def _work(name: str) -> str:
    return next((work for begin, work in WORK if name.startswith(begin)), "other")
