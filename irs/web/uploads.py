"""``POST /upload``: files in, labels out."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response, request

from irs import errors
from irs.domain.jobs import OWN_FAULT
from irs.web import answers, multipart, preferences
from irs.web.admission import BODY_READ
from irs.web.describing import PREFER, TEXT, describes
from irs.web.outcomes import CANCELLED, LOST
from irs.web.services import services

#: What the answer may be, by ``Accept``.
ANSWERS = {preferences.TEXT: TEXT, preferences.JSON: "Results", preferences.HTML: TEXT}

blueprint = Blueprint("uploads", __name__)


def client_gone() -> Callable[[], bool]:
    """Whether the request's client has hung up; servers that cannot tell say no."""
    asked: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return asked


def body_read() -> None:
    """The request's body is not read again: it need not be held while its client waits."""
    release: Callable[[], None] = request.environ.get(BODY_READ, lambda: None)
    release()


def client() -> str:
    """Whose request it is: the name of its API key; empty where none is asked for."""
    return services().admission.client(lambda name: request.headers.get(name, ""))


@blueprint.post("/upload")
@describes(
    "Send images and wait for their labels",
    tag="upload",
    about="A form with one file or several, at most {settings.max_files}, each at most "
          "{settings.max_image_bytes:,} bytes and {settings.max_image_pixels:,} pixels. The field is "
          "`myfile` by custom; any name works. Waits {settings.client_wait:g} s, or what `Prefer` says. "
          "Answers by `Accept`: lines `(name, label)`, JSON, or a page.",
    params=(PREFER,),
    body={"multipart/form-data": "Form"},
    answers={200: ("Each file has its outcome, and at least one its label.", ANSWERS),
             202: ("Something is not ready within the wait; the job goes on.", ANSWERS)},
    refuses=(errors.NoFile, errors.UnsupportedFormat, errors.Undecodable,
             (410, CANCELLED.code), *((500, code) for code in OWN_FAULT), (504, LOST)),
    refused_as=ANSWERS,
    example="-F myfile=@test_0.JPEG",
)
def upload() -> Response:
    """Classify the files of a form and wait for their labels."""
    web = services()
    settings = web.settings
    began = time.monotonic()
    wait = preferences.wait(request.headers, default=settings.client_wait)
    with (
        web.gate.enter(),
        multipart.received(request.stream, request.content_type, max_bytes=settings.max_image_bytes,
                           max_files=settings.max_files) as files,
    ):
        body_read()
        outcomes = web.dispatcher.classify(files, wait.seconds, client_gone(), client=client())
        response = answers.of_upload(outcomes, wait)
    web.metrics.answered([outcome.kind for outcome in outcomes], began)
    return response
