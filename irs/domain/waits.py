"""How long a job has to wait: the queue before it, and the fleet as it works and as it boots.

Pure: no clock, no AWS. The fleet is a fluid: an instance finishes ``1 / service`` images a
second from the moment on at which it works, whatever it has in hand at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from irs.domain.observing import moment
from irs.domain.policies.records import Policy

#: Seconds after which a decision of the scaler says nothing about the fleet any more: it
#: writes one every few seconds. As much as clocks may disagree.
STALE = 60.0
#: Seconds; nothing that is told here takes so long.
DAY = 86_400.0


def seconds(position: int, *, running: float, booting: Sequence[float], service: float,
            in_flight: int = 0) -> float | None:
    """Seconds until the job has its result; None where nobody works, or ever will.

    ``position``: jobs that wait up to and with this one; 0: it is one of the ``in_flight``,
    which workers have in hand. ``running``: instances at work. ``booting``: seconds until
    each of the others is. ``service``: seconds an image takes one instance.
    """
    # The k-th of many even completions is expected half an interval before the k-th is full.
    need = in_flight + position - 0.5
    if position == 0:
        # Any of those in hand; or a count that was late, where nobody can have any.
        need = max(in_flight, 1) / 2 if running else in_flight + 0.5
    at, done, rate = 0.0, 0.0, running / service
    # The first image of one that boots takes its whole time, where one that works is on
    # average halfway through.
    for begins in sorted(max(0.0, ready) + service / 2 for ready in booting):
        if done + rate * (begins - at) >= need:
            break
        done, at, rate = done + rate * (begins - at), begins, rate + 1 / service
    return at + (need - done) / rate if rate else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """The fleet, as far as a job that waits is concerned."""

    #: instances at work
    running: float
    #: seconds until each of those that boot is at work
    booting: tuple[float, ...] = ()
    #: seconds an image takes one instance
    service: float
    #: images that workers have in hand
    in_flight: int = 0

    def wait(self, position: int) -> float | None:
        """Seconds until the job at ``position`` has its result: see `seconds`."""
        return seconds(position, running=self.running, booting=self.booting, service=self.service,
                       in_flight=self.in_flight)

    @classmethod
    def of(cls, decision: Mapping[str, Any], now: datetime, *, stale: float = STALE) -> Outlook | None:
        """What the scaler's last decision, as JSON, tells of ``now``.

        None where it is older than ``stale`` seconds, or is of a version that does not tell.
        """
        try:
            at = moment(decision.get("at"))
            if at is None or abs(now - at) > timedelta(seconds=stale):
                return None
            age = (now - at).total_seconds()
            found = cls(
                running=int(decision["ready"]), in_flight=int(decision["in_flight"]),
                booting=tuple(max(float(ready) - age, 0.0) for ready in decision["booting"]),
                service=float(decision["service_seconds"] or Policy().service_seconds))
        except (TypeError, KeyError, ValueError, OverflowError):
            return None
        return found if found.sound else None

    @property
    def sound(self) -> bool:
        """Whether all of it can be; what is not a number (NaN) cannot."""
        return (self.running >= 0 and self.in_flight >= 0 and 0 < self.service < DAY
                and all(0 <= ready < DAY for ready in self.booting))
