"""From a file's bytes to a job on the queue, and from there to an outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from irs import errors, log
from irs.domain import images, keys
from irs.domain.jobs import Failure, Job
from irs.settings import Settings
from irs.web.cloud import Cloud
from irs.web.estimates import Estimates
from irs.web.metrics import Metrics
from irs.web.multipart import Upload
from irs.web.outcomes import LOST, LOST_MESSAGE, UNAVAILABLE, Outcome
from irs.web.waiting import Pending, Waiting

#: Files validated and stored at once: bounds the memory of whole files (20 MB each at
#: the default limit), while their requests wait in hundreds.
STORING = 32

_log = log.get("web")


class Dispatcher:
    """Stores, sends and waits; one a process, shared by its threads."""

    def __init__(self, settings: Settings, cloud: Cloud, waiting: Waiting, estimates: Estimates,
                 metrics: Metrics) -> None:
        self._limits = images.Limits(max_bytes=settings.max_image_bytes,
                                     max_pixels=settings.max_image_pixels)
        self._cloud = cloud
        self._waiting = waiting
        self._estimates = estimates
        self._metrics = metrics
        self._storing = threading.BoundedSemaphore(STORING)

    def classify(self, files: Sequence[Upload], seconds: float,
                 gone: Callable[[], bool]) -> list[Outcome]:
        """One outcome a file, in order, after at most ``seconds`` of waiting.

        ``gone`` says whether the client has left. What goes wrong with one file is its own
        outcome; nothing is raised for it.
        """
        submitted = self._submit_all(files)
        pending = [item for item in submitted if isinstance(item, Pending)]
        try:
            self._waiting.until(pending, seconds, gone)
        finally:
            for job in pending:
                job.waiter.close()
        outcomes = [self._outcome(upload.name, item)
                    for upload, item in zip(files, submitted, strict=True)]
        for outcome in outcomes:
            if outcome.result is not None:
                self._estimates.finished()
                self._cloud.done(outcome.result.id)
            self._metrics.uploads.labels(outcome.kind).inc()
        return outcomes

    def _submit_all(self, files: Sequence[Upload]) -> list[Pending | Outcome]:
        if len(files) == 1:  # most requests; a pool's thread would only add a switch
            return [self._submit(files[0])]
        return list(self._cloud.pool.map(self._submit, files))

    def _submit(self, upload: Upload) -> Pending | Outcome:
        """Validate, store, send; the waiter is there before the task can be done."""
        job = None
        waiter = None
        try:
            with self._storing:
                data = upload.read()
                header = images.validate(data, self._limits)
                listener = self._cloud.listener
                job = _job(upload.name)
                waiter = listener.expect(job.id)
                self._cloud.objects.put(job.key, data, content_type=f"image/{header.format.lower()}",
                                        metadata={"name": job.image})
                del data
            if upload.callback_url is not None:
                # In S3 before the task is sent: what is done, and promised, is called back.
                self._cloud.callbacks.begin(job.id, upload.callback_url)
            # Before the send, which may be one although its answer is lost.
            self._cloud.upkeep.pending.accepted(job)
            self._cloud.send(job, reply_to=listener.address)
        except errors.Refused as exc:
            return Outcome(image=upload.name, error=Failure(code=exc.code, message=str(exc)))
        except (errors.CloudError, errors.OutOfMemory) as exc:
            # What was stored stays: a send whose answer was lost may have been a send.
            if waiter is not None:
                waiter.close()
            _log.warning("job.not_accepted", id=job and job.id, why=str(exc), code=exc.code)
            return Outcome(image=upload.name, id=job and job.id, error=Failure(
                code=UNAVAILABLE, message="the service cannot take the image now, try again"))
        _log.debug("job.accepted", id=job.id)
        return Pending(job.id, waiter, self._estimates.sent())

    def _outcome(self, name: str, item: Pending | Outcome) -> Outcome:
        if isinstance(item, Outcome):
            return item
        if item.result is not None:
            return Outcome(image=name, id=item.id, result=item.result)
        if self._cloud.upkeep.pending.is_lost(item.id):
            return Outcome(image=name, id=item.id, error=Failure(code=LOST, message=LOST_MESSAGE))
        return Outcome(image=name, id=item.id, place=self._estimates.place(item.number))


def _job(name: str) -> Job:
    job_id = keys.new_id()
    return Job(id=job_id, image=name, key=keys.input_key(job_id, name), received=datetime.now(UTC))
