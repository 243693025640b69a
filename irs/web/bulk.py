"""The web tier's side of batches: where they are kept, and this process's feeder of them."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from irs.bulk.feeder import PACK, Counts, Feeder
from irs.bulk.ports import FETCHES, Ports
from irs.bulk.store import Batches
from irs.domain import images
from irs.domain.bulk import Batch
from irs.domain.callbacks import BATCH
from irs.domain.jobs import Job, Result, stamp
from irs.settings import Settings
from irs.web.cloud import Cloud
from irs.web.estimates import Estimates
from irs.web.sources import Sources

#: Results that are streamed at once: each holds a thread, however slowly it is read.
STREAMS = 16
#: Threads that store the images of batches which come in, and read results of those which go
#: out. Not those of everybody else: many-file uploads need not stand behind batches.
THREADS = 16


class Bulk:
    """Built at first use in the process that uses it, as the rest of its cloud is."""

    def __init__(self, settings: Settings, cloud: Cloud, estimates: Estimates, sources: Sources) -> None:
        self._settings = settings
        self._cloud = cloud
        self._estimates = estimates
        self._sources = sources
        #: places for those who read results
        self.streams = threading.BoundedSemaphore(STREAMS)
        self._lock = threading.Lock()
        self._built: tuple[int, Batches, Feeder, ThreadPoolExecutor] | None = None
        self._pools: list[ThreadPoolExecutor] = []
        cloud.hearers.append(self._heard)
        cloud.closers.append(self.close)
        cloud.payloads[BATCH] = self._payload
        #: with ports that were given nothing is fed until a test calls `Feeder.turn`
        if cloud.real:
            cloud.warmers.append(lambda: self.feeder)

    @property
    def batches(self) -> Batches:
        """Where they are kept."""
        return self._mine()[0]

    @property
    def feeder(self) -> Feeder:
        """This process's, at work."""
        return self._mine()[1]

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for what comes in and goes out."""
        return self._mine()[2]

    @property
    def counts(self) -> Counts:
        """What the feeder has to tell, without beginning it."""
        return self._built[2].counts if self._built is not None else Counts()

    @property
    def rate_elsewhere(self) -> float:
        """Results a second that other processes' batches get."""
        return self._built[2].rate_elsewhere if self._built is not None else 0.0

    def close(self) -> None:
        """Hand the batches over; for the end of the process."""
        built, self._built = self._built, None
        if built is not None and built[0] == os.getpid():
            built[2].close()
            for pool in self._pools:
                pool.shutdown(wait=False, cancel_futures=True)

    def _mine(self) -> tuple[Batches, Feeder, ThreadPoolExecutor]:
        with self._lock:
            if self._built is None or self._built[0] != os.getpid():
                batches = Batches(self._cloud.records, self._settings.cluster)
                feeder = Feeder(self._settings, lambda: self._ports(batches))
                pool = ThreadPoolExecutor(THREADS, thread_name_prefix="web-bulk")
                self._pools = [pool]
                self._built = os.getpid(), batches, feeder, pool
                if self._cloud.real:
                    feeder.start()
            return self._built[1:]

    def _ports(self, batches: Batches) -> Ports:
        settings = self._settings
        _ = self._cloud.listener  # without which no result is heard
        pool = ThreadPoolExecutor(PACK, thread_name_prefix="feeder")
        self._pools.append(pool)
        return Ports(
            batches=batches, inputs=self._cloud.objects, results=self._cloud.results,
            sources=self._sources, send=self._send, finished=self._finished, ended=self._cloud.ended,
            pool=pool,
            limits=images.Limits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels),
            fetching=threading.BoundedSemaphore(FETCHES))

    def _send(self, job: Job) -> None:
        # From here on it is a job as any other: sent again if the queue loses it.
        self._cloud.upkeep.pending.accepted(job)
        self._cloud.send(job, reply_to=self._cloud.listener.address)
        self._estimates.sent()

    def _finished(self, result: Result) -> None:
        self._cloud.upkeep.pending.done(result.id, result.status)
        self._estimates.finished()

    def _payload(self, batch_id: str) -> bytes | None:
        batch = self.batches.read(batch_id)
        if batch is None or batch.finished is None:
            return None
        return json.dumps(describe(batch), ensure_ascii=False).encode()

    def _heard(self, result: Result) -> None:
        if self._built is not None:
            self._built[2].heard(result)


def describe(batch: Batch) -> dict[str, Any]:
    """The batch as JSON."""
    location = f"/v1/batches/{batch.id}"
    out: dict[str, Any] = {
        "id": batch.id, "status": str(batch.phase), "total": batch.total, "counts": batch.counts(),
        "created": stamp(batch.created), "source": batch.source, "location": location,
        "results": f"{location}/results"}
    if batch.finished is not None:
        out["finished"] = stamp(batch.finished)
    else:
        out["rate"] = round(batch.rate, 2)
        if batch.estimate is not None:
            out["estimate_seconds"] = round(batch.estimate, 1)
    if batch.truncated:
        out["truncated"] = True
    return out
