"""Who may come in, judged by a request's headers alone, before its body is read.

The server asks when the headers are there (`irs.web.connection`); under another WSGI server
the application asks before it reads the body. Nothing here waits for anything.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable

from irs import apikeys, errors
from irs.settings import Settings
from irs.web.estimates import Estimates
from irs.web.waiting import Gate

#: WSGI environment: the server has asked already, and what it was told.
ADMITTED, REFUSAL = "irs.admitted", "irs.refusal"
#: Routes that bring work.
WORK = frozenset({"/upload", "/v1/images"})
#: Routes that need no key: a load balancer has none, and a style sheet is no secret.
OPEN = frozenset({"/healthz", "/readyz"})
_STATIC = "/static/"
#: Seconds: the longest ``Retry-After`` that an estimate may give.
LONGEST = 3600

#: Gives a header's value by its name, and the empty string for one that is not there.
Headers = Callable[[str], str]


class Admission:
    """Checks a request's key, its key's rate, and for new work that there is room for it."""

    def __init__(self, settings: Settings, gate: Gate, estimates: Estimates,
                 clock: Callable[[], float] = time.monotonic) -> None:
        text = settings.api_keys.get_secret_value() if settings.api_keys else ""
        self._keyring = apikeys.Keyring(apikeys.parse(text))
        self._buckets = apikeys.Buckets(settings.api_rate, clock) if settings.api_rate else None
        self._max_wait = settings.max_queue_wait
        self._gate = gate
        self._estimates = estimates

    def check(self, method: str, path: str, header: Headers) -> None:
        """Return where the request may come in.

        Raises `errors.Unauthorized`, `errors.Forbidden`, `errors.TooMany`, or
        `errors.Overloaded`.
        """
        if self._keyring and path not in OPEN and not path.startswith(_STATIC):
            self._check_key(method, header)
        if method == "POST" and path in WORK:
            self._gate.look()
            self._check_queue()

    def client(self, header: Headers) -> str:
        """The name of the request's API key; empty where none is asked for."""
        secret, _ = _secret(header)
        return self._keyring.name_of(secret) or "" if self._keyring and secret else ""

    def _check_key(self, method: str, header: Headers) -> None:
        secret, browser = _secret(header)
        name = self._keyring.name_of(secret) if secret else None
        if name is None:
            raise errors.Unauthorized(
                "this is no API key of this service" if secret else
                "send an API key, e.g. curl -H 'Authorization: Bearer KEY'")
        # A browser sends a password that it knows with every page's forms, also another site's.
        if browser and method == "POST" and header("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise errors.Forbidden("a page of another site may not send images with your key")
        if self._buckets is not None and (seconds := self._buckets.take(name)):
            raise errors.TooMany("more requests than this API key may make, try again later",
                                 retry_after=seconds)

    def _check_queue(self) -> None:
        if self._max_wait is None:
            return
        wait = self._estimates.queue_wait()
        if wait is not None and wait > self._max_wait:
            raise errors.Overloaded(
                f"the queue is about {round(wait)} s long, try again later",
                retry_after=min(LONGEST, math.ceil(wait - self._max_wait)))


def _secret(header: Headers) -> tuple[str, bool]:
    """The secret that the request carries, or nothing; and whether as a browser's password."""
    if key := header("X-API-Key"):
        return key.strip(), False
    scheme, _, value = header("Authorization").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip(), False
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            return "", True
        return decoded.partition(":")[2], True
    return "", False
