"""What a simulation takes and gives: the controller, and the record of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from irs.domain.scaling import Action, Observation

#: Second 0 of every run.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: Seconds after the last arrival in which whatever still waits must be served.
GRACE = 3600.0


class Controller(Protocol):
    """What decides. Two optional attributes say how its instances end:

    ``drains`` (default True): a terminated instance finishes its message; False: it is
    killed, and the message is seen again after the visibility timeout (a busy kill).
    ``idle_shutdown`` (default None): seconds after which an idle instance ends itself.
    """

    name: str

    def tick(self, seen: Observation) -> tuple[Action, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """What happened; times in seconds."""

    controller: str
    #: seconds simulated
    duration: float
    instance_seconds: float
    launches: int
    #: launched, billed, and ended without one message
    wasted_launches: int
    #: refused for want of capacity
    refused_launches: int
    #: messages that an ended instance had in hand
    busy_kills: int
    crashes: int
    #: (messages,) float64: arrival to the (last) start of work
    waits: np.ndarray
    #: messages not served within `GRACE` of the end; their wait counts up to there
    unserved: int
    #: the timeline, one entry a tick
    at: np.ndarray
    queue: np.ndarray
    ready: np.ndarray
    booting: np.ndarray
    #: age of the oldest message that waits
    oldest: np.ndarray
