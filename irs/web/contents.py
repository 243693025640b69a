"""What a request for a batch contains: files, zips, addresses."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from flask import request

from irs import errors
from irs.domain import bulk, keys
from irs.settings import Settings
from irs.web import archives, documents, multipart
from irs.web.intake import Intake
from irs.web.sources import Sources

ZIP = frozenset({"application/zip", "application/x-zip-compressed"})
#: Bytes of a document of addresses: 100,000 of a hundred and sixty bytes each.
MAX_LIST = 16_000_000


def document() -> bytes | None:
    """The body where it is a document, which is small; None where it is files. Raises `errors.TooLarge`."""
    if request.mimetype == documents.JSON:
        return documents.whole(request.stream, max_bytes=MAX_LIST)
    return None


def received(intake: Intake, settings: Settings, sources: Sources, listed: bytes | None) -> str:
    """Take in what the request's body is, ``listed`` if it is a document; returns the batch's source.

    Raises `errors.Refused` and `errors.CloudError`.
    """
    if listed is not None:
        return _addresses(intake, sources, documents.parsed(listed))
    if request.mimetype in ZIP:
        _zip(intake, settings, request.stream)
    elif not request.mimetype or request.mimetype == "multipart/form-data":
        _form(intake, settings)
    else:
        raise errors.UnsupportedFormat(
            "send files as multipart/form-data, a zip as application/zip, or addresses as application/json")
    return bulk.FILES


def _form(intake: Intake, settings: Settings) -> None:
    """Files of a form; those that are zips are taken for what is in them."""
    def limit(name: str | None) -> int:
        zipped = name is not None and name.lower().endswith(".zip")
        return settings.max_batch_bytes if zipped else settings.max_image_bytes

    budget = _budget(settings)
    for upload in multipart.each(request.stream, request.content_type, limit=limit,
                                 max_files=settings.max_batch_images):
        with contextlib.closing(upload):
            try:
                if upload.name.lower().endswith(".zip"):
                    _unpack(intake, settings, upload.file(), budget)
                else:
                    intake.add(upload.name, upload.read())
            except errors.BadRequest as exc:
                raise errors.BadRequest(f"{upload.name}: {exc}") from exc
            except errors.TooLarge as exc:
                if upload.size <= limit(upload.name):
                    raise  # the batch's own limit
                intake.refuse(upload.name, exc)


def _zip(intake: Intake, settings: Settings, stream: IO[bytes]) -> None:
    """A body that is a zip; to read one its end has to be there first."""
    with tempfile.SpooledTemporaryFile(multipart.IN_MEMORY) as file:
        while data := stream.read(multipart.CHUNK):
            file.write(data)
        _unpack(intake, settings, file, _budget(settings))


def _budget(settings: Settings) -> archives.Budget:
    return archives.Budget(left=archives.BUDGET * settings.max_batch_bytes)


def _unpack(intake: Intake, settings: Settings, file: IO[bytes], budget: archives.Budget) -> None:
    for name, found in archives.files(
            file, max_bytes=settings.max_image_bytes, max_files=settings.max_batch_images, budget=budget):
        if isinstance(found, errors.Refused):
            intake.refuse(keys.display_name(name), found)
        else:
            intake.add(keys.display_name(name), found)


def _addresses(intake: Intake, sources: Sources, document: Mapping[str, Any]) -> str:
    """Images that are in S3."""
    if ("s3" in document) == ("images" in document):
        raise errors.BadRequest('say where the images are, as {"s3": "s3://bucket/prefix/"} or '
                                '{"images": ["s3://bucket/key", …]}')
    if "s3" in document:
        if not isinstance(document["s3"], str):
            raise errors.BadRequest("s3 is not a string")
        if not sources.below(document["s3"], "", 1):
            raise errors.NoFile("there is no object below this address")
        address: str = document["s3"]
        return address
    addresses = document["images"]
    if not isinstance(addresses, list) or not all(isinstance(text, str) for text in addresses):
        raise errors.BadRequest("images is not a list of addresses, each a string")
    for text in addresses:
        try:
            intake.name(text, sources.at(text).name)
        except errors.TooLarge:
            raise
        except errors.Refused as exc:
            # JSON may hold halves of characters, and no answer.
            shown = text[:1_100].encode("utf-8", "replace").decode()
            intake.refuse(keys.display_name(shown), exc, shown)
    return bulk.LIST
