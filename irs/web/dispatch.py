"""From a file's bytes to a job on the queue, and from there to an outcome."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from irs import errors, log
from irs.domain import images, keys
from irs.domain.jobs import Failure, Job, Result
from irs.settings import Settings
from irs.web.cloud import Cloud, Waiter
from irs.web.estimates import Estimates
from irs.web.metrics import Metrics
from irs.web.multipart import Upload
from irs.web.outcomes import LOST, LOST_MESSAGE, UNAVAILABLE, Outcome
from irs.web.reuse import Claim
from irs.web.waiting import Follower, Pending, Waiting

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

    def classify(self, files: Sequence[Upload], seconds: float, gone: Callable[[], bool], *,
                 client: str | None = None) -> list[Outcome]:
        """One outcome a file, in order, after at most ``seconds`` of waiting.

        ``gone`` says whether the client has left, ``client`` whose answers may be given
        again (None: nobody's). What goes wrong with one file is its own outcome; nothing is
        raised for it.
        """
        ask = functools.partial(self._cloud.reuse.claim, client=client, follow=seconds > 0)
        submitted = self._each(functools.partial(self._submit, ask=ask), files)
        try:
            left = self._waiting.until(_pending(submitted), seconds, gone)
            if any(isinstance(item, Follower) for item in submitted):
                submitted = self._each(self._settle, files, submitted)
                self._waiting.until(_pending(submitted), left, gone)
        finally:
            for job in _pending(submitted):
                job.waiter.close()
        outcomes = [self._outcome(upload.name, item)
                    for upload, item in zip(files, submitted, strict=True)]
        for outcome in outcomes:
            if outcome.result is not None:
                if not outcome.result.reused:  # which says nothing about the fleet's pace
                    self._estimates.finished()
                self._cloud.upkeep.pending.done(outcome.result.id)
                self._cloud.reuse.heard(outcome.result)
            self._metrics.uploads.labels(outcome.kind).inc()
        return outcomes

    def _each(self, act: Callable[..., Pending | Outcome],
              *columns: Sequence[Any]) -> list[Pending | Outcome]:
        if len(columns[0]) == 1:  # most requests; a pool's thread would only add a switch
            return [act(*(column[0] for column in columns))]
        return list(self._cloud.pool.map(act, *columns))

    def _submit(self, upload: Upload, ask: Callable[[Job, bytes], Claim],
                job: Job | None = None) -> Pending | Outcome:
        """Validate, store, send; the waiter is there before the task can be done.

        ``ask`` says what is known of the bytes. A file that follows another job is stored
        when that one has ended: until then nobody was told of it, and nothing can be lost.
        """
        waiter = None
        try:
            with self._storing:
                data = upload.read()
                header = images.validate(data, self._limits)
                job = job or _job(upload.name)
                claim = ask(job, data)
                if claim.lead is not None:
                    return Follower(job, claim.lead.job_id, claim.lead)
                waiter = self._cloud.listener.expect(job.id)
                self._cloud.objects.put(job.key, data, content_type=f"image/{header.format.lower()}",
                                        metadata={"name": job.image})
                del data
        except errors.Refused as exc:
            return Outcome(image=upload.name, error=Failure(code=exc.code, message=str(exc)))
        except (errors.CloudError, errors.OutOfMemory) as exc:
            return self._not_accepted(upload.name, job, waiter, exc)
        if claim.answer is not None and (answered := self._answered(claim.answer, claim.outcome)):
            waiter.close()
            return answered
        return self._send(job, waiter)

    def _settle(self, upload: Upload, item: Pending | Outcome) -> Pending | Outcome:
        """Answer a follower with what it waited for, or send it as any other job."""
        if not isinstance(item, Follower):
            return item
        item.waiter.close()
        claim = self._cloud.reuse.settle(item.job, item.result)
        return self._submit(upload, lambda _job, _data: claim, item.job)

    def _send(self, job: Job, waiter: Waiter) -> Pending | Outcome:
        """Send a job whose upload is stored."""
        try:
            # Before the send, which may be one although its answer is lost.
            self._cloud.upkeep.pending.accepted(job)
            self._cloud.send(job, reply_to=self._cloud.listener.address)
        except errors.CloudError as exc:
            return self._not_accepted(job.image, job, waiter, exc)
        _log.debug("job.accepted", id=job.id)
        self._metrics.reuse.labels("miss").inc()
        return Pending(job.id, waiter, self._estimates.sent())

    def _not_accepted(self, name: str, job: Job | None, waiter: Waiter | None,
                      why: errors.CloudError | errors.OutOfMemory) -> Outcome:
        """What was stored stays: a send whose answer was lost may have been a send."""
        if waiter is not None:
            waiter.close()
        if job is not None:
            self._cloud.reuse.abandon(job.id)
        _log.warning("job.not_accepted", id=job and job.id, why=str(why), code=why.code)
        return Outcome(image=name, id=job and job.id, error=Failure(
            code=UNAVAILABLE, message="the service cannot take the image now, try again"))

    def _answered(self, result: Result, how: str) -> Outcome | None:
        """Store a job's result that was made of another's; None where that fails: send the job then."""
        try:
            stored = self._cloud.results.write(result)
        except errors.CloudError as exc:
            _log.warning("job.not_reused", id=result.id, why=str(exc))
            return None
        self._cloud.announce(stored, None)
        self._metrics.reuse.labels(how).inc()
        return Outcome(image=result.image, id=result.id, result=stored)

    def _outcome(self, name: str, item: Pending | Outcome) -> Outcome:
        if isinstance(item, Outcome):
            return item
        if item.result is not None:
            return Outcome(image=name, id=item.id, result=item.result)
        if self._cloud.upkeep.pending.is_lost(item.id):
            return Outcome(image=name, id=item.id, error=Failure(code=LOST, message=LOST_MESSAGE))
        return Outcome(image=name, id=item.id, place=self._estimates.place(item.number))


def _pending(submitted: Sequence[Pending | Outcome]) -> list[Pending]:
    return [item for item in submitted if isinstance(item, Pending)]


def _job(name: str) -> Job:
    job_id = keys.new_id()
    return Job(id=job_id, image=name, key=keys.input_key(job_id, name), received=datetime.now(UTC))
