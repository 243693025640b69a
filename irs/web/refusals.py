"""A refusal on the wire: status, code, headers, and its form where there is no application."""

from __future__ import annotations

import errno
import json
from http import HTTPStatus

from irs import errors

#: RFC 9457.
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"

#: Codes of statuses that no class of `irs.errors` stands for.
_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "too_large",
          431: "headers_too_large", 500: "internal", 501: "not_implemented", 503: "unavailable"}
#: What a person reads where Python's own phrase says less.
_DETAILS = {404: "no such page", 413: "the request is too large",
            431: "the request's headers are too large"}

#: Of a write that finds no room: on the disk, within the quota, or for so large a file.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Seconds after which a client may find that there is room again.
_ROOM_AFTER = 30


class Status(errors.IRSError):
    """A refusal that is known by its HTTP status alone."""

    def __init__(self, status: int) -> None:
        super().__init__(_DETAILS.get(status, phrase(status).lower()))
        self.status = status
        self.code = code_of(status)


def phrase(status: int) -> str:
    """``Bad Request`` for 400."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def code_of(status: int) -> str:
    """The stable code of an HTTP status."""
    return _CODES.get(status) or phrase(status).lower().replace(" ", "_").replace("-", "_")


def of_status(status: int) -> errors.IRSError:
    """The refusal for an HTTP status."""
    return errors.BadRequest("bad request") if status == 400 else Status(status)


def is_no_room(exc: OSError) -> bool:
    """Whether a write found no room."""
    return exc.errno in _NO_ROOM


def no_room() -> errors.Overloaded:
    """The refusal for a request that could not be kept on the disk."""
    return errors.Overloaded("the service has no room on its disk for the request, try again later",
                             retry_after=_ROOM_AFTER)


def status(why: errors.IRSError) -> int:
    """The HTTP status of a refusal; 503 for those that are the service's own state."""
    return getattr(why, "status", 503)


def code(why: errors.IRSError) -> str:
    """The stable code of a refusal."""
    if isinstance(why, errors.Overloaded):
        return "overloaded"
    if isinstance(why, errors.CloudError):  # its `code` is AWS's
        return "unavailable"
    return str(getattr(why, "code", "internal"))


def headers(why: errors.IRSError) -> list[tuple[str, str]]:
    """When to come back, and with what."""
    out = []
    if (seconds := getattr(why, "retry_after", None)) is not None:
        out.append(("Retry-After", str(seconds)))
    if isinstance(why, errors.Unauthorized):
        # A browser asks its user for the password of the first scheme that it knows; Chromium takes
        # a line for one scheme, whatever stands behind its commas.
        out += [("WWW-Authenticate", 'Bearer realm="irs"'),
                ("WWW-Authenticate", 'Basic realm="irs", charset="UTF-8"')]
    return out


def status_line(why: errors.IRSError) -> str:
    """``413 Request Entity Too Large``."""
    return f"{status(why)} {phrase(status(why))}"


def plain(why: errors.IRSError, accept: str) -> tuple[str, bytes]:
    """Content type and body: problem details for who asks for JSON, else one line."""
    if "json" in accept:
        body = {"type": "about:blank", "title": phrase(status(why)), "status": status(why),
                "detail": str(why), "code": code(why)}
        return PROBLEM, (json.dumps(body, ensure_ascii=False) + "\n").encode()
    return TEXT, f"error: {why}\n".encode()
