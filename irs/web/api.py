"""``/v1``: the JSON API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, request

from irs import errors
from irs.audit import cancelling
from irs.domain import keys
from irs.domain.jobs import OWN_FAULT, Result, Status
from irs.web import answers, direct, documents, hooks, idempotency, multipart, preferences
from irs.web.describing import BINARY, CALLBACK_URL, IDEMPOTENCY_KEY, JOB_ID, PREFER, TEXT, Param, describes
from irs.web.multipart import Upload
from irs.web.outcomes import CANCELLED, LOST, LOST_MESSAGE, Outcome, place_dict
from irs.web.preferences import Wait
from irs.web.services import services
from irs.web.submitting import Image
from irs.web.uploads import body_read, client, client_gone
from irs.web.waiting import Pending

blueprint = Blueprint("api", __name__, url_prefix="/v1")


@blueprint.post("/images")
@describes(
    "Send one image",
    tag="images",
    about="The image's bytes as the body, or a form with one file; at most "
          "{settings.max_image_bytes:,} bytes and {settings.max_image_pixels:,} pixels. What the file "
          "contains tells its format; its name and its type do not matter. Or, as JSON, where the "
          "image is: in an allowed bucket of S3, or where `POST /v1/uploads` has let it be put.",
    params=(PREFER, IDEMPOTENCY_KEY, CALLBACK_URL,
            Param(name="name", where="query", schema=TEXT, example="test_0.JPEG",
                  about="The image's name, where it is sent as it is.")),
    body={"image/*": BINARY, "application/octet-stream": BINARY, "multipart/form-data": "OneFile",
          "application/json": "InS3 | Uploaded"},
    answers={200: ("The result: `Prefer: wait=N` was sent, and it was there in time.", "Result"),
             202: ("The job, which goes on.", "Queued")},
    refuses=(errors.NoFile, errors.UnsupportedFormat, errors.Undecodable, errors.BucketNotAllowed,
             errors.ObjectDenied, errors.NoSuchObject, errors.NoSuchUpload, errors.NotUploaded,
             errors.CallbacksOff, errors.IdempotencyConflict, (410, CANCELLED.code),
             *((500, code) for code in OWN_FAULT), (504, LOST)),
    example="-H 'Content-Type: image/jpeg' -H 'Prefer: wait=10' --data-binary @test_0.JPEG",
    query="?name=test_0.JPEG",
)
def submit() -> Response:
    """One image: a raw body (``?name=`` names it), a form with one file, or where it is, as JSON.

    ``callback_url``, in the query or the form, is where its result is posted besides.
    202 with the job, or with ``Prefer: wait=N`` and a result in time 200 with the result.
    With an ``Idempotency-Key`` that was seen before, the job is the first request's.
    """
    web = services()
    began = time.monotonic()
    wait = preferences.wait(request.headers, default=0.0)
    keyed = idempotency.of(request.headers, web)
    with web.gate.enter():
        document = documents.received(request.stream) if request.mimetype == documents.JSON else None
        if document is not None and "upload" in document:
            outcome = direct.submit(document, wait.seconds, client_gone())
        else:
            with _image(document) as image:
                body_read()
                (outcome,) = web.dispatcher.classify([image], wait.seconds, client_gone(),
                                                     client=client(), keyed=keyed)
    web.metrics.answered([outcome.kind], began)
    return answers.with_job(_submitted(outcome), [outcome], wait)


def _submitted(outcome: Outcome) -> Response:
    """A job that ended without a label answers like a refusal, and names the job."""
    failure = outcome.failure
    if failure is None:
        return answers.as_json(outcome.as_dict(), outcome.status)
    return answers.problem(outcome.status, failure.code, failure.message,
                           {"id": outcome.id, "location": outcome.location} if outcome.id else None)


@contextlib.contextmanager
def _image(document: dict[str, Any] | None) -> Iterator[Image]:
    """The request's one image, of whose body ``document`` was read; raises `errors.Refused`."""
    if document is not None:
        if "s3" not in document:
            raise errors.BadRequest(
                'say where the image is, {"s3": "s3://bucket/key"} or {"upload": id}')
        image = services().sources.at(document["s3"], documents.text(document, "name"))
        image.callback_url = hooks.asked(documents.text(document, hooks.NAME))
        yield image
        return
    callback = hooks.asked()
    limit = services().settings.max_image_bytes
    kind = request.mimetype
    if kind.startswith("image/") or kind == "application/octet-stream":
        upload = Upload(request.args.get("name"), limit)
        with contextlib.closing(upload):
            while data := request.stream.read(multipart.CHUNK):
                upload.write(data)
            if not upload.size:
                raise errors.NoFile("the image is empty: the request has no body")
            upload.callback_url = callback
            yield upload
        return
    if kind and kind != "multipart/form-data":
        raise errors.UnsupportedFormat(
            "send the image itself as image/*, one file as multipart/form-data, or where it is as "
            "application/json")
    wanted: dict[str, bytes | None] = {hooks.NAME: None}
    with multipart.received(request.stream, request.content_type, max_bytes=limit,
                            max_files=services().settings.max_files, wanted=wanted) as files:
        if len(files) != 1:
            raise errors.BadRequest(f"one image a request, not {len(files)}")
        files[0].callback_url = hooks.asked(wanted[hooks.NAME])
        yield files[0]


@blueprint.get("/images/<text>")
@describes(
    "A job's status, and its result",
    tag="images",
    about="Any web process can be asked. A job that failed is a result too: `status` is `failed`, "
          "`error` says why.",
    params=(JOB_ID, PREFER),
    answers={200: ("The result, or the job while it has none; then `Retry-After` says when to ask "
                   "again.", "Result | Queued")},
    headers=("Retry-After",),
    refuses=((404, Status.UNKNOWN), (504, LOST)),
)
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
        web.cloud.done(result)
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


@blueprint.delete("/images/<text>")
@describes(
    "Cancel a job",
    tag="images",
    about="A job that has no result ends as `cancelled`, and its image is deleted; one that has a "
          "result keeps it. The answer is the result, whichever it is.",
    params=(JOB_ID,),
    answers={200: ("The job's result, which does not change any more.", "Result")},
    refuses=((404, Status.UNKNOWN),),
    example="-X DELETE",
)
def cancel(text: str) -> Response:
    """End a job that has no result so far; answers with the result, whosever it is."""
    web = services()
    try:
        job_id = keys.parse_id(text)
    except ValueError:
        return _unknown()
    result = cancelling.cancel(job_id, web.cloud.objects, web.cloud.results, web.cloud.announce)
    if result is None:
        return _unknown()
    web.cloud.done(result)
    return answers.as_json(result.as_dict())


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
