"""The page for people: a form that works without JavaScript, and does more with it."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from irs.web.describing import TEXT, describes
from irs.web.preferences import HTML
from irs.web.services import services

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
@blueprint.get("/upload")
@describes("The form", tag="pages", answers={200: ("A page that works without JavaScript.", {HTML: TEXT})})
def form() -> Response:
    """Choose photographs, send them to ``POST /upload``."""
    settings = services().settings
    return Response(render_template(
        "upload.html", max_files=settings.max_files, max_bytes=settings.max_image_bytes,
        max_megabytes=f"{settings.max_image_bytes / 1e6:g}",
        max_megapixels=f"{settings.max_image_pixels / 1e6:g}"))
