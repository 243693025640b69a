"""``/v1/batches``: many images at once, and what has become of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

from flask import Blueprint, Response, abort, request

from irs import errors, log
from irs.bulk import hold, lines
from irs.domain import bulk, images, keys
from irs.domain.bulk import Batch
from irs.domain.jobs import Status, stamp
from irs.domain.pacing import Backlog
from irs.settings import Settings
from irs.web import admission, answers, contents
from irs.web.intake import Intake
from irs.web.services import services

NDJSON, CSV = "application/x-ndjson", "text/csv"

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")
_log = log.get("web")


@blueprint.post("")
def create() -> Response:
    """Store a batch, and answer at once: its images are sent as fast as the queue drains."""
    web = services()
    request.max_content_length = web.settings.max_batch_bytes
    batch_id, again = _batch_id()
    with web.gate.enter():
        batch = (web.bulk.batches.read(batch_id) if again else None) or _create(batch_id, again)
    web.bulk.feeder.poke()
    response = answers.as_json(describe(batch), 202)
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    response.headers["Retry-After"] = str(web.estimates.retry_after())
    return response


def _batch_id() -> tuple[str, bool]:
    """A new id; with ``Idempotency-Key`` that of the client and the key, which may be there already."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return keys.new_id(), False
    owner = admission.secret(lambda name: request.headers.get(name, ""))[0]
    return bulk.keyed_id(owner, key), True


def _create(batch_id: str, again: bool) -> Batch:
    web = services()
    batches = web.bulk.batches
    # Before anything is stored, so that whatever happens it is known whose it was.
    batches.tell(batch_id, Backlog(at=datetime.now(UTC)))
    intake = _intake(batch_id, web.settings)
    try:
        batch = _received(intake, batch_id)
    except Exception as exc:
        # What bears the same key may be arriving beside this and share what is stored.
        if not again:
            intake.withdraw()
            with contextlib.suppress(errors.CloudError):
                batches.ended(batch_id)
        if isinstance(exc, errors.OutOfMemory):
            raise errors.Overloaded(str(exc), retry_after=web.estimates.retry_after()) from exc
        raise
    _log.info("batch.accepted", batch=batch_id, total=batch.total, source=batch.source)
    return batches.create(batch)


def _intake(batch_id: str, settings: Settings) -> Intake:
    web = services()
    limits = images.Limits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    return Intake(batch_id, web.bulk.batches, web.cloud.objects, web.bulk.pool, limits,
                  most=settings.max_batch_images)


def _received(intake: Intake, batch_id: str) -> Batch:
    """The batch that the request's body is; raises `errors.Refused`."""
    web = services()
    source = contents.received(intake, web.settings, web.sources)
    total = intake.finish()
    listed = source in (bulk.FILES, bulk.LIST)
    if not total and listed:
        raise errors.NoFile("no image in the request")
    return Batch(id=batch_id, created=datetime.now(UTC), source=source, total=total, listed=listed)


# -- what comes out ------------------------------------------------------------------------------
@blueprint.get("/<batch>")
def status(batch: str) -> Response:
    """How far a batch is."""
    return _described(_find(batch))


@blueprint.delete("/<batch>")
def cancel(batch: str) -> Response:
    """Send nothing more of a batch; what was sent finishes."""
    web = services()
    found = hold.cancel(web.bulk.batches, _parse(batch), datetime.now(UTC))
    if found is None:
        _unknown()
    web.bulk.feeder.cancelled(found.id)
    return _described(found)


@blueprint.get("/<batch>/results")
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
    offered = (Status.QUEUED, Status.DONE, Status.FAILED, Status.CANCELLED)
    if given is not None and given not in offered:
        raise errors.BadRequest(f"status is one of {', '.join(offered)}")
    if not (start.isascii() and start.isdigit() and len(start) < 10):
        raise errors.BadRequest("start is the number of the first image that is wanted, from 0 on")
    return Status(given) if given is not None else None, int(start)


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


def describe(batch: Batch) -> dict[str, Any]:
    """The batch as JSON."""
    location = f"/v1/batches/{batch.id}"
    out: dict[str, Any] = {
        "id": batch.id, "status": str(batch.phase), "total": batch.total, "counts": batch.counts(),
        "created": stamp(batch.created), "source": batch.source, "location": location,
        "results": f"{location}/results"}
    if batch.finished is not None:
        out["finished"] = stamp(batch.finished)
    else:
        out["rate"] = round(batch.rate, 2)
        if batch.estimate is not None:
            out["estimate_seconds"] = round(batch.estimate, 1)
    if batch.truncated:
        out["truncated"] = True
    return out
