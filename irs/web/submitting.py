"""One image from its bytes to a job on the queue."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from irs import errors, log, tracing
from irs.audit import uploads
from irs.aws import hurry
from irs.domain import claims, images, keys
from irs.domain.jobs import Failure, Job, Result
from irs.settings import Settings
from irs.web.cloud import Cloud
from irs.web.estimates import Estimates
from irs.web.idempotency import Keyed
from irs.web.metrics import Metrics
from irs.web.outcomes import UNAVAILABLE, Outcome
from irs.web.ports import Waiter
from irs.web.reuse import Claim
from irs.web.waiting import Follower, Pending

#: Files validated and stored at once: bounds the memory of whole files (20 MB each at
#: the default limit), while their requests wait in hundreds.
STORING = 32
#: Seconds that a file waits for its turn among them: where S3 stalls, those before it take as long
#: as its timeouts, one after the other.
TURN = 10.0
#: What a file ends with that could not be stored or sent.
NOT_TAKEN = Failure(code=UNAVAILABLE, message="the service cannot take the image now, try again")

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

    def release(self) -> None:
        """It is stored, and not read again: what is held of it can go while its client waits."""


class Ask(Protocol):
    """What is known of a job's bytes; ``alone``: it can neither follow nor be followed."""

    def __call__(self, job: Job, data: bytes, *, alone: bool) -> Claim: ...


class Submitter:
    """Validates, stores and sends; one a process, shared by its threads."""

    def __init__(self, settings: Settings, cloud: Cloud, estimates: Estimates, metrics: Metrics) -> None:
        self._limits = images.Limits(max_bytes=settings.max_image_bytes,
                                     max_pixels=settings.max_image_pixels)
        self._cloud = cloud
        self._estimates = estimates
        self._metrics = metrics
        self._storing = threading.BoundedSemaphore(STORING)

    def submit(self, image: Image, *, ask: Ask, keyed: Keyed | None = None,
               job: Job | None = None) -> Pending | Outcome:
        """A job that is on its way, or what became of the image instead; nothing is raised for it.

        ``ask`` says what is known of the bytes, ``keyed`` is the request's idempotency key.
        What it takes to store and send it obeys `irs.aws.hurry`.
        A file that follows another job is stored when that one has ended: until then nobody
        was told of it, and nothing can be lost. It comes back then with its ``job``.
        """
        with tracing.span("irs.submit", inner=True) as span:
            sent = self._submit(image, ask=ask, keyed=keyed, job=job)
            if isinstance(sent, Outcome) and sent.error is not None:
                span.fail(sent.error.code)
            span.set({"irs.job.id": sent.job.id if isinstance(sent, Follower) else sent.id})
        return sent

    def _submit(self, image: Image, *, ask: Ask, keyed: Keyed | None, job: Job | None) -> Pending | Outcome:
        waiter = None
        try:
            if job is not None and keyed is not None:
                # A repeat has done it, or somebody has cancelled it, while this one followed.
                known = self._cloud.results.read(job.id)
                if known is not None:
                    return Outcome(image=image.name, id=job.id, result=known)
            with self._turn():
                data = image.read()
                header = images.validate(data, self._limits)
                if job is None:
                    job = _job(image, data, keyed)
                    if keyed is not None and keyed.repeats and (begun := self._begun(image, job, keyed)):
                        return begun
                claim = ask(job, data, alone=image.id is not None)
                if claim.lead is not None:
                    return Follower(job, claim.lead.job_id, claim.lead)
                # There before the task can be done.
                waiter = self._cloud.listener.expect(job.id)
                self._store(job, data, header.format, create=image.id is not None)
                del data
                image.release()
            # In S3 before the task is sent: what is done, and promised, is called back.
            self._promise(image, job, again=image.id is not None or keyed is not None)
        except errors.Refused as exc:
            return Outcome(image=image.name, error=Failure(code=exc.code, message=str(exc)))
        except (errors.CloudError, errors.OutOfMemory) as exc:
            if job is not None and not (keyed is not None and keyed.repeats):
                self._cloud.reuse.abandon(job.id)
            return self._not_accepted(image.name, job, waiter, exc)
        sent = self._answered(claim.answer, claim.outcome) if claim.answer is not None else None
        if sent is not None:
            waiter.close()
        else:
            sent = self._send(job, waiter)
        if keyed is not None and (isinstance(sent, Pending) or sent.error is None):
            keyed.begun()
        return sent

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One of the places for `STORING`; raises `errors.Unreachable` where none comes free in time."""
        turn = min(TURN, hurry.left())
        if not self._storing.acquire(timeout=turn):
            raise errors.Unreachable(f"the {STORING} files before it are not stored after {turn:.3g} s")
        try:
            yield
        finally:
            self._storing.release()

    def _promise(self, image: Image, job: Job, *, again: bool) -> None:
        """Write down whom to call back; ``again``: another request may have done it."""
        if image.callback_url is not None:
            promise = self._cloud.callbacks.begin_once if again else self._cloud.callbacks.begin
            promise(job.id, image.callback_url)

    def _begun(self, image: Image, job: Job, keyed: Keyed) -> Pending | None:
        """What an earlier request has begun: there is nothing to do but to wait for it."""
        result = self._cloud.results.read(job.id)
        if result is None and not keyed.under_way:
            return None
        tracing.note({"irs.repeat": True}, tracing.recall(job.id))
        self._promise(image, job, again=True)
        waiter = self._cloud.listener.expect(job.id)
        if result is not None:
            waiter.resolve(result)
        else:
            self._cloud.upkeep.pending.adopt(job.id)
        return Pending(job.id, waiter)

    def _store(self, job: Job, data: bytes, kind: str, *, create: bool) -> None:
        try:
            self._cloud.objects.put(
                job.key, data, content_type=f"image/{kind.lower()}", create=create,
                metadata={uploads.NAME: job.image, uploads.REPLY_TO: self._cloud.listener.address,
                          **uploads.trace()})
        except errors.AlreadyExists:
            # By another request for the same job, or by ours, whose answer was lost. In doubt
            # it is sent once more: a task too many has no second result.
            _log.info("job.stored_already", id=job.id)

    def _send(self, job: Job, waiter: Waiter) -> Pending | Outcome:
        """Send a job whose upload is stored."""
        try:
            # Before the send, which may be one although its answer is lost.
            self._cloud.upkeep.pending.accepted(job)
            self._cloud.send(job, reply_to=self._cloud.listener.address)
        except errors.CloudError as exc:
            self._cloud.reuse.abandon(job.id)
            return self._not_accepted(job.image, job, waiter, exc)
        _log.info("job.accepted", id=job.id)
        self._metrics.reuse.labels("miss").inc()
        return Pending(job.id, waiter, self._estimates.sent())

    def _not_accepted(self, name: str, job: Job | None, waiter: Waiter | None,
                      why: errors.CloudError | errors.OutOfMemory) -> Outcome:
        """What was stored stays: a send whose answer was lost may have been a send."""
        if waiter is not None:
            waiter.close()
        _log.warning("job.not_accepted", id=job and job.id, why=str(why), code=why.code)
        return Outcome(image=name, id=job and job.id, error=NOT_TAKEN)

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


def _job(image: Image, data: bytes, keyed: Keyed | None) -> Job:
    """The image's job: that of the claim where the request carries a key."""
    job_id = image.id or keys.new_id()
    job = Job(id=job_id, image=image.name, key=keys.input_key(job_id, image.name),
              received=datetime.now(UTC))
    if keyed is None:
        return job
    claim = keyed.claim(claims.fingerprint("images", data, image.name.encode()), job_id)
    return replace(job, id=claim.id, key=keys.input_key(claim.id, image.name), received=claim.at)
