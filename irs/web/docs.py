"""``/docs``: the document of `irs.web.document`, for people. A page without a script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup

from irs.web.describing import TEXT, describes
from irs.web.preferences import HTML
from irs.web.services import services

#: What the page shows of a schema beside its type, and how.
_LIMITS = {"minimum": "at least {}", "maximum": "at most {}", "minLength": "at least {} long",
           "maxLength": "at most {} long", "minItems": "at least {}", "maxItems": "at most {}"}

blueprint = Blueprint("docs", __name__)
#: Words of a type, each with the anchor that it leads to.
Words = list[tuple[str, str | None]]


@blueprint.get("/docs")
@describes("This page", tag="pages", answers={200: ("A page that works without JavaScript.", {HTML: TEXT})})
def docs() -> Response:
    """The API, operation by operation."""
    page = _Page(services().document.tree, request.host_url)
    return Response(render_template(
        "docs.html", info=page.tree["info"], groups=page.groups(), codes=page.codes(),
        schemas=page.schemas(), keys=page.keys(), prose=prose))


def prose(text: str) -> Markup:
    """Escaped, with what stands between backticks as code, and a paragraph for each empty line."""
    paragraphs = [
        Markup().join(Markup("<code>{}</code>").format(part) if number % 2 else Markup.escape(part)
                      for number, part in enumerate(paragraph.split("`")))
        for paragraph in text.split("\n\n")]
    return Markup().join(Markup("<p>{}</p>").format(paragraph) for paragraph in paragraphs)


class _Page:
    """The document's parts as the template wants them."""

    def __init__(self, tree: Mapping[str, Any], host: str) -> None:
        self.tree = tree
        self._host = host

    def groups(self) -> list[dict[str, Any]]:
        """Operations under their tags."""
        return [{"name": tag["name"], "about": tag["description"], "operations": [
            self._operation(path, method, told)
            for path, item in self.tree["paths"].items() for method, told in item.items()
            if told["tags"] == [tag["name"]]]} for tag in self.tree["tags"]]

    def codes(self) -> list[tuple[int, str, str]]:
        """(status, code, phrase) of every refusal there is."""
        found = set()
        for response in self.tree["components"]["responses"].values():
            told = response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
            phrase = response["description"].partition(":")[0]
            found |= {(told["status"]["const"], code, phrase) for code in told["code"]["enum"]}
        return sorted(found)

    def schemas(self) -> list[dict[str, Any]]:
        """Every schema, with its fields and its first example."""
        return [{
            "name": name, "about": schema.get("description", ""), "fields": list(self._fields(schema)),
            "example": json.dumps(schema["examples"][0], indent=2, ensure_ascii=False)
            if schema.get("examples") else None,
        } for name, schema in self.tree["components"]["schemas"].items()]

    def keys(self) -> bool:
        """Whether any operation wants an API key."""
        return any("security" in told for item in self.tree["paths"].values() for told in item.values())

    def _operation(self, path: str, method: str, told: Mapping[str, Any]) -> dict[str, Any]:
        responses = {int(status): response for status, response in told["responses"].items()}
        return {
            "id": told["operationId"], "path": path, "method": method.upper(), "summary": told["summary"],
            "about": told.get("description", ""),
            "params": [{**param, "type": self._type(param["schema"])}
                       for param in told.get("parameters", ())],
            "bodies": self._bodies(told.get("requestBody", {})),
            "answers": [self._answer(status, response) for status, response in responses.items()
                        if "$ref" not in response],
            "refusals": [(status, self._resolve(response)["description"].partition(": ")[2])
                         for status, response in responses.items() if "$ref" in response],
            "curl": told["x-codeSamples"][0]["source"].replace("http://127.0.0.1:8080/", self._host),
        }

    def _answer(self, status: int, response: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": status, "about": response["description"], "bodies": self._bodies(response),
                "headers": list(response.get("headers", ()))}

    def _bodies(self, what: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"media": media, "type": self._type(content["schema"])}
                for media, content in what.get("content", {}).items()]

    def _fields(self, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for name, field in schema.get("properties", {}).items():
            limits = [words.format(field[limit]) for limit, words in _LIMITS.items() if limit in field]
            yield {"name": name, "type": self._type(field), "required": name in schema.get("required", ()),
                   "about": field.get("description") or self._resolve(field).get("description", ""),
                   "limits": ", ".join(limits)}

    def _type(self, schema: Mapping[str, Any]) -> Words:
        """``[("list of ", None), ("Prediction", "schema-Prediction")]``."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return [(name, f"schema-{name}")]
        if either := schema.get("oneOf") or schema.get("anyOf"):
            words: Words = []
            for number, one in enumerate(either):
                words += [(" or ", None)] * bool(number) + self._type(one)
            return words
        if schema.get("type") == "array":
            return [("list of ", None), *self._type(schema["items"])]
        if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
            return [(" or ".join(json.dumps(value) for value in values), None)]
        if schema.get("format") == "binary":
            return [("bytes", None)]
        kind = schema.get("format") or schema.get("type", "anything")
        return [(re.sub(r"\bnull\b", "nothing", str(kind)), None)]

    def _resolve(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in what:
            _, *parts = what["$ref"].split("/")
            what = self.tree
            for part in parts:
                what = what[part]
        return what
