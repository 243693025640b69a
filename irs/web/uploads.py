"""``POST /upload``: files in, labels out."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response, request

from irs.web import answers, multipart, preferences
from irs.web.services import services

blueprint = Blueprint("uploads", __name__)


def client_gone() -> Callable[[], bool]:
    """Whether the request's client has hung up; servers that cannot tell say no."""
    asked: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return asked


@blueprint.post("/upload")
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
        outcomes = web.dispatcher.classify(files, wait.seconds, client_gone())
        response = answers.of_upload(outcomes, wait)
    web.metrics.seconds.observe(time.monotonic() - began)
    return response
