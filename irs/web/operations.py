"""One operation of the OpenAPI document: its declaration, and what any operation may be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from irs import errors
from irs.settings import Settings
from irs.web import refusals
from irs.web.admission import OPEN, is_operators
from irs.web.describing import PREFER, TEXT, Answer, Content, Operation, Param
from irs.web.preferences import HTML, JSON
from irs.web.preferences import TEXT as PLAIN
from irs.web.refusals import PROBLEM

#: Schemes of `irs.web.admission`, any of which does.
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any name, the key as the password."},
}
#: Headers of answers.
HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "Where to ask for it.",
                 "schema": {"type": "string", "format": "uri-reference"}},
    "Retry-After": {"description": "Seconds after which to ask again.",
                    "schema": {"type": "integer", "minimum": 0}},
    "Preference-Applied": {"description": "What was granted of `Prefer`.", "schema": TEXT},
    "WWW-Authenticate": {"description": "The schemes that an API key may come in.", "schema": TEXT},
    "ETag": {"description": "For `If-None-Match`.", "schema": TEXT},
    "Allow": {"description": "The methods that there are.", "schema": TEXT},
}
#: Those that come with a status; True: always.
BY_STATUS: dict[int, dict[str, bool]] = {
    201: {"Location": True}, 202: {"Location": False, "Retry-After": False},
    401: {"WWW-Authenticate": True}, 405: {"Allow": True},
    429: {"Retry-After": True}, 503: {"Retry-After": True, "Location": False},
    504: {"Retry-After": True, "Location": False},
}
#: What any request may be told; one with a body; and where keys are wanted any, and one with a form.
_ANY = (errors.RequestTimeout, errors.TooMany, refusals.Status(431), refusals.Status(500),
        errors.Overloaded("", retry_after=1), errors.Unreachable(""))
_BODY = (errors.BadRequest, errors.TooLarge, refusals.Status(501))
_KEYS = (errors.Unauthorized,)
_FORMS = (errors.Forbidden,)
#: Forms of a refusal for people.
LINE = {PLAIN: TEXT, HTML: TEXT}


class Writer:
    """Writes one operation; what many share goes into ``responses``."""

    def __init__(self, operation: Operation, method: str, where: str, settings: Settings,
                 responses: dict[str, Any]) -> None:
        self._told = operation
        self._method = method
        self._where = where
        self._settings = settings
        self._responses = responses

    def written(self) -> dict[str, Any]:
        """An Operation Object."""
        told = self._told
        words = re.sub(r"\W+", "_", self._where).strip("_") or "index"
        out: dict[str, Any] = {
            "operationId": f"{self._method.lower()}_{words}", "summary": told.summary, "tags": [told.tag]}
        if told.about:
            out["description"] = self._sentence(told.about)
        if told.params:
            out["parameters"] = [self._param(param) for param in told.params]
        if told.body:
            out["requestBody"] = {"required": True, "content": _content(told.body)}
        out["responses"] = {str(status): found for status, found in sorted(
            {**self._refusals(), **self._answers()}.items())}
        if self._keyed:
            out["security"] = [{name: []} for name in SECURITY]
        out["x-codeSamples"] = [{"lang": "Shell", "source": self._curl()}]
        return out

    @property
    def _keyed(self) -> bool:
        if is_operators(self._where) and self._settings.operator_keys is not None:
            return True
        return self._settings.api_keys is not None and self._where not in OPEN

    def _sentence(self, text: str) -> str:
        return text.format(settings=self._settings)

    def _param(self, param: Param) -> dict[str, Any]:
        out = {"name": param.name, "in": param.where, "description": self._sentence(param.about),
               "schema": dict(param.schema)}
        if param.where == "path":
            out["required"] = True
        if param.example is not None:
            out["example"] = param.example
        return out

    def _answers(self) -> dict[int, dict[str, Any]]:
        return {status: self._answer(status, answer) for status, answer in self._told.answers.items()}

    def _answer(self, status: int, answer: Answer) -> dict[str, Any]:
        sentence, content = answer
        out: dict[str, Any] = {"description": self._sentence(sentence)}
        if headers := dict.fromkeys(self._told.headers, False) | self._by_status(status):
            out["headers"] = _headers(headers)
        if content is not None:
            out["content"] = _content({JSON: content} if isinstance(content, str) else content)
        return out

    def _by_status(self, status: int) -> dict[str, bool]:
        waits = {"Preference-Applied": False} if PREFER in self._told.params else {}
        return BY_STATUS.get(status, {}) | waits

    def _refusals(self) -> dict[int, dict[str, Any]]:
        """Those of the view and those of any, by status, as references."""
        found: dict[int, set[str]] = {}
        kinds = [*_ANY, *self._told.refuses, *(_BODY if self._told.body else ())]
        if self._keyed:
            kinds += [*_KEYS, *(_FORMS if self._method != "GET" else ())]
        for kind in kinds:
            status, code = kind if isinstance(kind, tuple) else (refusals.status(kind), refusals.code(kind))
            found.setdefault(status, set()).add(str(code))
        return {status: self._refusal(status, sorted(codes)) for status, codes in found.items()
                if status not in self._told.answers}

    def _refusal(self, status: int, codes: list[str]) -> dict[str, Any]:
        """A reference to a response that is told once for all that have the same codes."""
        forms = {} if self._where.startswith("/v1/") else {**LINE, **self._told.refused_as}
        headers = self._by_status(status)
        words = (("files", self._told.refused_as), ("line", forms), ("wait", PREFER in self._told.params))
        name = "-".join([str(status), *codes, *(word for word, said in words if said)])
        if name not in self._responses:
            self._responses[name] = refusal(status, codes, forms, headers)
        return {"$ref": f"#/components/responses/{name}"}

    def _curl(self) -> str:
        examples = {param.name: param.example for param in self._told.params}
        address = re.sub(r"{(\w+)}", lambda match: str(examples[match[1]]), self._where)
        key = "-H 'Authorization: Bearer KEY'" if self._keyed else ""
        parts = ["curl", key, self._told.example, f"http://127.0.0.1:8080{address}{self._told.query}"]
        return " ".join(part for part in parts if part)


def refusal(status: int, codes: list[str], forms: Mapping[str, Content],
            headers: Mapping[str, bool]) -> dict[str, Any]:
    """A Response Object: problem details with one of the ``codes``, and what else it may be."""
    problem = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": {
        "status": {"const": status}, "code": {"enum": codes}}}]}
    return {"description": f"{refusals.phrase(status)}: {', '.join(f'`{code}`' for code in codes)}.",
            **({"headers": _headers(headers)} if headers else {}),
            "content": _content({PROBLEM: problem, **forms})}


def _headers(names: Mapping[str, bool]) -> dict[str, Any]:
    return {name: HEADERS[name] | {"required": True} if always
            else {"$ref": f"#/components/headers/{name}"} for name, always in names.items()}


def _content(content: Mapping[str, Content]) -> dict[str, Any]:
    return {kind: {"schema": _schema(what)} for kind, what in content.items()}


def _schema(what: Content) -> dict[str, Any]:
    if not isinstance(what, str):
        return dict(what)
    refs = [{"$ref": f"#/components/schemas/{name.strip()}"} for name in what.split("|")]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}
