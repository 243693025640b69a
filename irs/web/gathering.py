"""A batch from a request: its images stored and its record written, or all of it withdrawn."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from flask import request

from irs import errors, log, tracing
from irs.domain import bulk, claims, images
from irs.domain.bulk import Batch
from irs.domain.callbacks import BATCH
from irs.domain.pacing import Backlog
from irs.settings import Settings
from irs.web import access, contents, idempotency
from irs.web.intake import Intake
from irs.web.services import services

_log = log.get("web")


def fingerprint(document: bytes | None) -> str:
    """What makes two requests the same: a document's bytes, else the type and the length.

    Files may have a gigabyte. A form's boundary is new with each sending, but with one client
    of one length.
    """
    body = str(request.content_length).encode() if document is None else document
    return claims.fingerprint("batch", request.mimetype.encode(), body)


def create(batch_id: str, callback_url: str | None, keyed: idempotency.Keyed | None,
           document: bytes | None) -> Batch:
    """Store the request's batch, so that whatever happens all of it is there or nothing.

    Raises `errors.Refused`, `errors.Overloaded` and `errors.CloudError`.
    """
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
