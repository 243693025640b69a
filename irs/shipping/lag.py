"""How far behind the journal CloudWatch is, told when it matters and not more often."""

from __future__ import annotations

from irs import errors, log

#: Seconds that lines may be late without a word.
BEHIND = 60.0
#: Seconds between words about the same trouble.
AGAIN = 600.0

_log = log.get("logs")


class Lag:
    """``now`` is by a clock that nobody sets, ``late`` how old lines are; seconds, both."""

    def __init__(self) -> None:
        self._told: float | None = None
        self._why = ""
        self._since: float | None = None

    def failed(self, now: float, late: float, exc: errors.CloudError) -> None:
        """A call did not succeed, and the oldest line that waits for it is so late."""
        # What will fail again by itself somebody has to mend: they are told at once.
        if isinstance(exc, errors.Permanent) or late > BEHIND:
            self._tell(now, late, str(exc))

    def shipped(self, now: float, late: float) -> None:
        """The newest line that CloudWatch has taken was so late."""
        if late <= BEHIND:
            if self._told is not None:
                _log.info("logs.caught_up", seconds=round(late, 1))
            self._told, self._since = None, None
            return
        # After an outage, or a machine that was stopped, this is so for a moment.
        self._since = now if self._since is None else self._since
        if now - self._since > BEHIND:
            self._tell(now, late, "more is written than is shipped")

    def _tell(self, now: float, late: float, why: str) -> None:
        if self._told is not None and now - self._told < AGAIN and why == self._why:
            return
        self._told, self._why = now, why
        _log.warning("logs.behind", seconds=round(late, 1), why=why)
