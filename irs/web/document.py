"""The OpenAPI 3.1 document, made of the routes and of what they declare.

`irs.web.describing` says how a route declares itself. Nothing is built, and no model
imported, before somebody asks for the document.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from irs import __version__
from irs.settings import Settings
from irs.web import refusals
from irs.web.describing import Operation, declared
from irs.web.operations import BY_STATUS, HEADERS, LINE, SECURITY, Writer, refusal

#: Headings of operations, in order.
TAGS = {
    "images": "One image, as a job: for programs.",
    "batches": "Many images at once.",
    "rekognition": "For programs that speak to Amazon Rekognition.",
    "upload": "Images in, labels out: for people, scripts and forms.",
    "service": "How the service stands.",
    "operator": "For whoever runs the service.",
    "pages": "For people.",
}
#: What is told where there is no operation; the document names it all the same.
_NOWHERE = (refusals.Status(404), refusals.Status(405))

_ABOUT = """\
Send an image, get its label. `POST /upload` waits and answers with lines, JSON or a page; `/v1` answers \
with a job, whose result stays at its address.

Errors on `/v1` are problem details (RFC 9457): `code` is for a program and does not change. Elsewhere \
they are one line, a page for a browser, and problem details for who asks for JSON. A connection that is \
ended before its request has come is told why in one line."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """An application's document, built at first use."""

    app: Flask
    settings: Settings

    @functools.cached_property
    def tree(self) -> dict[str, Any]:
        """JSON-ready."""
        return _tree(self.app, self.settings)

    @functools.cached_property
    def text(self) -> str:
        """As it is sent."""
        return json.dumps(self.tree, ensure_ascii=False, indent=1) + "\n"

    @functools.cached_property
    def tag(self) -> str:
        """Differs where the text does."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def operations(app: Flask) -> Iterator[tuple[Rule, str, Operation | None]]:
    """Each route but the static files', its method, and what it declares."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint != "static":
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, declared(app.view_functions[rule.endpoint])


def path(rule: Rule, operation: Operation) -> str:
    """``/v1/images/{id}``; raises `ValueError` where the declaration has other parameters."""
    names = [param.name for param in operation.params if param.where == "path"]
    if len(names) != len(rule.arguments):
        raise ValueError(f"{rule.rule} has {len(rule.arguments)} parameters, {len(names)} are declared")
    return re.sub(r"<[^>]*>", lambda match: "{" + names.pop(0) + "}", rule.rule)


def _tree(app: Flask, settings: Settings) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    responses: dict[str, Any] = {}
    for rule, method, operation in operations(app):
        if operation is not None:
            where = path(rule, operation)
            writer = Writer(operation, method, where, settings, responses)
            paths.setdefault(where, {})[method.lower()] = writer.written()
    for why in _NOWHERE:
        status, code = refusals.status(why), refusals.code(why)
        responses[f"{status}-{code}"] = refusal(status, [code], LINE, BY_STATUS.get(status, {}))
    used = {operation["tags"][0] for item in paths.values() for operation in item.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "IRS, an image recognition service", "version": __version__,
                 "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": _models(),
            "responses": dict(sorted(responses.items())),
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    }


@functools.cache
def _models() -> dict[str, Any]:
    from pydantic.json_schema import models_json_schema

    from irs.web import schemas

    _, defined = models_json_schema(
        [(model, "serialization") for model in schemas.Model.__subclasses__()],
        ref_template="#/components/schemas/{model}", schema_generator=schemas.JsonSchema)
    return dict(sorted(defined["$defs"].items()))
