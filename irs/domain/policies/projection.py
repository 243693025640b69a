"""The fluid projection: does a fleet leave a message waiting for longer than W?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Messages: what is less than this late is nobody.
TOLERANCE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """The queue now, and what is expected of it."""

    backlog: float
    #: arrivals a second from now on
    rate: float
    #: (seconds before now, messages that came since), youngest first
    past: Sequence[tuple[float, float]]
    #: W
    wait: float
    #: seconds an instance needs for one message
    service: float

    def due(self, t: float) -> float:
        """Messages, counted from now, that must have started by ``t`` seconds from now.

        Negative before what waits now is due: what came within the last ``W - t`` seconds is
        not. Inside a tick the arrivals count as evenly spread.
        """
        since = self.wait - t
        if since <= 0:
            return self.backlog + self.rate * -since
        last_age, last = 0.0, 0.0
        for age, came in self.past:
            if age >= since:
                part = (since - last_age) / (age - last_age) if age > last_age else 1.0
                return self.backlog - (last + (came - last) * part)
            last_age, last = age, came
        # What was there at the first look is taken to have come then: nothing older is known.
        return 0.0

    def late(self, fleet: Sequence[tuple[float, int]], times: Sequence[float]) -> float:
        """The most messages that are overdue at one of ``times`` (ascending, seconds from now).

        ``fleet``: (from, more instances that serve), ascending; the first from 0.
        """
        worst = float("-inf")
        waiting, started, at, serving, index = self.backlog, 0.0, 0.0, 0, 0
        for t in times:
            while index < len(fleet) and fleet[index][0] <= t:
                moment, more = fleet[index]
                waiting, done = self._run(waiting, serving, moment - at)
                started, at, serving, index = started + done, moment, serving + more, index + 1
            waiting, done = self._run(waiting, serving, t - at)
            started, at = started + done, t
            worst = max(worst, self.due(t) - started)
        return worst

    def _run(self, waiting: float, serving: int, seconds: float) -> tuple[float, float]:
        """(still waiting, started) after ``seconds`` with ``serving`` instances."""
        came = self.rate * seconds
        done = min(waiting + came, serving * seconds / self.service)
        return waiting + came - done, done
