"""API keys: their text form, the constant-time look-up, and a bucket of tokens for each."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import threading
from collections.abc import Callable

#: Characters of a secret at least: 16 random letters and digits are 95 bits.
MIN_SECRET = 16
#: Seconds' worth of requests that a key may save up and spend at once.
BURST = 10.0

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def parse(text: str) -> dict[str, str]:
    """``name:secret`` or ``secret``, separated by commas, as name to secret.

    A secret without a name is called ``key-1``, ``key-2``, … by its place; no text at all is no
    key. Raises `ValueError`; its message never holds a secret.
    """
    keys: dict[str, str] = {}
    for place, entry in enumerate((part.strip() for part in text.split(",")), 1):
        if not entry:
            continue
        name, colon, secret = entry.partition(":")
        if not colon:
            name, secret = f"key-{place}", entry
        if not _NAME.fullmatch(name):
            raise ValueError(f"key {place}: a name has up to 64 letters, digits, dots, dashes")
        # A key travels in a header, and after a colon as the password of Basic.
        if len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise ValueError(f"key {place}: a secret has at least {MIN_SECRET} printable ASCII "
                             "characters, none a space or a comma")
        if name in keys:
            raise ValueError(f"key {place}: the name {name} is taken by another")
        keys[name] = secret
    if text.strip() and not keys:
        # Whoever wrote that wants the service closed, not open.
        raise ValueError("there is no key between the commas")
    return keys


class Keyring:
    """Which key a secret is. Holds digests only, so that no dump of memory gives a secret away."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._digests = {name: _digest(secret) for name, secret in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def name_of(self, secret: str) -> str | None:
        """The key's name; None for a stranger. Takes the same time for every secret of a length."""
        given = _digest(secret)
        found = None
        for name, digest in self._digests.items():  # to the end: a break would tell the place
            if hmac.compare_digest(digest, given):
                found = name
        return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Buckets:
    """A token bucket a name: ``rate`` requests a second, `BURST` seconds' worth at once.

    Memory grows with the names, which are the configured keys. For any number of threads.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._size = max(1.0, rate * BURST)
        self._clock = clock
        self._lock = threading.Lock()
        self._filled: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> int:
        """0 and a token taken, or the whole seconds until there is one."""
        now = self._clock()
        with self._lock:
            tokens, then = self._filled.get(name, (self._size, now))
            tokens = min(self._size, tokens + (now - then) * self._rate)
            if tokens >= 1:
                self._filled[name] = (tokens - 1, now)
                return 0
            self._filled[name] = (tokens, now)
        return math.ceil((1 - tokens) / self._rate)
