"""``/v1/batches``: many images at once, and what has become of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

from flask import Blueprint, Response, abort, request

from irs import errors
from irs.bulk import hold, lines
from irs.domain import keys
from irs.domain.bulk import Batch
from irs.domain.callbacks import BATCH
from irs.domain.jobs import Status
from irs.web import answers, contents, gathering, hooks, idempotency
from irs.web.bulk import describe
from irs.web.describing import BINARY, CALLBACK_URL, IDEMPOTENCY_KEY, TEXT, Param, describes
from irs.web.services import services

NDJSON, CSV = "application/x-ndjson", "text/csv"
#: Statuses that results can be asked for by.
OFFERED = (Status.QUEUED, Status.DONE, Status.FAILED, Status.CANCELLED)
BATCH_ID = Param(name="id", where="path", about="The batch, by its id.",
                 schema={"type": "string", "format": "uuid"},
                 example="3f1d2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11")

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")


@blueprint.post("")
@describes(
    "Send many images",
    tag="batches",
    about="At most {settings.max_batch_images:,} images, as a form's files (of which a `.zip` is taken "
          "for what is in it), a zip, or addresses in S3; at most {settings.max_batch_bytes:,} bytes, each "
          "image as for `POST /v1/images`. They go to the queue as fast as it drains, behind whoever "
          "uploads one. An image that is refused is a member of the batch that has failed.",
    params=(IDEMPOTENCY_KEY, CALLBACK_URL),
    body={"multipart/form-data": "Form", "application/zip": BINARY,
          "application/json": "Below | Addresses"},
    answers={202: ("All that was sent is stored, and the batch runs.", "Batch")},
    refuses=(errors.NoFile, errors.UnsupportedFormat, errors.BucketNotAllowed, errors.ObjectDenied,
             errors.NoSuchObject, errors.CallbacksOff, errors.IdempotencyConflict),
    example="-H 'Content-Type: application/zip' --data-binary @photos.zip",
)
def create() -> Response:
    """Store a batch, and answer at once: its images are sent as fast as the queue drains."""
    web = services()
    request.max_content_length = web.settings.max_batch_bytes
    keyed = idempotency.of(request.headers, web)
    callback_url = hooks.asked()
    with web.gate.enter():
        document = contents.document()
        batch_id = keys.new_id()
        if keyed is not None:
            batch_id = keyed.claim(gathering.fingerprint(document), batch_id).id
        there = web.bulk.batches.read(batch_id) if keyed is not None and keyed.repeats else None
        batch = there or gathering.create(batch_id, callback_url, keyed, document)
    if keyed is not None:
        keyed.begun()
    web.bulk.feeder.poke()
    response = answers.as_json(describe(batch), 202)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    response.headers["Retry-After"] = str(web.estimates.retry_after())
    return response


# -- what comes out ------------------------------------------------------------------------------
@blueprint.get("/<batch>")
@describes(
    "How far a batch is",
    tag="batches",
    params=(BATCH_ID,),
    answers={200: ("Its counts, some seconds old at most.", "Batch")},
    headers=("Retry-After",),
    refuses=((404, Status.UNKNOWN),),
)
def status(batch: str) -> Response:
    """How far a batch is."""
    return _described(_find(batch))


@blueprint.delete("/<batch>")
@describes(
    "Cancel what of a batch has not been sent",
    tag="batches",
    about="What was sent finishes; then the batch has `finished`, and its counts are final.",
    params=(BATCH_ID,),
    answers={200: ("Nothing more is sent. A batch that had finished stays as it was.", "Batch")},
    headers=("Retry-After",),
    refuses=((404, Status.UNKNOWN),),
    example="-X DELETE",
)
def cancel(batch: str) -> Response:
    """Send nothing more of a batch; what was sent finishes."""
    web = services()
    found = hold.cancel(web.bulk.batches, _parse(batch), datetime.now(UTC))
    if found is None:
        _unknown()
    web.bulk.feeder.cancelled(found.id)
    return _described(found)


@blueprint.get("/<batch>/results")
@describes(
    "Read a batch's results",
    tag="batches",
    about="A line an image, in the order of the batch, at any time; what has no result has its status. "
          "JSON Lines, or a table for `Accept: text/csv`. Streamed: one that breaks off is read on with "
          "`start`.",
    params=(BATCH_ID,
            Param(name="status", where="query", about="Only those of this status.",
                  schema={"type": "string", "enum": [str(status) for status in OFFERED]}),
            Param(name="start", where="query", about="From the image of this number on.",
                  schema={"type": "integer", "minimum": 0, "maximum": 999_999_999})),
    answers={200: ("The lines.", {NDJSON: TEXT, CSV: TEXT})},
    refuses=(errors.BadRequest, (404, Status.UNKNOWN)),
)
def results(batch: str) -> Response:
    """The members with their results, in order: JSON Lines or CSV, streamed."""
    web = services()
    found = _find(batch)
    wanted, start = _filter()
    table = request.accept_mimetypes.best_match((NDJSON, CSV)) == CSV
    if not web.bulk.streams.acquire(blocking=False):
        raise errors.Overloaded("too many results are being read, try again later",
                                retry_after=web.estimates.retry_after())
    with contextlib.ExitStack() as stack:
        stack.callback(web.bulk.streams.release)
        each = lines.lines(web.bulk.batches, web.cloud.results, found, web.bulk.pool,
                           status=wanted, start=start)
        blocks = lines.in_blocks((lines.as_csv if table else lines.as_ndjson)(each))
        # What fails at once is still an answer of its own; later it can only break off.
        first = next(blocks, b"")
        response = Response(_streamed(first, blocks), content_type=(
            f"{CSV}; charset=utf-8; header=present" if table else NDJSON))
        response.call_on_close(stack.pop_all().close)
    return response


def _streamed(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _filter() -> tuple[Status | None, int]:
    """``?status=`` and ``?start=``; raises `errors.BadRequest`."""
    given, start = request.args.get("status"), request.args.get("start", "0")
    if given is not None and given not in OFFERED:
        raise errors.BadRequest(f"status is one of {', '.join(OFFERED)}")
    if not (start.isascii() and start.isdigit() and len(start) < 10):
        raise errors.BadRequest("start is the number of the first image that is wanted, from 0 on")
    return Status(given) if given is not None else None, int(start)


# -- its callback ------------------------------------------------------------------------------
@blueprint.get("/<batch>/callback")
@describes("What became of a batch's callback", tag="batches", params=(BATCH_ID,),
           answers={200: ("How it stands.", "Callback")},
           refuses=(errors.CallbacksOff, (404, Status.UNKNOWN)))
def callback(batch: str) -> Response:
    """What became of a batch's callback."""
    return hooks.report(batch, BATCH)


@blueprint.post("/<batch>/callback")
@describes("Make a batch's callback once more", tag="batches", params=(BATCH_ID,), example="-X POST",
           about="For a receiver that is mended. One that is still being tried goes on as it is.",
           answers={202: ("How it stands.", "Callback")},
           refuses=(errors.CallbacksOff, (404, Status.UNKNOWN)))
def call_again(batch: str) -> Response:
    """Makes a batch's callback once more."""
    return hooks.repeat(batch, BATCH)


def _parse(text: str) -> str:
    try:
        return keys.parse_id(text)
    except ValueError:
        _unknown()


def _find(text: str) -> Batch:
    batch = services().bulk.batches.read(_parse(text))
    if batch is None:
        _unknown()
    return batch


def _unknown() -> NoReturn:
    abort(answers.problem(404, str(Status.UNKNOWN), "no such batch"))


def _described(batch: Batch) -> Response:
    response = answers.as_json(describe(batch))
    if batch.finished is None:
        response.headers["Retry-After"] = str(services().estimates.retry_after())
    return response
