"""What is wrong with a setting, in a line: its variable, what it says, what it may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

#: Characters of a value that are shown.
SHOWN = 60
#: Words for a JSON schema's types.
_KINDS = {"integer": "a whole number", "number": "a number", "string": "a text"}


def refusal(exc: ValidationError, schema: Mapping[str, Any], prefix: str) -> str:
    """One line for all that is wrong; ``schema`` is the settings' JSON schema."""
    return "; ".join(_one(error, schema["properties"], prefix)
                     for error in exc.errors(include_url=False, include_context=False))


def _one(error: Mapping[str, Any], fields: Mapping[str, Any], prefix: str) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    if error["type"] != "value_error" and name in fields:  # else they are our own words
        field = fields[name]
        # Of several with commas between them it is about one.
        message = f"{_shown(error['input'], field)} is not {takes(field.get('items', field))}"
    return f"{prefix}{name.upper()}: {message}"


def _shown(value: object, schema: Mapping[str, Any]) -> str:
    if any(kind.get("format") == "password" for kind in _kinds(schema)):
        return "its value"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def takes(schema: Mapping[str, Any]) -> str:
    """What a setting may say: ``a whole number from 0 to 65535, or off``."""
    kinds = _kinds(schema)
    words = " or ".join(_kind(kind) for kind in kinds if kind.get("type") != "null")
    # Texts are left away to be none; what is a number has a word for it.
    off = len(kinds) > 1 and any(kind.get("type") in ("integer", "number") for kind in kinds)
    return f"{words}, or off" if off else words


def _kinds(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = schema.get("anyOf", (schema,))
    told = schema.get("description")
    return [{"description": told, **kind} for kind in found] if told else found


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("description"):
        return str(schema["description"])
    if "enum" in schema:
        *most, last = map(str, schema["enum"])
        return f"{', '.join(most)} or {last}"
    kind = schema.get("type")
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        return "a list with commas in it"
    return _KINDS.get(str(kind), "a text") + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    least, most, above = (schema.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
    if least is not None and most is not None:
        return f" from {least:g} to {most:.16g}"
    if least is not None:
        return f" from {least:g} up"
    return f" above {above:g}" if above is not None else ""
