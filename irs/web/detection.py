"""The body of a DetectLabels request: an image, and what is wished of it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from irs import errors
from irs.domain import locations
from irs.web import documents
from irs.web.multipart import Upload
from irs.web.sources import Sources
from irs.web.submitting import Image

#: Rekognition's own default, in percent.
MIN_CONFIDENCE = 55.0
#: Bodies taken apart at once: each holds an image of 20 MB some three times for a moment.
PARSING = 4
#: Where an image's bytes begin, and what stands for them while the rest is parsed: no base64.
_BYTES = re.compile(rb'"Bytes"\s{0,8}:\s{0,8}"')
_CUT = "*"

_parsing = threading.BoundedSemaphore(PARSING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a request wants to have back."""

    #: labels at most
    most: int | None
    #: percent that a label must have
    least: float


@contextlib.contextmanager
def received(stream: IO[bytes], sources: Sources, *, limit: int) -> Iterator[tuple[Image, Wish]]:
    """A request's image, of ``limit`` bytes at most, and wish; raises `errors.Refused`."""
    with contextlib.ExitStack() as stack:
        with _parsing:
            document, data = _document(
                documents.whole(stream, max_bytes=math.ceil(limit / 3) * 4 + documents.SMALL))
            wish = _wish(document)
            found = document.get("Image")
            if not isinstance(found, dict) or len({"Bytes", "S3Object"} & found.keys()) != 1:
                raise errors.BadRequest("Image has either Bytes or an S3Object")
            image: Image
            if "Bytes" in found:
                upload = stack.enter_context(contextlib.closing(Upload(None, limit)))
                upload.write(_decoded(found["Bytes"], data))
                image = upload
            else:
                image = _in_s3(found["S3Object"], sources)
            del data
        yield image, wish


def _document(body: bytes) -> tuple[dict[str, Any], memoryview]:
    """The body without the bytes of its image, and these, still encoded.

    Parsed whole, a body of 27 MB may become objects of half a gigabyte.
    """
    begin = _BYTES.search(body)
    start = begin.end() if begin else len(body)
    end = max(start, body.find(b'"', start))
    if len(body) - (end - start) > documents.SMALL:
        raise errors.TooLarge(f"more than {documents.SMALL} bytes beside the image's")
    rest = body[:start] + (_CUT.encode() if begin else b"") + body[end:]
    return documents.parsed(rest), memoryview(body)[start:end]


def _decoded(text: object, cut: memoryview) -> bytes:
    """Bytes that stand in the document, or were cut out of it."""
    encoded: Any = cut if text == _CUT else text
    try:
        if isinstance(encoded, memoryview) and b"\\" in encoded.obj:
            encoded = bytes(encoded).replace(b"\\/", b"/")  # as some write a slash in JSON
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise errors.BadRequest("Image.Bytes is not base64") from None
    if not data:
        raise errors.BadRequest("Image.Bytes is empty")
    return data


def _in_s3(where: object, sources: Sources) -> Image:
    if not isinstance(where, dict):
        raise errors.BadRequest("S3Object has a Bucket and a Name")
    try:
        location = locations.location(where.get("Bucket"), where.get("Name"))
    except ValueError as exc:
        raise errors.BadRequest(f"S3Object: {exc}") from None
    return sources.image(location, version=documents.text(where, "Version"))


def _wish(document: dict[str, Any]) -> Wish:
    most, least = document.get("MaxLabels"), document.get("MinConfidence")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
        raise errors.BadRequest("MaxLabels is not a whole number of 0 or more")
    least = MIN_CONFIDENCE if least is None else least
    if not isinstance(least, int | float) or isinstance(least, bool) or not 0 <= least <= 100:
        raise errors.BadRequest("MinConfidence is not a number from 0 to 100")
    if document.get("Features") not in (None, [], ["GENERAL_LABELS"]):
        raise errors.BadRequest("Features: there are GENERAL_LABELS only")
    if document.get("Settings"):
        raise errors.BadRequest("Settings are not served here")
    return Wish(most=most, least=least)
