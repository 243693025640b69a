"""``/v1``: the JSON API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, request

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Result, Status
from irs.web import answers, multipart, preferences
from irs.web.multipart import Upload
from irs.web.outcomes import LOST, LOST_MESSAGE, Outcome, place_dict
from irs.web.preferences import Wait
from irs.web.services import services
from irs.web.uploads import client, client_gone
from irs.web.waiting import Pending

blueprint = Blueprint("api", __name__, url_prefix="/v1")


@blueprint.post("/images")
def submit() -> Response:
    """One image: a raw body (``?name=`` names it) or a form with one file.

    202 with the job, or with ``Prefer: wait=N`` and a result in time 200 with the result.
    """
    web = services()
    began = time.monotonic()
    wait = preferences.wait(request.headers, default=0.0)
    with web.gate.enter(), _image() as upload:
        (outcome,) = web.dispatcher.classify([upload], wait.seconds, client_gone(), client=client())
    web.metrics.seconds.observe(time.monotonic() - began)
    return answers.with_job(_submitted(outcome), [outcome], wait)


def _submitted(outcome: Outcome) -> Response:
    """A job that ended without a label answers like a refusal, and names the job."""
    failure = outcome.failure
    if failure is None:
        return answers.as_json(outcome.as_dict(), outcome.status)
    return answers.problem(outcome.status, failure.code, failure.message,
                           {"id": outcome.id, "location": outcome.location} if outcome.id else None)


@contextlib.contextmanager
def _image() -> Iterator[Upload]:
    """The request's one image; raises `errors.Refused`."""
    limit = services().settings.max_image_bytes
    kind = request.mimetype
    if kind.startswith("image/") or kind == "application/octet-stream":
        upload = Upload(request.args.get("name"), limit)
        with contextlib.closing(upload):
            while data := request.stream.read(multipart.CHUNK):
                upload.write(data)
            if not upload.size:
                raise errors.NoFile("the request has no body: send the image's bytes")
            yield upload
        return
    if kind and kind != "multipart/form-data":
        raise errors.UnsupportedFormat(
            "send the image itself as image/*, or one file as multipart/form-data")
    with multipart.received(request.stream, request.content_type, max_bytes=limit,
                            max_files=services().settings.max_files) as files:
        if len(files) != 1:
            raise errors.BadRequest(f"one image a request, not {len(files)}")
        yield files[0]


@blueprint.get("/images/<text>")
def status(text: str) -> Response:
    """A job's status, and its result once there is one; ``Prefer: wait=N`` waits for it."""
    web = services()
    try:
        job_id = keys.parse_id(text)
    except ValueError:
        return _unknown()
    wait = preferences.wait(request.headers, default=0.0)
    result = web.cloud.results.read(job_id)
    if result is None:
        if next(web.cloud.objects.keys(f"{job_id}/"), None) is None:
            return _unknown()
        web.cloud.upkeep.pending.adopt(job_id)
        if wait.seconds:
            result = _poll(job_id, wait)
    if result is not None:
        web.cloud.upkeep.pending.done(job_id)
        response = answers.as_json(result.as_dict())
    elif web.cloud.upkeep.pending.is_lost(job_id):
        response = answers.problem(504, LOST, LOST_MESSAGE, {
            "id": job_id, "location": f"/v1/images/{job_id}"})
        response.headers["Retry-After"] = str(web.estimates.retry_after())
    else:
        place = web.estimates.place()
        body: dict[str, Any] = {"id": job_id, "status": str(Status.QUEUED),
                                "location": f"/v1/images/{job_id}", **place_dict(place)}
        response = answers.as_json(body)
        response.headers["Retry-After"] = str(web.estimates.retry_after(place))
    if wait.applied:
        response.headers["Preference-Applied"] = wait.applied
    return response


def _poll(job_id: str, wait: Wait) -> Result | None:
    web = services()
    with web.gate.enter():
        job = Pending(job_id, web.cloud.listener.expect(job_id))
        try:
            web.waiting.until([job], wait.seconds, client_gone())
        finally:
            job.waiter.close()
    return job.result


def named(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """The job that a request asks for, as an error names it; empty where it asks for none."""
    try:
        job_id = keys.parse_id((arguments or {}).get("text"))
    except ValueError:
        return {}
    return {"id": job_id, "location": f"/v1/images/{job_id}"}


def _unknown() -> Response:
    return answers.problem(404, str(Status.UNKNOWN), "no such image")
