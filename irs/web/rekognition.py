"""``POST /`` as Amazon Rekognition's DetectLabels, for its clients as they are.

https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectLabels.html
"""

from __future__ import annotations

import re
import time
import uuid

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from irs.web import awsjson, detection
from irs.web.describing import describes
from irs.web.detection import Wish
from irs.web.outcomes import Outcome
from irs.web.services import services
from irs.web.submitting import Image
from irs.web.uploads import body_read, client, client_gone

DETECT_LABELS = "RekognitionService.DetectLabels"
#: Seconds that a request waits at most: botocore reads no answer after 60.
WAIT = 50.0
#: What AWS's clients say of the first try of a call.
_FIRST = re.compile(r"attempt=1(?!\d)")
#: Of ids that repeat with a request's repetitions.
_NAMESPACE = uuid.UUID("5f5ab1f1-6e4b-4f67-9c5e-7d8f0a7a3b0e")

blueprint = Blueprint("rekognition", __name__)


@blueprint.post("/")
@describes(
    "Amazon Rekognition's DetectLabels",
    tag="rekognition",
    about="For clients of Amazon Rekognition as they are: `X-Amz-Target` names the operation. Without "
          "it the method is not allowed here.",
    body={awsjson.KIND: {"type": "object"}},
    answers={200: ("The labels, in Rekognition's form.", {awsjson.KIND: {"type": "object"}}),
             400: ("An error of the caller's, or `ThrottlingException`; `__type` names it.",
                   {awsjson.KIND: {"type": "object"}}),
             500: ("An error of the service's.", {awsjson.KIND: {"type": "object"}})},
    headers=("Retry-After", "WWW-Authenticate"),
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
    limit = web.settings.max_image_bytes
    with (
        web.gate.enter(),
        detection.received(request.stream, web.sources, limit=limit) as (image, wish),
    ):
        body_read()
        image.id = _repeatable_id()
        outcome = _outcome(image, min(web.settings.client_wait, WAIT))
    web.metrics.answered([outcome.kind], began)
    return _answer(outcome, wish)


def _outcome(image: Image, seconds: float) -> Outcome:
    """A repetition of a request finds the job of the first one, if there is one."""
    web = services()
    if image.id is not None and not _FIRST.match(request.headers.get("amz-sdk-request", "")):
        known = web.dispatcher.known(image.id, seconds, client_gone())
        if known is not None:
            return known
    (outcome,) = web.dispatcher.classify([image], seconds, client_gone(), client=client())
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


def _repeatable_id() -> str | None:
    """The job's id, the same for all tries of one call: AWS's clients number them."""
    try:
        invocation = uuid.UUID(request.headers.get("amz-sdk-invocation-id", ""))
    except ValueError:
        return None
    # Of one client: nobody else's call is found by its number.
    return str(uuid.uuid5(_NAMESPACE, f"{client()} {invocation}"))
