"""What a worker makes of its core: its rate on a full queue over a bare loop's on the same core.

    python bench/efficiency.py [PHOTO…] [--images N] [--batch N] [--rounds N] [--json FILE]

Both decode and classify the same files with the same engine, one thread, pinned to the same
core; the cloud has another. The bare loop holds the files in memory, decodes a batch, runs
it, and keeps nothing. The worker receives, fetches, decodes, infers, stores, announces and
deletes; what each costs in CPU is told. Rounds of the two alternate, so that a machine that
grows slower does so for both. Without photographs, those of scikit-image are taken. Exit
code 1 where the worker makes less than `EFFICIENCY` of the bare loop.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from service import Tier, Tiers, in_memory, until, verdict

from irs import settings as settings_module
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import images, keys
from irs.domain.jobs import Job
from irs.local.emulator import bind
from irs.results.store import ResultStore
from irs.settings import Settings

CLOUD, WORKER = 0, 1
#: Of the images' finishes, in order, those between these shares make the rate: the first
#: and the last of a drain are not a full queue.
FIRST, LAST = 0.05, 0.95
#: What must hold: the worker's images a second over the bare loop's.
EFFICIENCY = 0.85


def photographs(paths: list[Path]) -> list[bytes]:
    """The files, or scikit-image's own photographs as JPEG of 500 pixels and less."""
    if paths:
        return [path.read_bytes() for path in paths]
    import skimage.data
    from PIL import Image

    found = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = Image.fromarray(getattr(skimage.data, name)())
        image.thumbnail((500, 500))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=92)
        found.append(out.getvalue())
    return found


# -- the bare loop, a process of its own ------------------------------------------------------

def bare(options: argparse.Namespace) -> None:
    """Print images a second and CPU ms an image of a loop that does nothing else."""
    os.sched_setaffinity(0, {WORKER})
    import numpy as np

    from irs.model import engine as engines

    settings = settings_module.load()
    limits = images.Limits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    engine = engines.load(settings, None)
    files = photographs(options.photos)
    size = engine.preprocess.crop
    buffer = np.empty((options.batch, size, size, 3), np.uint8)

    def run(count: int) -> None:
        for start in range(0, count, options.batch):
            rows = range(start, min(count, start + options.batch))
            for row, number in zip(buffer, rows, strict=False):
                pixels = images.decode(files[number % len(files)], limits, engine.preprocess).pixels
                row[...] = np.frombuffer(pixels, np.uint8).reshape(row.shape)
            engines.top_k(engine.predict(buffer[:len(rows)]), engine.labels, 5)

    run(4 * options.batch)
    began, cpu = time.perf_counter(), time.process_time()
    run(options.images)
    print(json.dumps({"rate": options.images / (time.perf_counter() - began),
                      "cpu_ms": 1e3 * (time.process_time() - cpu) / options.images}))


def bare_figures(options: argparse.Namespace, settings: Settings) -> dict[str, float]:
    """`bare` in a process with the worker's settings."""
    command = [sys.executable, __file__, "--bare", "--images", str(options.images),
               "--batch", str(options.batch), *map(str, options.photos)]
    env = dict(os.environ) | settings_module.as_env(settings, *settings.model_fields_set)
    done = subprocess.run(command, env=env, check=True, capture_output=True)
    return json.loads(done.stdout.splitlines()[-1])  # after what the engine logs


# -- the worker ---------------------------------------------------------------------------------

class Load:
    """Stores images and sends their tasks, as the web tier does, and waits for the results."""

    def __init__(self, settings: Settings, files: list[bytes]) -> None:
        os.environ.update(settings_module.as_env(settings, *settings.model_fields_set))
        settings_module.load.cache_clear()
        from irs.web.cloud import Cloud

        self._send = Cloud(settings).send
        self._inputs = Objects(settings, settings.input_bucket)
        self._results = ResultStore(settings)
        self._queue = Queue(settings, settings.input_queue)
        self._files = files

    def fill(self, count: int) -> list[Job]:
        """Put ``count`` jobs on the queue."""
        jobs = []
        for _ in range(count):
            job_id = keys.new_id()
            jobs.append(Job(id=job_id, image="a.jpg", key=keys.input_key(job_id, "a.jpg"),
                            received=datetime.now(UTC)))

        def put(item: tuple[int, Job]) -> None:
            number, job = item
            self._inputs.put(job.key, self._files[number % len(self._files)], content_type="image/jpeg")
            self._send(job, reply_to="")

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, enumerate(jobs)))
        return jobs

    def empty(self) -> bool:
        """Whether the queue has nothing visible and nothing in flight."""
        counts = self._queue.attributes(
            "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return not any(int(value) for value in counts.values())

    def rate(self, jobs: list[Job]) -> float:
        """Images a second, by the times in their results."""
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(lambda job: self._results.read(job.id), jobs))
        finished = sorted(datetime.fromisoformat(r.times["finished"]).timestamp() for r in results if r)
        if len(finished) < len(jobs) or any(r.status != "done" for r in results if r):
            raise RuntimeError(f"{len(finished)} of {len(jobs)} images have a result")
        first, last = int(FIRST * len(jobs)), int(LAST * len(jobs)) - 1
        return (last - first) / (finished[last] - finished[first])


def by_work(url: str) -> dict[str, float]:
    """Seconds of processor time of a worker, by what its threads do."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {sample.labels["work"]: sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples
            if sample.name == "irs_worker_cpu_seconds_total"}


def drain(tiers: Tiers, load: Load, options: argparse.Namespace,
          spent: Counter[str]) -> dict[str, float]:
    """One worker, started on a full queue, until the queue is empty.

    Adds its CPU ms an image, by what they were for, to ``spent``.
    """
    jobs = load.fill(options.images)
    cloud = tiers.cloud.cpu()
    with bind(0) as free:
        port = free.getsockname()[1]
    worker: Tier = tiers.worker(IRS_WORKER_METRICS_PORT=str(port))
    url = f"http://{tiers.settings.host}:{port}/metrics"
    start, before = worker.cpu(), by_work(url)
    until(load.empty, 600, "the queue empty")
    for work, seconds in by_work(url).items():
        spent[work] += 1e3 * (seconds - before.get(work, 0.0)) / len(jobs) / options.rounds
    figures = {"rate": load.rate(jobs), "cpu_ms": 1e3 * (worker.cpu() - start) / len(jobs),
               "cloud_cpu_ms": 1e3 * (tiers.cloud.cpu() - cloud) / len(jobs),
               "peak_mb": worker.memory("VmHWM")}
    worker.child.stop(60)
    return figures


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.photos = [path.absolute() for path in options.photos]
    if options.bare:
        bare(options)
        return 0
    rows: list[tuple[dict[str, float], dict[str, float]]] = []
    with in_memory() as scratch, Tiers(
            Path(scratch), cores={"cloud": {CLOUD}, "worker": {WORKER}},
            engine_threads=1, max_batch=options.batch) as tiers:
        os.sched_setaffinity(0, {CLOUD})
        load = Load(tiers.settings, photographs(options.photos))
        spent: Counter[str] = Counter()
        for number in range(options.rounds):
            rows.append((bare_figures(options, tiers.settings), drain(tiers, load, options, spent)))
            print(f"round {number + 1}: bare {rows[-1][0]['rate']:.1f}/s, "
                  f"worker {rows[-1][1]['rate']:.1f}/s")
    figures: dict[str, Any] = {"images": options.images, "batch": options.batch, "rounds": options.rounds}
    for who, side in (("bare", 0), ("worker", 1)):
        for what in rows[0][side]:
            figures[f"{who}_{what}"] = statistics.median(row[side][what] for row in rows)
    figures["efficiency"] = statistics.median(w["rate"] / b["rate"] for b, w in rows)
    figures["cpu_ratio"] = statistics.median(b["cpu_ms"] / w["cpu_ms"] for b, w in rows)
    for name, value in figures.items():
        print(f"{name:20} {value:10.2f}")
    print("the worker's CPU ms an image, by what its threads do")
    for work, value in spent.most_common():
        print(f"  {work:18} {value:10.2f}")
    return verdict(figures | {"cpu_ms_by_work": spent},
                   [f"{figures['efficiency']:.2f} of the bare loop; {EFFICIENCY} it should be"]
                   * (figures["efficiency"] < EFFICIENCY), options.json)


if __name__ == "__main__":
    sys.exit(main())
