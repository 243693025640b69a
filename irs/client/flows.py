"""What each method of a client does, as a generator: it yields requests and pauses, and is sent answers.

Both shells run the same flows: one waits, the other awaits. Nothing here does I/O, so that
a test can be the service.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from irs.client import errors, images, wire
from irs.client.images import Body, Bytes, Image
from irs.client.records import Batch, Job
from irs.client.repeats import Flow, Repeats, replied
from irs.client.wire import Reply, Request
from irs.domain.jobs import Result, Status

#: Seconds of a poll below which the service did not wait: the next one must not follow at once.
PROMPT = 1.0
#: Seconds that the service may take over a batch: it stores all of the images before it answers.
BATCH = 600
#: Seconds between two looks at a batch: at least, at most.
LOOK, LOOK_MOST = 0.5, 5.0


class Flows:
    """The flows of one client: see `irs.client.repeats.Repeats` for the arguments."""

    def __init__(self, *, retries: int, clock: Callable[[], float] = time.monotonic,
                 jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._repeats = Repeats(retries=retries, clock=clock, jitter=jitter)

    # -- images --------------------------------------------------------------------------
    def classify(self, image: Image, *, name: str | None, wait: float) -> Flow[Result]:
        """Send an image and wait for its label."""
        deadline = self._clock() + wait
        job = yield from self._sent(image, name, deadline)
        return wire.labelled((yield from self._followed(job, deadline, wait)))

    def submit(self, image: Image, *, name: str | None) -> Flow[Job]:
        """Send an image."""
        return (yield from self._sent(image, name, None))

    def wait(self, job_id: str, *, timeout: float) -> Flow[Result]:
        """Wait for a job's label."""
        deadline = self._clock() + timeout
        with _about(job_id):
            reply = yield from self._repeats.ask(lambda left: _get(_image(job_id), left), deadline)
            job = wire.job(reply)
        return wire.labelled((yield from self._followed(job, deadline, timeout)))

    def get(self, job_id: str) -> Flow[Job]:
        """A job as it stands."""
        return wire.job((yield from self._repeats.ask(lambda _: _get(_image(job_id)))))

    def cancel(self, job_id: str) -> Flow[Result]:
        """End a job that has not started."""
        request = Request(method="DELETE", path=_image(job_id))
        return wire.result((yield from self._repeats.ask(lambda _: request)))

    def _sent(self, image: Image, name: str | None, deadline: float | None) -> Flow[Job]:
        named = "" if name is None else name
        if address := images.s3_address(image):
            body, kind = _json({"s3": address})
            query = f"?name={wire.quoted(named)}" if named else ""
        else:
            body, kind = images.body_of(image), "application/octet-stream"
            query = f"?name={wire.quoted(named or images.name_of(image))}"
        reply = yield from self._repeats.post(f"/v1/images{query}", body, kind, deadline)
        if reply.status in wire.BUSY and reply.id:
            # It is stored, and the service sends it on; to send it again would be too much.
            yield self._repeats.pause(self._repeats.delay(0, reply), deadline)
            return Job(id=reply.id, status=Status.QUEUED)
        return wire.job(reply)

    def _followed(self, job: Job, deadline: float, wait: float) -> Flow[Result]:
        path = _image(job.id)
        with _about(job.id):
            while job.result is None:
                asked = self._clock()
                if asked >= deadline:
                    raise errors.TimedOut(f"no result after {wait:g} s, the job goes on", id=job.id)
                reply = yield from self._repeats.ask(lambda left: _get(path, left), deadline)
                job = wire.job(reply)
                if job.result is None and self._clock() - asked < PROMPT:
                    yield self._repeats.pause(reply.retry_after or wire.RETRY_AFTER, deadline)
        return job.result

    # -- batches -------------------------------------------------------------------------
    def batch(self, given: str | Path | Sequence[Image]) -> Flow[Batch]:
        """Send many images as one piece of work."""
        body, kind = _many(given)
        return wire.batch((yield from self._repeats.post("/v1/batches", body, kind, None, patience=BATCH)))

    def get_batch(self, batch_id: str) -> Flow[Batch]:
        """A batch as it stands."""
        return wire.batch((yield from self._repeats.ask(lambda _: _get(_batch(batch_id)))))

    def cancel_batch(self, batch_id: str) -> Flow[Batch]:
        """End what of a batch has not started."""
        request = Request(method="DELETE", path=_batch(batch_id))
        return wire.batch((yield from self._repeats.ask(lambda _: request)))

    def wait_batch(self, batch_id: str, *, timeout: float | None,
                   on_look: Callable[[Batch], object]) -> Flow[Batch]:
        """Wait for the last result of a batch."""
        deadline = self._clock() + (math.inf if timeout is None else timeout)
        with _about(batch_id):
            while True:
                reply = yield from self._repeats.ask(lambda _: _get(_batch(batch_id)), deadline)
                batch = wire.batch(reply)
                on_look(batch)
                if batch.finished is not None:
                    return batch
                if self._clock() >= deadline:
                    raise errors.TimedOut(f"{batch.settled} of {batch.total} images after {timeout:g} s, "
                                          "the batch goes on", id=batch_id)
                pause = min(LOOK_MOST, max(LOOK, (batch.estimate_seconds or 0) / 4))
                yield self._repeats.pause(pause, deadline)

    def results(self, batch_id: str, *, status: str | None, start: int) -> Flow[Reply]:
        """Open the stream of a batch's results."""
        only = f"&status={wire.quoted(status)}" if status else ""
        request = Request(method="GET", path=f"{_batch(batch_id)}/results?start={start}{only}",
                          headers={"Accept": "application/x-ndjson"})
        reply = yield from self._repeats.ask(lambda _: request)
        if reply.status != 200:
            wire.refuse(reply)
        return reply

    # -- the service ---------------------------------------------------------------------
    def told(self, path: str) -> Flow[Mapping[str, Any]]:
        """What the service says of itself there."""
        return wire.said((yield from self._repeats.ask(lambda _: _get(path))))

    def health(self, path: str) -> Flow[str]:
        """Raises `errors.Overloaded` where the service says that it is not ready."""
        answer = yield _get(path)  # 503 is the answer here, and no reason to ask again
        reply = replied(answer)
        if reply.status != 200:
            wire.refuse(reply)
        return reply.content.decode("utf-8", "replace").strip()

@contextlib.contextmanager
def _about(known: str) -> Iterator[None]:
    """Errors name the job or batch that they belong to."""
    try:
        yield
    except errors.ClientError as exc:
        exc.id = exc.id or known
        raise


def _get(path: str, wait: float = 0.0) -> Request:
    return Request(method="GET", path=path, headers=wire.prefer(wait), wait=wire.whole(wait))


def _image(job_id: str) -> str:
    return f"/v1/images/{wire.quoted(job_id)}"


def _batch(batch_id: str) -> str:
    return f"/v1/batches/{wire.quoted(batch_id)}"


def _json(value: object) -> tuple[Body, str]:
    return Bytes(json.dumps(value).encode()), "application/json"


def _many(given: str | Path | Sequence[Image]) -> tuple[Body, str]:
    """A prefix in S3, an archive, addresses in S3, or images."""
    if isinstance(given, str | Path):
        if prefix := images.s3_address(given):
            return _json({"s3": prefix})
        if str(given).lower().endswith(".zip"):
            return images.body_of(given), "application/zip"
        given = [given]
    addresses = [address for image in given if (address := images.s3_address(image))]
    if addresses and len(addresses) < len(given):
        raise errors.Unreadable("a batch is of images here or of images in S3, not of both")
    if addresses:
        return _json({"images": addresses})
    form = images.form(given)
    return form, form.kind
