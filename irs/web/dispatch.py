"""From images to outcomes: sent, waited for, and told."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from irs import tracing
from irs.audit import uploads
from irs.aws import hurry
from irs.domain.jobs import Failure, Job
from irs.settings import Settings
from irs.web import access
from irs.web.cloud import Cloud
from irs.web.estimates import Estimates
from irs.web.idempotency import Keyed
from irs.web.metrics import Metrics
from irs.web.outcomes import LOST, LOST_MESSAGE, Outcome
from irs.web.reuse import Claim
from irs.web.submitting import NOT_TAKEN, Ask, Image, Submitter
from irs.web.waiting import Follower, Pending, Waiting

#: Seconds after which, with half of the wait over, no further file of a request is begun: the
#: threads for them are few, and where S3 or SQS stalls each file takes as long as its timeouts.
BEGIN = 10.0
#: Seconds beyond its wait in which a request is answered whatever stalls, and seconds that it has in
#: all where its wait is short: a send behind others, and its own.
BEYOND, LEAST = 7.0, 23.0
#: Seconds that a file has where the request's are over: one that followed another to the end.
LAST = 1.0


class Dispatcher:
    """Sends and waits; one a process, shared by its threads."""

    def __init__(self, settings: Settings, cloud: Cloud, waiting: Waiting, estimates: Estimates,
                 metrics: Metrics) -> None:
        self._submitter = Submitter(settings, cloud, estimates, metrics)
        self._cloud = cloud
        self._waiting = waiting
        self._estimates = estimates
        self._metrics = metrics

    def classify(self, files: Sequence[Image], seconds: float, gone: Callable[[], bool], *,
                 client: str | None = None, keyed: Keyed | None = None) -> list[Outcome]:
        """One outcome a file, in order, after at most ``seconds``, or `BEYOND` more where storing stalls.

        ``gone`` says whether the client has left, ``client`` whose answers may be given
        again (None: nobody's); ``keyed`` is the idempotency key of a request with one file.
        What goes wrong with one file is its own outcome; nothing is raised for it.
        """
        began = self._waiting.now()
        end = began + max(seconds + BEYOND, LEAST)
        ask = functools.partial(self._cloud.reuse.claim, client=client, follow=seconds > 0)
        submitted = self._each(functools.partial(
            self._submit, by=began + max(BEGIN, seconds / 2), end=end, ask=ask, keyed=keyed), files)
        try:
            self._waiting.until(_pending(submitted), began + seconds - self._waiting.now(), gone)
            if any(isinstance(item, Follower) for item in submitted):
                submitted = self._each(functools.partial(
                    self._settle, keyed, min(self._waiting.now() + BEGIN, end), end), files, submitted)
                self._waiting.until(_pending(submitted), began + seconds - self._waiting.now(), gone)
        finally:
            for job in _pending(submitted):
                job.waiter.close()
        outcomes = [self._outcome(image.name, item)
                    for image, item in zip(files, submitted, strict=True)]
        for item, outcome in zip(submitted, outcomes, strict=True):
            if outcome.result is not None:
                # Only what was sent from here and done by the fleet tells of its pace.
                if isinstance(item, Pending) and item.number is not None and outcome.result.attempts:
                    self._estimates.finished()
                self._cloud.done(outcome.result)
            self._metrics.uploads.labels(outcome.kind).inc()
            access.about(outcome.id, outcome.kind)
        return outcomes

    def known(self, job_id: str, seconds: float, gone: Callable[[], bool], *,
              callback_url: str | None = None) -> Outcome | None:
        """The outcome of a job that was accepted before, here or elsewhere; None: there is none."""
        result = self._cloud.results.read(job_id)
        job = None if result is not None else uploads.find(self._cloud.objects, job_id)
        name = result.image if result is not None else job and job.image
        if name is None:
            return None
        if callback_url is not None:
            self._cloud.callbacks.begin_once(job_id, callback_url)
        if result is not None:
            self._cloud.done(result)
            outcome = Outcome(image=name, id=job_id, result=result)
        else:
            outcome = self._follow(job_id, name, seconds, gone)
        access.about(job_id, outcome.kind)
        return outcome

    def _follow(self, job_id: str, name: str, seconds: float, gone: Callable[[], bool]) -> Outcome:
        self._cloud.upkeep.pending.adopt(job_id)
        pending = Pending(job_id, self._cloud.listener.expect(job_id))
        try:
            self._waiting.until([pending], seconds, gone)
        finally:
            pending.waiter.close()
        return self._outcome(name, pending)

    def _each(self, act: Callable[..., Pending | Outcome],
              *columns: Sequence[Any]) -> list[Pending | Outcome]:
        if len(columns[0]) == 1:  # most requests; a pool's thread would only add a switch
            return [act(*(column[0] for column in columns))]
        return list(self._cloud.pool.map(tracing.carrying(act), *columns))

    def _submit(self, image: Image, *, by: float, end: float, ask: Ask, keyed: Keyed | None,
                job: Job | None = None) -> Pending | Outcome:
        """Submit it before ``end``, unless its turn has come after ``by``."""
        now = self._waiting.now()
        if now > by:
            return Outcome(image=image.name, error=NOT_TAKEN)
        with hurry.within(max(LAST, end - now)):
            return self._submitter.submit(image, ask=ask, keyed=keyed, job=job)

    def _settle(self, keyed: Keyed | None, by: float, end: float, image: Image,
                item: Pending | Outcome) -> Pending | Outcome:
        """Answer a follower with what it waited for, or send it as any other job."""
        if not isinstance(item, Follower):
            return item
        item.waiter.close()

        def ask(job: Job, data: bytes, *, alone: bool) -> Claim:
            return self._cloud.reuse.settle(job, data, item.result)

        return self._submit(image, by=by, end=end, ask=ask, keyed=keyed, job=item.job)

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
