"""What a request with an idempotency key has claimed: one small object, in JSON. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from irs.domain import keys
from irs.domain.observing import moment, stamp

#: Keys of claims in the output bucket; what has a folder there is no result.
FOLDER = "requests/"
#: For how long a key stands for its first request.
KEPT = timedelta(hours=24)


def key(scope: str, idempotency_key: str) -> str:
    """Where the claim is; ``scope`` is the name of the API key, empty where there is none."""
    # No name has a space in it, so that no two pairs are the same text.
    return f"{FOLDER}{hashlib.sha256(f'{scope} {idempotency_key}'.encode()).hexdigest()}.json"


def fingerprint(kind: str, *parts: bytes) -> str:
    """What makes two requests the same: ``kind`` of request, and all that is in it.

    64 hex digits, over the parts' digests, so that nothing moves from one part to the next.
    """
    digests = [hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(kind.encode() + b"\n" + b"".join(digests)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The first request with its key."""

    #: of what the request makes: a job, a batch, an upload
    id: str
    #: see `fingerprint`
    fingerprint: str
    #: when the request came
    at: datetime
    #: all that the request asks for is under way; False: that is not known
    begun: bool = False

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("naive datetime: give it a time zone")

    def expired(self, now: datetime) -> bool:
        """Whether the key may be used for something else."""
        return now - self.at >= KEPT

    def to_json(self) -> bytes:
        """One small object."""
        return json.dumps(asdict(self), default=stamp, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Claim:
        """The opposite; raises `ValueError` for anything that is no claim."""
        try:
            raw = json.loads(data)
            at = moment(raw["at"])
            if at is None:
                raise ValueError("not a claim: no time")
            return cls(id=keys.parse_id(raw["id"]), fingerprint=str(raw["fingerprint"]), at=at,
                       begun=raw.get("begun") is True)
        except (TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise ValueError(f"not a claim: {exc!r}") from exc
