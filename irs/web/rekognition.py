"""``POST /`` as Amazon Rekognition's DetectLabels, for its clients as they are.

https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectLabels.html
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from irs import errors
from irs.audit import uploads
from irs.domain import locations
from irs.web import awsjson, documents
from irs.web.describing import describes
from irs.web.dispatch import Image
from irs.web.multipart import Upload
from irs.web.outcomes import Outcome
from irs.web.services import services
from irs.web.uploads import client_gone

DETECT_LABELS = "RekognitionService.DetectLabels"
#: Rekognition's own default, in percent.
MIN_CONFIDENCE = 55.0
#: Seconds that a request waits at most: botocore reads no answer after 60.
WAIT = 50.0
#: Bodies taken apart at once: each holds an image of 20 MB four times for a moment, and the
#: processor all the while.
PARSING = 4
#: What AWS's clients say of the first try of a call.
_FIRST = re.compile(r"attempt=1(?!\d)")
#: Of ids that repeat with a request's repetitions.
_NAMESPACE = uuid.UUID("5f5ab1f1-6e4b-4f67-9c5e-7d8f0a7a3b0e")

_parsing = threading.BoundedSemaphore(PARSING)

blueprint = Blueprint("rekognition", __name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a request wants to have back."""

    #: labels at most
    most: int | None
    #: percent that a label must have
    least: float


@blueprint.post("/")
@describes(
    "Amazon Rekognition's DetectLabels",
    tag="rekognition",
    about="For clients of Amazon Rekognition as they are: `X-Amz-Target` names the operation. Without "
          "it the method is not allowed here.",
    body={awsjson.KIND: {"type": "object"}},
    answers={200: ("The labels, in Rekognition's form.", {awsjson.KIND: {"type": "object"}})},
    refuses=((405, "method_not_allowed"),),
    refused_as={awsjson.KIND: {"type": "object"}},
    example="-H 'X-Amz-Target: RekognitionService.DetectLabels' --data @request.json",
)
def call() -> Response:
    """DetectLabels; any other operation is refused, and a request that is none of AWS's too."""
    target = request.headers.get(awsjson.TARGET)
    if target is None:
        raise MethodNotAllowed(valid_methods=("GET", "HEAD", "OPTIONS"))
    if target != DETECT_LABELS:
        return awsjson.typed("UnknownOperationException", f"only {DETECT_LABELS} is served here")
    web = services()
    began = time.monotonic()
    with web.gate.enter(), _received() as (image, wish):
        outcome = _outcome(image, min(web.settings.client_wait, WAIT))
    web.metrics.seconds.observe(time.monotonic() - began)
    return _answer(outcome, wish)


def _outcome(image: Image, seconds: float) -> Outcome:
    """A repetition of a request finds the job of the first one, if there is one."""
    web = services()
    if image.id is not None and not _FIRST.match(request.headers.get("amz-sdk-request", "")):
        job = uploads.find(web.cloud.objects, image.id)
        if job is not None:
            return web.dispatcher.follow(job, seconds, client_gone())
    (outcome,) = web.dispatcher.classify([image], seconds, client_gone())
    return outcome


def _answer(outcome: Outcome, wish: Wish) -> Response:
    if outcome.failure is not None:
        response = awsjson.error(outcome.failure.code, outcome.failure.message, request_id=outcome.id)
    elif outcome.result is None:
        response = awsjson.typed(
            "ThrottlingException", f"not ready yet, ask again or at {outcome.location}",
            request_id=outcome.id)
    else:
        labels = [(each.label, round(100 * each.confidence, 4)) for each in outcome.result.predictions]
        model = outcome.result.model
        return awsjson.answer({
            "Labels": [{"Name": name, "Confidence": percent, "Instances": [], "Parents": [],
                        "Aliases": [], "Categories": []}
                       for name, percent in labels if percent >= wish.least][:wish.most],
            **({"LabelModelVersion": f"{model.name} {model.version}"} if model else {}),
        }, request_id=outcome.id)
    if outcome.status in (202, 503, 504):
        response.headers["Retry-After"] = str(services().estimates.retry_after(outcome.place))
    return response


# -- the request -----------------------------------------------------------------------------
@contextlib.contextmanager
def _received() -> Iterator[tuple[Image, Wish]]:
    """The request's image and wish; raises `errors.Refused`."""
    limit = services().settings.max_image_bytes
    with contextlib.ExitStack() as stack:
        with _parsing:
            document = documents.received(
                request.stream, max_bytes=math.ceil(limit / 3) * 4 + documents.SMALL)
            wish = _wish(document)
            found = document.get("Image")
            if not isinstance(found, dict) or len({"Bytes", "S3Object"} & found.keys()) != 1:
                raise errors.BadRequest("Image has either Bytes or an S3Object")
            image: Image
            if "Bytes" in found:
                image = stack.enter_context(contextlib.closing(Upload(None, limit)))
                image.write(_bytes(found["Bytes"]))
            else:
                image = _in_s3(found["S3Object"])
            del document, found
        image.id = _repeatable_id()
        yield image, wish


def _bytes(text: object) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise errors.BadRequest("Image.Bytes is not base64") from None
    if not data:
        raise errors.BadRequest("Image.Bytes is empty")
    return data


def _in_s3(where: object) -> Image:
    if not isinstance(where, dict):
        raise errors.BadRequest("S3Object has a Bucket and a Name")
    try:
        location = locations.location(where.get("Bucket"), where.get("Name"))
    except ValueError as exc:
        raise errors.BadRequest(f"S3Object: {exc}") from None
    return services().sources.image(location, version=documents.text(where, "Version"))


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


def _repeatable_id() -> str | None:
    """The job's id, the same for all tries of one call: AWS's clients number them."""
    try:
        invocation = uuid.UUID(request.headers.get("amz-sdk-invocation-id", ""))
    except ValueError:
        return None
    return str(uuid.uuid5(_NAMESPACE, str(invocation)))
