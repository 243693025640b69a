"""Who may come in, judged by a request's headers alone, before its body is read.

The server asks when the headers are there (`irs.web.connection`); under another WSGI server
the application asks before it reads the body. Nothing here waits for anything.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
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
#: And what to call when the request's body has been read to its end, and may go.
BODY_READ = "irs.body_read"
#: Routes that bring work.
WORK = frozenset({"/", "/upload", "/v1/images", "/v1/uploads"})
#: The route that brings more than goes to the queue: how long that is does not matter.
BULK = "/v1/batches"
#: Routes that need no key: a load balancer has none, and a style sheet is no secret.
OPEN = frozenset({"/healthz", "/readyz"})
_STATIC = "/static/"
#: Routes that show what others have sent, and the page that leads to them.
LETTERS, DASHBOARD = "/v1/dead-letters", "/dashboard"
#: What proxies add.
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
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
        """Raises `errors.SettingsError` where there must be keys and are none."""
        if settings.require_api_keys and settings.api_keys is None:
            raise errors.SettingsError("IRS_REQUIRE_API_KEYS is set and IRS_API_KEYS is not: "
                                       "give IRS_API_KEYS=name:secret")
        text = settings.api_keys.get_secret_value() if settings.api_keys else ""
        self._keyring = apikeys.Keyring(apikeys.parse(text))
        text = settings.operator_keys.get_secret_value() if settings.operator_keys else ""
        self._operators = apikeys.Keyring(apikeys.parse(text))
        self._laptop = is_loopback(settings.host) and not self._keyring
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
        if is_letters(path) or (self._operators and is_operators(path)):
            self._check_operator(method, header)
        elif self._keyring and path not in OPEN and not path.startswith(_STATIC):
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
        if name is None and not (key and self._operators.name_of(key)):
            raise errors.Unauthorized(
                "this is no API key of this service" if key else
                "send an API key, e.g. curl -H 'Authorization: Bearer KEY'")
        # A browser sends a password that it knows with every page's forms, also another site's.
        if browser:
            _check_page(method, header)
        # An operator's pages ask often, and are few.
        if name is not None and self._buckets is not None and (seconds := self._buckets.take(name)):
            raise errors.TooMany("more requests than this API key may make, try again later",
                                 retry_after=seconds)

    def _check_operator(self, method: str, header: Headers) -> None:
        if self._operators:
            key, _ = _secret(header)
            # 401 for a client's key too: a browser asks its user for another one.
            if not key or self._operators.name_of(key) is None:
                raise errors.Unauthorized(
                    "this is no operator's key of this service" if key else
                    "send an operator's key, e.g. curl -H 'Authorization: Bearer KEY'")
        elif why := self.closed(header):
            raise errors.Forbidden(why)
        _check_page(method, header)
        _check_origin(method, header)

    def closed(self, header: Headers) -> str | None:
        """Why nobody may see dead letters here, where no operator has a key; None: somebody may.

        A laptop's service is open to whoever sits there: to requests that ask for it by its own
        name, so that no page of another site can make its name point here, and that no proxy
        has passed on.
        """
        if self._operators:
            return None
        if not self._laptop:
            return ("dead letters show what others have sent: set IRS_OPERATOR_KEYS=name:secret, "
                    "and come with that key")
        if not is_loopback(_host(header("Host"))) or any(header(name) for name in _PROXIED):
            return ("without IRS_OPERATOR_KEYS dead letters are shown at http://127.0.0.1 only, "
                    "and through no proxy")
        return None

    def client(self, header: Headers) -> str:
        """The name of the API key that a request came in with; empty where none is wanted."""
        secret, _ = _secret(header)
        if not self._keyring or not secret:
            return ""
        if name := self._keyring.name_of(secret):
            return name
        # No key's name has a slash.
        return f"operator/{name}" if (name := self._operators.name_of(secret)) else ""

    def _check_queue(self) -> None:
        if self._max_wait is None:
            return
        wait = self._estimates.queue_wait()
        if wait is not None and wait > self._max_wait:
            raise errors.Overloaded(
                f"the queue is about {round(wait)} s long, try again later",
                retry_after=min(LONGEST, math.ceil(wait - self._max_wait)))


def is_letters(path: str) -> bool:
    """Whether the route is one of dead letters."""
    return path == LETTERS or path.startswith(f"{LETTERS}/")


def is_operators(path: str) -> bool:
    """Whether the route wants an operator's key, where there are such keys."""
    return is_letters(path) or path == DASHBOARD


def is_loopback(host: str) -> bool:
    """Whether the name is this machine's for itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str:
    """``Host``'s name without its port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _check_page(method: str, header: Headers) -> None:
    """Refuse what another site's page has its visitor's browser send; raises `errors.Forbidden`."""
    if method not in SAFE and header("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise errors.Forbidden("a page of another site may not do this with your key")


def _check_origin(method: str, header: Headers) -> None:
    """The same for browsers that do not say whose page it is, as over plain HTTP none does."""
    origin = header("Origin")
    if (method not in SAFE and origin and not header("Sec-Fetch-Site")
            and origin.partition("://")[2].lower() != header("Host").lower()):
        raise errors.Forbidden("a page of another site may not do this")


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
