"""What a worker is busy with: its images by stage, its batches, its processor time by thread."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from irs.worker.meter import Meter

#: Seconds: a small GET, a decode, a batch in the engine, a slow S3.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
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


class Metrics:
    """One worker's; thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(Processor())
        self._stages = Histogram(
            "irs_worker_stage_seconds", "Of an image, by stage; waiting for its turn is in it.", ["stage"],
            buckets=BUCKETS, registry=self.registry)
        self._images = Counter("irs_worker_images_total", "Images with a result of this worker's.",
                               ["status"], registry=self.registry)
        self._batches = Histogram("irs_worker_batch_images", "Images in a call of the engine.",
                                  buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry)
        self._engine = Counter("irs_worker_engine_seconds_total", "In calls of the engine.",
                               registry=self.registry)
        Gauge("irs_worker_running_images", "Images under way.",
              registry=self.registry).set_function(lambda: meter.running)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage of one image, also where it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - began)

    def batch(self, images: int, seconds: float) -> None:
        """A call of the engine."""
        self._batches.observe(images)
        self._engine.inc(seconds)

    def finished(self, status: str) -> None:
        """An image has its result."""
        self._images.labels(status).inc()


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
