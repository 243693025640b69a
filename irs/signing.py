"""The secrets that callbacks are signed with, and the signature.

The form is that of Standard Webhooks (https://www.standardwebhooks.com), so that a receiver
may use a library instead of the ten lines in docs/webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

#: Bytes of a secret at least, as Standard Webhooks has it.
MIN_SECRET = 24
#: Marks a secret as base64, in Standard Webhooks's form.
PREFIX = "whsec_"


def parse(text: str) -> tuple[bytes, ...]:
    """The keys of one secret, or of several separated by commas.

    A secret that begins with ``whsec_`` is base64 of its key, any other is its key itself.
    Raises `ValueError`; its message never holds a secret.
    """
    keys = []
    for place, entry in enumerate((part.strip() for part in text.split(",")), 1):
        if not entry:
            continue
        if entry.startswith(PREFIX):
            try:
                key = base64.b64decode(entry.removeprefix(PREFIX), validate=True)
            except binascii.Error:
                raise ValueError(f"secret {place}: what follows {PREFIX} is not base64") from None
        else:
            key = entry.encode()
        if len(key) < MIN_SECRET:
            raise ValueError(f"secret {place} has fewer than {MIN_SECRET} bytes: "
                             "make one with openssl rand -hex 32")
        keys.append(key)
    return tuple(keys)


def headers(keys: Sequence[bytes], message_id: str, body: bytes, seconds: int) -> dict[str, str]:
    """The three headers of a message: a signature for each key, separated by spaces.

    ``seconds`` is the time of the attempt, since 1970.
    """
    signed = f"{message_id}.{seconds}.".encode() + body
    signatures = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures)}
