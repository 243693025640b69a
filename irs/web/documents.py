"""A request's body as JSON."""

from __future__ import annotations

import json
from typing import IO, Any

from irs import errors

JSON = "application/json"
#: Bytes of a document that describes one thing: addresses and names, never pictures.
SMALL = 65_536


def received(stream: IO[bytes], *, max_bytes: int = SMALL) -> dict[str, Any]:
    """The object that the body is; raises `errors.BadRequest` and `errors.TooLarge`."""
    return parsed(whole(stream, max_bytes=max_bytes))


def whole(stream: IO[bytes], *, max_bytes: int) -> bytes:
    """The body; raises `errors.TooLarge`."""
    data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise errors.TooLarge(f"the body has more than {max_bytes} bytes")
    return data


def parsed(data: bytes) -> dict[str, Any]:
    """The object that ``data`` is; raises `errors.BadRequest`."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        raise errors.BadRequest("the body is not JSON") from None
    if not isinstance(found, dict):
        raise errors.BadRequest("the body is not a JSON object")
    return found


def text(document: dict[str, Any], name: str) -> str | None:
    """A member that is text; None where it is not there. Raises `errors.BadRequest`."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise errors.BadRequest(f"{name} is not a string")
    try:
        (value or "").encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and nothing else
        raise errors.BadRequest(f"{name} is not text") from None
    return value
