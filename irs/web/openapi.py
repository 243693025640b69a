"""``/openapi.json``: the document of `irs.web.document`, for programs."""

from __future__ import annotations

from flask import Blueprint, Response, request

from irs.web.describing import describes
from irs.web.preferences import JSON
from irs.web.services import services

#: Seconds for which a client need not ask again; the document changes with version and settings.
AGE = 300

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
@describes("This document", tag="pages", headers=("ETag",), answers={
    200: ("The OpenAPI document.", {JSON: {"type": "object"}}),
    304: ("The one that `If-None-Match` names is the present one.", None)})
def openapi() -> Response:
    """The document, whole or, for who has it already, not at all."""
    document = services().document
    response = Response(document.text, content_type=JSON)
    response.headers["Cache-Control"] = f"max-age={AGE}"
    response.set_etag(document.tag)
    return response.make_conditional(request)
