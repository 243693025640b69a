"""From a file's bytes to a job on the queue, and from there to an outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from irs import errors, log
from irs.audit import uploads
from irs.domain import claims, images, keys
from irs.domain.claims import Claim
from irs.domain.jobs import Failure, Job
from irs.settings import Settings
from irs.web.cloud import Cloud, Waiter
from irs.web.estimates import Estimates
from irs.web.idempotency import Keyed
from irs.web.metrics import Metrics
from irs.web.outcomes import LOST, LOST_MESSAGE, UNAVAILABLE, Outcome
from irs.web.waiting import Pending, Waiting

#: Files validated and stored at once: bounds the memory of whole files (20 MB each at
#: the default limit), while their requests wait in hundreds.
STORING = 32

_log = log.get("web")


class Image(Protocol):
    """What is classified: `irs.web.multipart.Upload`, `irs.web.sources.Sourced`, …"""

    #: the job's, where it is settled already; an image is stored under such an id once
    id: str | None
    #: where its result is to be posted besides
    callback_url: str | None

    @property
    def name(self) -> str:
        """Display name."""

    def read(self) -> bytes:
        """The whole file, of which there is one more in memory; raises `errors.Refused`."""


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

    def classify(self, files: Sequence[Image], seconds: float,
                 gone: Callable[[], bool], keyed: Keyed | None = None) -> list[Outcome]:
        """One outcome a file, in order, after at most ``seconds`` of waiting.

        ``gone`` says whether the client has left; ``keyed`` is the idempotency key of a
        request with one file. What goes wrong with one file is its own outcome; nothing is
        raised for it.
        """
        submitted = [self._submit(files[0], keyed)] if keyed is not None else self._submit_all(files)
        pending = [item for item in submitted if isinstance(item, Pending)]
        try:
            self._waiting.until(pending, seconds, gone)
        finally:
            for job in pending:
                job.waiter.close()
        outcomes = [self._outcome(image.name, item)
                    for image, item in zip(files, submitted, strict=True)]
        for item, outcome in zip(submitted, outcomes, strict=True):
            if outcome.result is not None:
                if isinstance(item, Pending) and item.number is not None:
                    self._estimates.finished()
                self._cloud.done(outcome.result)
            self._metrics.uploads.labels(outcome.kind).inc()
        return outcomes

    def _submit_all(self, files: Sequence[Image]) -> list[Pending | Outcome]:
        if len(files) == 1:  # most requests; a pool's thread would only add a switch
            return [self._submit(files[0])]
        return list(self._cloud.pool.map(self._submit, files))

    def _submit(self, image: Image, keyed: Keyed | None = None) -> Pending | Outcome:
        """Validate, store, send; the waiter is there before the task can be done."""
        job = None
        waiter = None
        try:
            with self._storing:
                data = image.read()
                header = images.validate(data, self._limits)
                listener = self._cloud.listener
                claim = _claim(image, data, keyed)
                job = _job(image, claim)
                waiter = listener.expect(job.id)
                if claim is not None and keyed and keyed.repeats and self._known(claim, waiter):
                    return Pending(job.id, waiter)
                self._store(job, data, header.format, listener.address, create=image.id is not None)
                del data
            if image.callback_url is not None:
                # In S3 before the task is sent: what is done, and promised, is called back.
                self._cloud.callbacks.begin(job.id, image.callback_url)
            # Before the send, which may be one although its answer is lost.
            self._cloud.upkeep.pending.accepted(job)
            self._cloud.send(job, reply_to=listener.address)
            if keyed is not None:
                keyed.begun()
        except errors.Refused as exc:
            return Outcome(image=image.name, error=Failure(code=exc.code, message=str(exc)))
        except (errors.CloudError, errors.OutOfMemory) as exc:
            # What was stored stays: a send whose answer was lost may have been a send.
            if waiter is not None:
                waiter.close()
            _log.warning("job.not_accepted", id=job and job.id, why=str(exc), code=exc.code)
            return Outcome(image=image.name, id=job and job.id, error=Failure(
                code=UNAVAILABLE, message="the service cannot take the image now, try again"))
        _log.debug("job.accepted", id=job.id)
        return Pending(job.id, waiter, self._estimates.sent())

    def _store(self, job: Job, data: bytes, kind: str, reply_to: str, *, create: bool) -> None:
        try:
            self._cloud.objects.put(
                job.key, data, content_type=f"image/{kind.lower()}", create=create,
                metadata={uploads.NAME: job.image, uploads.REPLY_TO: reply_to})
        except errors.AlreadyExists:
            # By another request for the same job, or by ours, whose answer was lost. In doubt
            # it is sent once more: a task too many has no second result.
            _log.info("job.stored_already", id=job.id)

    def follow(self, job: Job, seconds: float, gone: Callable[[], bool]) -> Outcome:
        """The outcome of a job that was accepted before, here or by another process."""
        result = self._cloud.results.read(job.id)
        if result is not None:
            self._cloud.done(result)
            return Outcome(image=job.image, id=job.id, result=result)
        self._cloud.upkeep.pending.adopt(job.id)
        pending = Pending(job.id, self._cloud.listener.expect(job.id))
        try:
            self._waiting.until([pending], seconds, gone)
        finally:
            pending.waiter.close()
        return self._outcome(job.image, pending)

    def _known(self, claim: Claim, waiter: Waiter) -> bool:
        """Whether there is nothing to do but to wait for what an earlier request has begun."""
        result = self._cloud.results.read(claim.id)
        if result is not None:
            waiter.resolve(result)
        elif claim.begun:
            self._cloud.upkeep.pending.adopt(claim.id)
        return result is not None or claim.begun

    def _outcome(self, name: str, item: Pending | Outcome) -> Outcome:
        if isinstance(item, Outcome):
            return item
        if item.result is not None:
            return Outcome(image=name, id=item.id, result=item.result)
        if self._cloud.upkeep.pending.is_lost(item.id):
            return Outcome(image=name, id=item.id, error=Failure(code=LOST, message=LOST_MESSAGE))
        return Outcome(image=name, id=item.id, place=self._estimates.place(item.number))


def _claim(image: Image, data: bytes, keyed: Keyed | None) -> Claim | None:
    """The claim of a request that carries a key, for this image under this name."""
    if keyed is None:
        return None
    return keyed.claim(claims.fingerprint("images", data, image.name.encode()), image.id or keys.new_id())


def _job(image: Image, claim: Claim | None) -> Job:
    job_id, received = (claim.id, claim.at) if claim is not None else (
        image.id or keys.new_id(), datetime.now(UTC))
    return Job(id=job_id, image=image.name, key=keys.input_key(job_id, image.name), received=received)
