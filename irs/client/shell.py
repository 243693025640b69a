"""What both shells have in common: the address, the patience, and httpx's terms for ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from irs.client import wire
from irs.client.flows import Flows
from irs.client.images import Bytes
from irs.client.records import Batch
from irs.client.wire import NoAnswer, Reply, Request

#: Where `irs up` serves.
URL = "http://127.0.0.1:8080"
#: Seconds without a byte, beyond the wait asked for, after which there is no answer.
TIMEOUT = 30.0
#: Seconds for a TCP handshake; one lost packet is 1 s, two are 3 s.
CONNECT = 5.0
#: How often a request without an answer is repeated: with pauses of up to 5 s, some 6 s in all.
RETRIES = 5
#: Images at once: enough to fill a batch of the engine's, too few to be a burden.
PARALLEL = 8
#: Seconds that the methods wait for a label: the service's own default.
WAIT = 60.0
#: Outcomes held back for the sake of their order, for each image that is on its way.
AHEAD = 4


class Shell:
    """The service at ``url``. Its flows are run by those who inherit from it.

    Raises `irs.errors.SettingsError` for an address or a key that is none.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout: float, retries: int) -> None:
        self.url = wire.address(url)
        self._timeout = timeout
        self._flows = Flows(retries=retries)
        near = wire.is_loopback(self.url)
        self._options: dict[str, Any] = {
            "headers": wire.headers(api_key),
            "trust_env": not near,
            # Loading the certificates takes 60 ms, which nobody needs who never sees TLS.
            "verify": not (near and self.url.startswith("http:")),
            # Those who call set the bounds: `parallel` of theirs, threads of theirs.
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=None),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"  # and never the key

    def _arguments(self, request: Request, content: object) -> dict[str, Any]:
        """``request`` as httpx's ``build_request`` takes it."""
        headers = dict(request.headers)
        if request.body is not None:
            headers["Content-Length"] = str(request.body.size)
        return {
            "method": request.method, "url": self.url + request.path, "headers": headers,
            "content": request.body.data if isinstance(request.body, Bytes)
            and isinstance(request.body.data, bytes) else content,
            "timeout": httpx.Timeout(self._timeout, connect=min(CONNECT, self._timeout),
                                     read=self._timeout + request.wait, pool=None),
        }

    def _silence(self, exc: httpx.HTTPError) -> NoAnswer:
        """What is said where no answer came."""
        what = "does not answer in time" if isinstance(exc, httpx.TimeoutException) else "does not answer"
        if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
            return NoAnswer(f"nothing answers at {self.url} ({_why(exc)})")
        return NoAnswer(f"{self.url} {what} ({_why(exc)})")


def unseen(batch: Batch) -> None:
    """Nobody watches it."""


def reply(status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    """httpx's answer as ours."""
    return Reply(status=status, headers={name.lower(): value for name, value in headers.items()},
                 content=content)


def _why(exc: httpx.HTTPError) -> str:
    cause: BaseException | None = exc
    while cause is not None:  # the system's own words, where they are at the bottom of it
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(exc).split()) or type(exc).__name__
