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
from irs.web import limits
from irs.web.estimates import Estimates
from irs.web.waiting import Gate

#: WSGI environment: the server has asked already, and what it was told.
ADMITTED, REFUSAL = "irs.admitted", "irs.refusal"
#: Routes that bring work.
WORK = frozenset({"/", "/upload", "/v1/images", "/v1/uploads"})
#: The route that brings more than goes to the queue: how long that is does not matter.
BULK = "/v1/batches"
#: Routes that need no key: a load balancer has none, and a style sheet is no secret.
OPEN = frozenset({"/healthz", "/readyz"})
_STATIC = "/static/"
#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: The scheme of a request that a client of AWS's has signed (SigV4), in which
#: ``Credential=KEY/date/region/service/aws4_request`` is one of three, with commas between.
_SIGNED, _CREDENTIAL = "AWS4-HMAC-SHA256", "Credential"
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
        self._most, self._most_bulk = limits.request_limit(settings), limits.batch_limit(settings)
        self._gate = gate
        self._estimates = estimates

    def check(self, method: str, path: str, header: Headers) -> None:
        """Return where the request may come in.

        Raises `errors.Unauthorized`, `errors.Forbidden`, `errors.TooMany`, or
        `errors.Overloaded`.
        """
        if self._keyring and path not in OPEN and not path.startswith(_STATIC):
            self._check_key(method, header)
        if method == "POST" and (path in WORK or path == BULK):
            self._gate.look()
            if path in WORK:
                self._check_queue()

    def most(self, path: str) -> int:
        """Bytes of the largest body that is read on that route."""
        return self._most_bulk if path == BULK else self._most

    def _check_key(self, method: str, header: Headers) -> None:
        key, browser = _secret(header)
        name = self._keyring.name_of(key) if key else None
        if name is None:
            raise errors.Unauthorized(
                "this is no API key of this service" if key else
                "send an API key, e.g. curl -H 'Authorization: Bearer KEY'")
        # A browser sends a password that it knows with every page's forms, also another site's.
        if browser and method not in SAFE and header("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise errors.Forbidden("a page of another site may not do this with your key")
        if self._buckets is not None and (seconds := self._buckets.take(name)):
            raise errors.TooMany("more requests than this API key may make, try again later",
                                 retry_after=seconds)

    def client(self, header: Headers) -> str:
        """The name of the API key that a request came in with; empty where none is wanted."""
        secret, _ = _secret(header)
        return (self._keyring.name_of(secret) if self._keyring and secret else None) or ""

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
    if scheme.upper() == _SIGNED:
        return _access_key(value), False
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            return "", True
        return decoded.partition(":")[2], True
    return "", False


def _access_key(signed: str) -> str:
    """The id of the access key of a signed request, or nothing; it is the secret.

    Who holds no copy of the key that belongs to it cannot look at the signature, and like a
    bearer token it is good without one.
    """
    for part in signed.split(","):
        name, _, credential = part.strip().partition("=")
        if name == _CREDENTIAL:
            key, *scope = credential.rsplit("/", 4)
            return key if len(scope) == 4 and all(scope) else ""
    return ""
