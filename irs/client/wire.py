"""Requests as data and answers as records or errors. No I/O: the two shells do that."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Never
from urllib.parse import quote, urlsplit

from irs.client import errors
from irs.client.images import Body
from irs.client.records import Batch, Job, Member
from irs.domain.jobs import Result, Status
from irs.errors import SettingsError

#: Answers that ask to come back: the service's own, and a proxy's before it.
BUSY = frozenset({429, 502, 503, 504})
#: Seconds until the next try where the service does not say.
RETRY_AFTER = 1.0
#: The longest ``Retry-After`` that is believed, in seconds.
_RETRY_AFTER_MOST = 3600.0
#: Characters of an answer that is not the service's, shown to a person.
_SHOWN = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    #: below the service's address, with its query
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    #: seconds that the service may take over it, beyond the patience for any answer
    wait: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    #: names in lower case
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def object(self) -> Mapping[str, Any]:
        """The JSON object in it; empty where it is none."""
        try:
            found = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def id(self) -> str | None:
        """The job's or batch's id, where the answer names one."""
        found = self.object().get("id")
        return found if isinstance(found, str) and found else None

    @property
    def retry_after(self) -> float | None:
        """Seconds until the service wants to be asked again; None where it does not say."""
        text = self.headers.get("retry-after", "").strip()
        if not (text.isascii() and text.isdigit()):
            return None  # a date, which proxies may write: as if there were none
        return min(float(text[:9]), _RETRY_AFTER_MOST)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """What came instead of an answer: why, for a person."""

    why: str


#: What a shell gives back for a request.
Answer = Reply | NoAnswer


# -- addresses ---------------------------------------------------------------------------
def address(url: str) -> str:
    """``url`` without its last slash; ``host:port`` is http. Raises `SettingsError`."""
    full = url if "//" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        _ = parts.port
    except ValueError as exc:
        raise SettingsError(f"{url}: {exc}") from None
    if (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
            or re.search(r"[\s\x00-\x1f\x7f]", full)):
        raise SettingsError(f"{url}: not an http:// or https:// address")
    return full.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether ``url`` is this machine's own, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def headers(api_key: str | None) -> dict[str, str]:
    """What each request carries; raises `SettingsError` for a key that no header can hold."""
    out = {"Accept": "application/json"}
    if api_key:
        if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise SettingsError("the API key has characters that a header cannot carry")
        out["X-API-Key"] = api_key
    return out


def quoted(text: str) -> str:
    """``text`` as one segment of a path, or a value of a query."""
    return quote(text, safe="", errors="replace")


def prefer(seconds: float) -> dict[str, str]:
    """``Prefer: wait=N`` in whole seconds."""
    return {"Prefer": f"wait={whole(seconds)}"} if seconds > 0 else {}


def whole(seconds: float) -> int:
    """Upwards: a wait of less than a second is no wait at all, and would be asked for again and again."""
    return math.ceil(seconds) if seconds > 0 else 0


# -- answers -----------------------------------------------------------------------------
def job(reply: Reply) -> Job:
    """A job out of a 200 or 202; raises `errors.ClientError` for any other answer."""
    data = said(reply)
    try:
        status = Status(data["status"])
        return Job(id=str(data["id"]), status=status,
                   result=Result.from_dict(data) if status.final else None,
                   position=_number(data.get("position"), int),
                   estimate_seconds=_number(data.get("estimate_seconds"), float))
    except (KeyError, ValueError) as exc:
        raise _foreign(reply) from exc


def result(reply: Reply) -> Result:
    """A final result; raises `errors.ClientError` for any other answer."""
    found = job(reply)
    if found.result is None:
        raise _foreign(reply)
    return found.result


def labelled(found: Result) -> Result:
    """``found`` if it has a label; raises `errors.Failed`."""
    if found.status is Status.DONE:
        return found
    code, message = ((found.error.code, found.error.message) if found.error
                     else (str(found.status), f"the job is {found.status}"))
    raise errors.Failed(message, code=code, status=200, id=found.id)


def batch(reply: Reply) -> Batch:
    """A batch out of a 200 or 202; raises `errors.ClientError` for any other answer."""
    data = said(reply)
    try:
        return Batch(id=str(data["id"]), status=str(data["status"]), total=int(data["total"]),
                     counts={str(name): int(count) for name, count in data["counts"].items()},
                     finished=data.get("finished"), truncated=bool(data.get("truncated")),
                     rate=_number(data.get("rate"), float),
                     estimate_seconds=_number(data.get("estimate_seconds"), float))
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        raise _foreign(reply) from exc


def member(text: bytes) -> Member:
    """A batch's member out of a line; raises `errors.Unreachable` for anything else."""
    try:
        data = json.loads(text)
        status = Status(data["status"])
        return Member(number=int(data["number"]), id=str(data["id"]), image=str(data["image"]),
                      status=status, result=Result.from_dict(data) if status.final else None,
                      source=data.get("source"))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise errors.Unreachable(f"what answers is not this service: {exc!r}") from exc


def said(reply: Reply) -> Mapping[str, Any]:
    """The object of a 200 or 202; raises `errors.ClientError` for any other answer."""
    if reply.status not in (200, 202):
        refuse(reply)
    if not (data := reply.object()):
        raise _foreign(reply)
    return data


def refuse(reply: Reply) -> Never:
    """Raise what an answer other than a 200 or 202 stands for."""
    data = reply.object()
    ours = isinstance(data.get("code"), str)
    code = data["code"] if ours else f"http_{reply.status}"
    message, named = _reason(reply), reply.id
    if reply.status in BUSY:
        if not ours and reply.status in (502, 504):
            raise errors.Unreachable(f"the service does not answer whom it stands behind: {message}")
        raise errors.Overloaded(message, retry_after=reply.retry_after or RETRY_AFTER, id=named)
    if reply.status // 100 not in (4, 5):
        raise _foreign(reply)
    raise _kind(reply.status, code, named)(message, code=code, status=reply.status, id=named)


def _kind(status: int, code: str, named: str | None) -> type[errors.Refused]:
    if status == 401 or code == "forbidden":  # other 403 are about what was asked for
        return errors.Unauthorized
    if status == 404:
        return errors.NotFound
    return errors.Failed if named and status != 409 else errors.Refused


def _reason(reply: Reply) -> str:
    """One line for a person out of any answer."""
    data = reply.object()
    told = data.get("detail") or data.get("title")
    if not told and "html" not in reply.headers.get("content-type", ""):
        first = next(iter(reply.content.decode("utf-8", "replace").strip().splitlines()), "")
        told = first[:_SHOWN].removeprefix("error: ")
    if not told:
        try:
            told = HTTPStatus(reply.status).phrase
        except ValueError:
            told = "no reason given"
    return "".join(c for c in " ".join(str(told).split()) if c.isprintable())


def _foreign(reply: Reply) -> errors.Unreachable:
    where = reply.headers.get("location", "")
    hint = f" and redirects to {where[:_SHOWN]}" if reply.status // 100 == 3 and where else ""
    return errors.Unreachable(f"what answers is not this service: HTTP {reply.status}{hint}")


def _number(value: object, kind: type) -> Any:
    return kind(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
