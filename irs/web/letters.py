"""``/v1/dead-letters``: what nobody could classify, for an operator.

Who may come here is `irs.web.admission`'s: these are other people's images.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request

from irs import __version__, errors
from irs.audit.redrive import Driven, Fate
from irs.domain import keys
from irs.domain.jobs import Status, stamp
from irs.web import answers, documents
from irs.web.describing import BINARY, JOB_ID, Param, describes
from irs.web.desk import MOST, Shown
from irs.web.services import services

#: Letters of an answer where nobody says how many.
USUAL = 50
#: Ids that one request may name.
NAMED = 1_000
_PLACEHOLDER = Path(__file__).parent / "static" / "no-picture.svg"

blueprint = Blueprint("letters", __name__, url_prefix="/v1/dead-letters")


@blueprint.get("")
@describes(
    "The dead letters",
    tag="operator",
    about="Images whose message was received {settings.max_receive_count} times and never finished, "
          "newest first. Everybody who asks within five seconds gets the same look, which takes one.",
    params=(Param(name="limit", where="query", example=50, about="At most so many.",
                  schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}),),
    answers={200: ("Those that there are.", "DeadLetters")},
    refuses=(errors.BadRequest, errors.Forbidden),
)
def shown() -> Response:
    """The newest, each with the reason that its job's failure gives."""
    limit = _limit(request.args.get("limit", str(USUAL)))
    table = services().desk.look()
    return answers.as_json({"total": table.there, "partial": table.partial,
                            "letters": [_row(row) for row in table.rows[:limit]]})


@blueprint.post("/redrive")
@describes(
    "Send dead letters back to the queue",
    tag="operator",
    about="By the ids of their jobs, or all. The failure that stands for each is removed and its message "
          "sent as it was, before the letter is deleted; `irs redrive` does the same. A request handles "
          "500 letters or 15 seconds' worth, and says with `more` that others are left. Safe to repeat.",
    body={"application/json": "RedriveSome | RedriveAll"},
    answers={200: ("What became of each.", "Redriven")},
    refuses=(errors.Forbidden, errors.UnsupportedFormat),
    example="-H 'Content-Type: application/json' -d '{{\"all\": true}}'",
)
def redrive() -> Response:
    """``{"ids": […]}`` or ``{"all": true}``, as JSON only: no form of another site's page sends that."""
    if request.mimetype != documents.JSON:
        raise errors.UnsupportedFormat("send application/json")
    driven, more = services().desk.redrive(_wanted(documents.received(request.stream)))
    counts = Counter(_word(item.fate) for item in driven)
    return answers.as_json({
        "outcomes": [_outcome(item) for item in driven],
        "counts": {_word(fate): counts[_word(fate)] for fate in Fate}, "more": more})


@blueprint.get("/<text>/thumbnail")
@describes(
    "A dead letter's picture",
    tag="operator",
    about="The square in its middle, as the model would have seen it, 160 pixels wide.",
    params=(JOB_ID,),
    answers={200: ("A JPEG; or a drawing where the image cannot be decoded, or is not there any more.",
                   {"image/jpeg": BINARY, "image/svg+xml": BINARY}),
             304: ("The one that `If-None-Match` names is the present one.", None)},
    headers=("ETag",),
    refuses=(errors.Forbidden, (404, Status.UNKNOWN)),
)
def thumbnail(text: str) -> Response:
    """Of a job that has failed, and of no other."""
    web = services()
    try:
        job_id = keys.parse_id(text)
    except ValueError:
        return _unknown()
    result = web.cloud.results.read(job_id)
    if result is None or result.status is not Status.FAILED:
        return _unknown()
    # An id's image never changes, and its picture with our code alone.
    tags = {made: f"{job_id}-{__version__}-{made:d}" for made in (True, False)}
    if known := [tag for tag in tags.values() if request.if_none_match.contains(tag)]:
        return _tagged(Response(status=304), known[0])
    picture = web.thumbnails.of(job_id, lambda: _upload(job_id))
    if picture is None:
        return _tagged(Response(_PLACEHOLDER.read_bytes(), content_type="image/svg+xml"), tags[False])
    return _tagged(Response(picture, content_type="image/jpeg"), tags[True])


def _upload(job_id: str) -> bytes | None:
    """The bytes of the job's image; None where there are none, or too many."""
    web = services()
    try:
        key = next(iter(web.cloud.objects.keys(f"{job_id}/")), None)
        return key and web.cloud.objects.get(key, max_bytes=web.settings.max_image_bytes)
    except errors.NoBucket:
        raise
    except (errors.NotFound, errors.TooLarge):
        return None


def _tagged(response: Response, tag: str) -> Response:
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _unknown() -> Response:
    return answers.problem(404, str(Status.UNKNOWN), "no such dead letter")


def _row(row: Shown) -> dict[str, Any]:
    letter, result, job = row.letter, row.result, row.letter.job
    return {
        "id": job.id if job else letter.message.id, "job": job is not None,
        "image": job.image if job else None, "received": stamp(job.received) if job else None,
        "sent": stamp(datetime.fromtimestamp(letter.message.sent_ms / 1000, UTC)),
        "finished": (result.times.get("finished") if result else None),
        "status": str(result.status if result else Status.QUEUED) if job else None,
        "attempts": result.attempts if result else None,
        "error": {"code": result.error.code, "message": result.error.message}
        if result and result.error else None,
        "thumbnail": f"{blueprint.url_prefix}/{job.id}/thumbnail" if job else None,
    }


def _word(fate: Fate) -> str:
    """For a program; the fate's own words are for a person."""
    return fate.name.lower()


def _outcome(item: Driven) -> dict[str, str]:
    return {"id": item.id, "fate": _word(item.fate), "message": item.why or str(item.fate)}


def _wanted(document: dict[str, Any]) -> frozenset[str] | None:
    """The jobs that are named; None: all. Raises `errors.BadRequest`."""
    ids = document.get("ids")
    if document.get("all") is True and ids is None:
        return None
    if not isinstance(ids, list) or not ids or "all" in document:
        raise errors.BadRequest('name the jobs, {"ids": [id, …]}, or all of them, {"all": true}')
    if len(ids) > NAMED:
        raise errors.BadRequest(f"at most {NAMED:,} ids a request, not {len(ids):,}")
    try:
        return frozenset(map(keys.parse_id, ids))
    except ValueError:
        raise errors.BadRequest("an id has 36 characters, as in 7f3c2a90-…") from None


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MOST:
        return int(text)
    raise errors.BadRequest(f"limit is a number from 1 to {MOST}")
