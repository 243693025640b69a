"""Holds answers against the OpenAPI document: what it does not tell is a fault of one or the other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

#: Headers that say something of the answer, and so have to be declared.
TELLING = ("Location", "Retry-After", "Preference-Applied", "WWW-Authenticate", "ETag",
           "Content-Disposition", "Idempotency-Key", "Allow")
#: Media types of one JSON value; JSON Lines are none.
JSON = re.compile(r"application/(.+\+)?json|application/x-amz-json-1\.\d")

#: Events, one after the other, each of the declared form.
EVENTS = "text/event-stream"


def events(stream: bytes) -> list[dict[str, str]]:
    """The events of a stream; comments are none."""
    blocks = (block for block in stream.decode().split("\n\n") if block and not block.startswith(":"))
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


class Conformity:
    """One document, with every schema closed: here, also a field that it does not name is a fault."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.loads(json.dumps(document))
        for schema in self._document["components"]["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False
        self._paths = [(re.compile(re.sub(r"{\w+}", "[^/]+", re.sub(r"\.", r"\\.", path))), item)
                       for path, item in self._document["paths"].items()]

    def faults(self, method: str, path: str, status: int, headers: Mapping[str, str],
               body: bytes | None) -> list[str]:
        """What is wrong with an answer; nothing is, where the document does not know the route.

        ``body`` None: there is one, and it is not looked at.
        """
        operation = next((item[method.lower()] for pattern, item in self._paths
                          if pattern.fullmatch(path) and method.lower() in item), None)
        if operation is None:
            return []
        where = f"{method} {path} {status}"
        told = operation["responses"].get(str(status))
        if told is None:
            return [f"{where}: the status is not declared"]
        told = self._resolve(told)
        kind = headers.get("Content-Type", "").partition(";")[0]
        found = self._headers(told.get("headers", {}), headers)
        content = told.get("content", {})
        if status in (204, 304):  # what a server may make of a body is not sent
            body = b""
        if (body != b"" or content) and kind not in content:
            found.append(f"{kind or 'a body of no type'} is not declared")
        elif content and body is not None and JSON.fullmatch(kind):
            found += self._json(content[kind]["schema"], body)
        elif content and body is not None and kind == EVENTS:
            found += [fault for event in events(body)
                      for fault in self._event(content[kind]["schema"], event)]
        return [f"{where}: {fault}" for fault in found]

    def _headers(self, told: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        found = [f"{name} is not declared" for name in TELLING if headers.get(name) and name not in told]
        return found + [f"{name} is missing" for name, header in told.items()
                        if self._resolve(header).get("required") and not headers.get(name)]

    def _event(self, schema: Mapping[str, Any], event: Mapping[str, str]) -> list[str]:
        found = self._json(schema, json.dumps(event).encode())
        if event["event"] == "result":
            found += self._json({"$ref": "#/components/schemas/Result"}, event["data"].encode())
        return found

    def _json(self, schema: Mapping[str, Any], body: bytes) -> list[str]:
        checker = Draft202012Validator({**schema, "components": self._document["components"]},
                                       format_checker=FormatChecker(["uuid"]))
        return [f"{error.json_path}: {error.message[:300]}"
                for error in checker.iter_errors(json.loads(body))]

    def _resolve(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in what:
            _, *parts = what["$ref"].split("/")
            what = self._document
            for part in parts:
                what = what[part]
        return what
