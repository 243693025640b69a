"""``POST /v1/uploads``: a place in S3 for an image that its client puts there itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from irs import errors
from irs.domain import keys
from irs.domain.jobs import Failure, stamp
from irs.web import answers, documents, hooks
from irs.web.describing import describes
from irs.web.outcomes import Outcome
from irs.web.services import services
from irs.web.uploads import client

#: What is said of an upload whose job another request may have made in this moment.
_GONE = (errors.NoSuchUpload.code, errors.NotUploaded.code)

blueprint = Blueprint("direct", __name__, url_prefix="/v1")


@blueprint.post("/uploads")
@describes(
    "Announce an image that goes to S3 directly",
    tag="images",
    about="The answer says where to PUT the bytes, with which headers, and until when. Then "
          '`POST /v1/images` with `{{"upload": id}}` makes the job, which has the same id.',
    body={documents.JSON: "Announced"},
    answers={201: ("Where to put it.", "Ticket")},
    headers=("Location",),
    refuses=(errors.UnsupportedFormat,),
    example="""-H 'Content-Type: application/json' -d '{"name": "test_0.JPEG", "size": 110000}'""",
)
def announce() -> Response:
    """201 with the address for the bytes, and where the job will be once it is asked for."""
    document = documents.received(request.stream)
    ticket, url = services().staging.announce(
        documents.text(document, "name"), document.get("size"), documents.text(document, "content_type"))
    location = f"/v1/images/{ticket.id}"
    response = answers.as_json({
        "id": ticket.id, "method": "PUT", "url": url, "headers": {"Content-Type": ticket.content_type},
        "size": ticket.size, "expires": stamp(ticket.expires), "location": location}, 201)
    response.headers["Location"] = location
    return response


def submit(document: dict[str, Any], seconds: float, gone: Callable[[], bool]) -> Outcome:
    """The outcome of the upload's job, which is made if it is not there; raises `errors.Refused`.

    ``seconds`` and ``gone`` are those of `irs.web.dispatch.Dispatcher.classify`.
    """
    web = services()
    if "s3" in document:
        raise errors.BadRequest("say where the image is, s3 or upload, not both")
    try:
        upload_id = keys.parse_id(document["upload"])
    except ValueError:
        raise errors.BadRequest("upload is not the id of an upload") from None
    callback_url = hooks.asked(documents.text(document, hooks.NAME))
    outcome = _made(upload_id, callback_url, seconds, gone)
    if outcome.error is None or outcome.error.code not in _GONE:
        return outcome
    return web.dispatcher.known(upload_id, seconds, gone, callback_url=callback_url) or outcome


def _made(upload_id: str, callback_url: str | None, seconds: float, gone: Callable[[], bool]) -> Outcome:
    web = services()
    try:
        image = web.staging.find(upload_id)
    except errors.NoSuchUpload as exc:
        return Outcome(image=upload_id, error=Failure(code=exc.code, message=str(exc)))
    image.callback_url = callback_url
    (outcome,) = web.dispatcher.classify([image], seconds, gone, client=client())
    if outcome.error is None:
        web.staging.forget(image)
    return outcome
