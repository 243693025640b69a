"""From a stored image to a stored, announced result. One `Pipeline` a process."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celery.worker import state as worker_state

from irs import errors, log, tracing
from irs.aws.objects import Objects
from irs.domain import images
from irs.domain.jobs import (
    GAVE_UP,
    INPUT_MISSING,
    Failure,
    InputInfo,
    Job,
    Prediction,
    Result,
    Status,
    stamp,
)
from irs.model import engine as engines
from irs.results.announce import Announcer
from irs.results.store import ResultStore
from irs.settings import Settings, load
from irs.worker import identity, models, report
from irs.worker.decoding import Decoders
from irs.worker.device import Ending
from irs.worker.models import Models, Served
from irs.worker.patience import Postponed
from irs.worker.suspects import Killer, Suspects
from irs.worker.tally import Tally

if TYPE_CHECKING:
    from irs.worker.metrics import Metrics

#: Seconds for one image's turn in the engine; a full queue of batches takes a few.
ENGINE_WAIT = 60.0

_log = log.get("worker")


class Pipeline:
    """Thread-safe: Celery calls `classify` from as many threads as tasks run at once."""

    def __init__(self, settings: Settings, engine: engines.Engine, *, instance: str,
                 trial: engines.Engine | None = None, backlog: Callable[[], int] = lambda: 0,
                 metrics: Metrics | None = None, tally: Tally | None = None,
                 ending: Ending | None = None) -> None:
        """``backlog()``: tasks that this worker has taken and not finished; ``trial``: a canary."""
        self._tally = tally or Tally()
        self.metrics = metrics
        self._stage = metrics.stage if metrics else _untimed
        self._settings = settings
        self._instance = instance
        self._limits = images.Limits(max_bytes=settings.max_image_bytes,
                                     max_pixels=settings.max_image_pixels)
        self._decoders = Decoders()
        self._ending = ending or Ending()
        self._inputs = Objects(settings, settings.input_bucket)
        self._results = ResultStore(settings)
        # Two batches: one in the engine, and one that need not wait for anybody's next upload.
        self._suspects = Suspects(Objects(settings, settings.output_bucket),
                                  receives=settings.max_receive_count)
        self._announcer = Announcer(settings, crowded=lambda: backlog() >= 2 * settings.max_batch)
        self._models = Models(settings, engine, trial, on_batch=metrics.batch if metrics else None)
        if metrics:
            metrics.tell(self._models.infos, engines=self._models, announcer=self._announcer)
        #: `time.monotonic` of the last task that began or ended
        self.last_activity = time.monotonic()

    def announced(self, jobs: Collection[str] | None = None) -> None:
        """Return when these (ids; None: all that is done) have been announced, or that takes too long."""
        self._announcer.flush(jobs)

    def close(self) -> None:
        """Finish what is in the engine, and say so."""
        self._models.close()
        self.announced()

    def taken(self, receives: int, waited: float | None) -> None:
        """A job's message is here for the ``receives``-th time, ``waited`` seconds after its sending."""
        if self.metrics:
            self.metrics.taken(receives, waited)

    def classify(self, job: Job, *, attempt: int, reply_to: str | None) -> Result:
        """Store and announce the job's result, and return it.

        Raises `Postponed` for whatever may be better another time. On the last receive that
        the redrive policy allows, what is the image's or this worker's own doing becomes the
        result; a fault of the cloud never does, as it says nothing about the image.
        """
        self.last_activity = time.monotonic()
        started = datetime.now(UTC)
        try:
            known = self._results.read(job.id) if attempt > 1 else None
            result = known or self._store(
                self._outcome(job, attempt, started, self._models.choose(job.id, attempt)))
        except errors.CloudError as exc:
            # Without its result stored a job is not done, however often it was tried.
            self._again("cloud")
            _log.warning("job.postponed", id=job.id, attempt=attempt, why=str(exc))
            raise Postponed(str(exc), passing=True) from exc
        finally:
            self.last_activity = time.monotonic()
        self._announcer.announce(result, reply_to)
        _log.info("job.finished", id=job.id, status=str(result.status), attempt=attempt,
                  again=known is not None,
                  seconds=round((datetime.now(UTC) - started).total_seconds(), 3))
        return result

    def _store(self, result: Result) -> Result:
        with self._stage("store"):
            stored = self._results.write(result)
        if self.metrics:
            self.metrics.finished(stored.status)
        return stored

    def _outcome(self, job: Job, attempt: int, started: datetime, model: Served) -> Result:
        try:
            if self.metrics and attempt >= self._suspects.since:
                self.metrics.suspects.inc()
            with self._suspects.company(job.id, attempt):
                info, predictions = self._predict(job, model)
        except Killer:
            return self._stand_back(job, attempt, started, model)
        except errors.Refused as exc:
            return self._failed(job, attempt, started, exc.code, str(exc), model=model)
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return self._failed(job, attempt, started, INPUT_MISSING,
                                "the uploaded image is not in the input bucket", model=model)
        except errors.CloudError:
            raise
        except errors.DeviceLost as exc:
            self._ending.begin(exc)
            self._again("fault")
            _log.warning("job.postponed", id=job.id, attempt=attempt, why=str(exc))
            raise Postponed(str(exc)) from exc
        except Exception as exc:
            # An image that breaks the decoder or the engine in a way nobody foresaw is
            # tried again, as its neighbours may be to blame, and named when it keeps on.
            expected = isinstance(exc, errors.IRSError)
            if attempt < self._settings.max_receive_count:
                self._again("fault")
                _log.warning("job.postponed", id=job.id, attempt=attempt, why=repr(exc),
                             exc_info=not expected)
                raise Postponed(f"{type(exc).__name__}: {exc}") from exc
            _log.error("job.gave_up", id=job.id, attempt=attempt, why=repr(exc),
                       exc_info=not expected)
            return self._failed(job, attempt, started, GAVE_UP,
                                f"could not be classified in {attempt} attempts", model=model)
        return Result(
            id=job.id, image=job.image, status=Status.DONE, attempts=attempt,
            instance=self._instance, predictions=predictions, model=model.info,
            input=info, times=_times(job, started))

    def _stand_back(self, job: Job, attempt: int, started: datetime, model: Served) -> Result:
        """The job has ended a worker on its own: others first, and then a name for it."""
        if attempt < self._settings.max_receive_count:
            self._again("alone")
            _log.warning("job.stands_back", id=job.id, attempt=attempt)
            raise Postponed("its worker ended while it ran alone")
        _log.error("job.gave_up", id=job.id, attempt=attempt, why="its worker ended while it ran alone")
        return self._failed(job, attempt, started, GAVE_UP, model=model, message=(
            f"could not be classified in {attempt} attempts, some of which were cut off"))

    def _again(self, reason: str) -> None:
        if self.metrics:
            self.metrics.retries.labels(reason).inc()

    def _predict(self, job: Job, model: Served) -> tuple[InputInfo, tuple[Prediction, ...]]:
        with self._stage("fetch"):
            data = self._inputs.get(job.key, max_bytes=self._limits.max_bytes)
        with self._stage("decode"), tracing.span("irs.decode") as span:
            decoded = self._decoders.run(
                lambda: images.decode(data, self._limits, model.engine.preprocess))
            span.set({"irs.input.format": decoded.header.format, "irs.input.width": decoded.header.width,
                      "irs.input.height": decoded.header.height, "irs.input.bytes": len(data)})
        info = InputInfo(format=decoded.header.format, width=decoded.header.width,
                         height=decoded.header.height, sha256=hashlib.sha256(data).hexdigest())
        began = time.perf_counter()
        with tracing.span("irs.infer"):
            future = model.batcher.submit(decoded.pixels)
            try:
                with self._stage("infer"):
                    predictions = future.result(timeout=ENGINE_WAIT)
            except FutureTimeout:
                future.cancel()
                raise errors.ModelError(f"no prediction within {ENGINE_WAIT:g} s") from None
        self._tally.inferred(time.perf_counter() - began)
        return info, predictions

    def _failed(self, job: Job, attempt: int, started: datetime, code: str, message: str, *,
                model: Served) -> Result:
        return Result(
            id=job.id, image=job.image, status=Status.FAILED, attempts=attempt,
            instance=self._instance, model=model.info,
            error=Failure(code=code, message=message), times=_times(job, started))


def _untimed(_stage: str) -> AbstractContextManager[None]:
    return nullcontext()


def _times(job: Job, started: datetime) -> dict[str, str]:
    return {"received": stamp(job.received), "started": stamp(started),
            "finished": stamp(datetime.now(UTC))}


_current: Pipeline | None = None
_building = threading.Lock()


def current() -> Pipeline:
    """The process's pipeline, built at first use; raises `errors.ModelError`."""
    global _current  # noqa: PLW0603 - one engine a process, shared by all task threads
    with _building:
        if _current is None:
            settings = load()

            def fetch(bucket: str, key: str) -> bytes:
                return Objects(settings, bucket).get(key)

            began = time.monotonic()
            engine = engines.load(settings, fetch)
            _log.info("model.ready", model=engine.info.name, version=engine.info.version,
                      engine=engine.info.engine, seconds=round(time.monotonic() - began, 2))
            _current = Pipeline(settings, engine, instance=identity.instance(), metrics=_metrics(settings),
                                trial=models.trial(settings, fetch), tally=report.meter().tally,
                                backlog=lambda: len(worker_state.reserved_requests))
    return _current


def _metrics(settings: Settings) -> Metrics | None:
    if settings.worker_metrics_port is None:
        return None
    from irs.worker.metrics import Metrics  # the client library is for those who want it

    return Metrics(report.meter())
