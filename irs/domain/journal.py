"""What a scaler writes down before it acts: one small object a cluster, lease and memory in one.

Whoever replaces it (conditionally, on the ETag that it read) is the scaler that acts; what
is in it is what a successor must know so as neither to double nor to forget a launch, and
what an idle worker asks before it ends itself. Pure: no clock, no AWS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from irs.domain.observing import moment, stamp

How = Literal["terminate", "stop"]


def key(cluster: str) -> str:
    """Where the journal is, in the output bucket."""
    return f"scaler/{cluster}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """A launch that may have happened: repeated with the same token it is the same launch."""

    #: the Name tag
    name: str
    #: what the ClientToken is made of, but for the pool: ``cluster/epoch/tick/slot``
    origin: str
    type: str
    #: empty: the account's default
    subnet: str = ""
    #: when it was first meant
    since: datetime
    #: it is launched to be stopped into the warm pool
    spare: bool = False

    @property
    def token(self) -> str:
        """64 hex digits, as long as a ClientToken may be; another pool is another launch."""
        text = f"{self.origin}/{self.type}/{self.subnet}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave:
    """An instance that ends: told so, or allowed to do it itself."""

    how: How
    since: datetime
    #: it asked for it and makes the call
    itself: bool = False
    #: it was launched for the warm pool, and is stopped when it has come up
    once_ready: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An instance of the fleet, as far as it must be remembered while nobody describes it."""

    id: str
    name: str
    launched_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """The object; a fresh one is that of a cluster that never had a scaler."""

    #: raised by one with each new holder: the fence
    epoch: int = 0
    #: the process that acts; empty: none, take it
    holder: str = ""
    #: writes of this holder: no two objects are ever alike
    serial: int = 0
    intents: tuple[Intent, ...] = ()
    #: by instance id
    leaving: Mapping[str, Leave] = field(default_factory=dict)
    fleet: tuple[Member, ...] = ()
    #: measured, for a successor to begin with
    service_seconds: float | None = None
    boots: tuple[float, ...] = ()
    #: the last decision, for people and dashboards
    decision: Mapping[str, Any] = field(default_factory=dict)
    #: how the service stands, see `irs.domain.facts`
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The object's bytes."""
        return json.dumps(asdict(self), default=stamp, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Journal:
        """The opposite; raises `ValueError` for anything that is no journal."""
        try:
            raw = json.loads(data)
            service = raw.get("service_seconds")
            return cls(
                epoch=int(raw["epoch"]), holder=str(raw["holder"]), serial=int(raw["serial"]),
                intents=tuple(Intent(**_dated(i, "since")) for i in raw.get("intents", ())),
                leaving={str(k): Leave(**_dated(v, "since")) for k, v in raw.get("leaving", {}).items()},
                fleet=tuple(Member(**_dated(m, "launched_at")) for m in raw.get("fleet", ())),
                service_seconds=None if service is None else float(service),
                boots=tuple(float(b) for b in raw.get("boots", ())),
                decision=dict(raw.get("decision", {})), facts=dict(raw.get("facts", {})))
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"not a scaler's journal: {exc!r}") from exc


def _dated(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``raw`` with its moment read; raises `ValueError` where it has no time zone."""
    found = moment(raw[name])
    if found is None or found.tzinfo is None:
        raise ValueError(f"{name} is not a moment with a time zone")
    return {**raw, name: found}
