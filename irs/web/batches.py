"""``/v1/batches``: many images at once, and what has become of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

from flask import Blueprint, Response, abort, request

from irs import errors, log, tracing
from irs.bulk import hold, lines
from irs.domain import bulk, claims, images, keys
from irs.domain.bulk import Batch
from irs.domain.callbacks import BATCH
from irs.domain.jobs import Status
from irs.domain.pacing import Backlog
from irs.settings import Settings
from irs.web import access, answers, contents, hooks, idempotency
from irs.web.bulk import describe
from irs.web.describing import BINARY, CALLBACK_URL, IDEMPOTENCY_KEY, TEXT, Param, describes
from irs.web.intake import Intake
from irs.web.services import services

NDJSON, CSV = "application/x-ndjson", "text/csv"
#: Statuses that results can be asked for by.
OFFERED = (Status.QUEUED, Status.DONE, Status.FAILED, Status.CANCELLED)
BATCH_ID = Param(name="id", where="path", about="The batch, by its id.",
                 schema={"type": "string", "format": "uuid"},
                 example="3f1d2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11")

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")
_log = log.get("web")


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
        batch_id = keys.new_id() if keyed is None else keyed.claim(_fingerprint(document), keys.new_id()).id
        there = web.bulk.batches.read(batch_id) if keyed is not None and keyed.repeats else None
        batch = there or _create(batch_id, callback_url, keyed, document)
    if keyed is not None:
        keyed.begun()
    web.bulk.feeder.poke()
    response = answers.as_json(describe(batch), 202)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    response.headers["Retry-After"] = str(web.estimates.retry_after())
    return response


def _fingerprint(document: bytes | None) -> str:
    """What makes two requests the same: a document's bytes, else the type and the length.

    Files may have a gigabyte. A form's boundary is new with each sending, but with one client
    of one length.
    """
    body = str(request.content_length).encode() if document is None else document
    return claims.fingerprint("batch", request.mimetype.encode(), body)


def _create(batch_id: str, callback_url: str | None, keyed: idempotency.Keyed | None,
            document: bytes | None) -> Batch:
    web = services()
    batches = web.bulk.batches
    # Before anything is stored, so that whatever happens it is known whose it was.
    batches.tell(batch_id, Backlog(at=datetime.now(UTC)))
    intake = _intake(batch_id, web.settings)
    try:
        batch = _received(intake, batch_id, document)
        if callback_url is not None:
            # In S3 before any image is sent: what is done, and promised, is called back.
            web.cloud.callbacks.begin(batch_id, callback_url, about=BATCH)
    except Exception as exc:
        with contextlib.suppress(errors.CloudError):
            if keyed is None or _is_last(exc, keyed, batch_id):
                intake.withdraw()
                batches.ended(batch_id)
        if isinstance(exc, errors.OutOfMemory):
            raise errors.Overloaded(str(exc), retry_after=web.estimates.retry_after()) from exc
        raise
    tracing.remember(batch_id, tracing.place())
    access.about_batch(batch_id)
    _log.info("batch.accepted", batch=batch_id, total=batch.total, source=batch.source)
    return batches.create(batch)


def _is_last(exc: Exception, keyed: idempotency.Keyed, batch_id: str) -> bool:
    """Whether nobody else needs what a request with a key has stored.

    What bears the same key may be arriving beside it and share that. But what is refused is
    so each time; and a repeat may be another request than it says, of the same length.
    """
    return (isinstance(exc, errors.Refused) and not isinstance(exc, errors.IdempotencyConflict)
            and not keyed.repeats
            and services().bulk.batches.read(batch_id) is None)


def _intake(batch_id: str, settings: Settings) -> Intake:
    web = services()
    limits = images.Limits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    return Intake(batch_id, web.bulk.batches, web.cloud.objects, web.bulk.pool, limits,
                  most=settings.max_batch_images)


def _received(intake: Intake, batch_id: str, document: bytes | None) -> Batch:
    """The batch that the request's body is; raises `errors.Refused`."""
    web = services()
    source = contents.received(intake, web.settings, web.sources, document)
    total = intake.finish()
    listed = source in (bulk.FILES, bulk.LIST)
    if not total and listed:
        raise errors.NoFile("no image in the request")
    return Batch(id=batch_id, created=datetime.now(UTC), source=source, total=total, listed=listed)


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
