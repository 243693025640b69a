"""How far behind the journal CloudWatch is, told when it matters and not more often."""

from __future__ import annotations

from irs import errors, log

#: Seconds that lines may be late without a word.
BEHIND = 60.0
#: Seconds between words about the same trouble.
AGAIN = 600.0

_log = log.get("logs")


class Lag:
    """All times are in seconds since 1970."""

    def __init__(self) -> None:
        self._told: float | None = None
        self._why = ""
        self._since: float | None = None

    def failed(self, now: float, oldest: float, exc: errors.CloudError) -> None:
        """A call did not succeed that lines from ``oldest`` on wait for."""
        # What will fail again by itself somebody has to mend: they are told at once.
        if isinstance(exc, errors.Permanent) or now - oldest > BEHIND:
            self._tell(now, now - oldest, str(exc))

    def shipped(self, now: float, newest: float) -> None:
        """Lines up to ``newest`` are in CloudWatch."""
        if now - newest <= BEHIND:
            if self._told is not None:
                _log.info("logs.caught_up", seconds=round(now - newest, 1))
            self._told, self._since = None, None
            return
        # After an outage, or a machine that was stopped, this is so for a moment.
        self._since = now if self._since is None else self._since
        if now - self._since > BEHIND:
            self._tell(now, now - newest, "more is written than is shipped")

    def _tell(self, now: float, seconds: float, why: str) -> None:
        if self._told is not None and now - self._told < AGAIN and (why == self._why):
            return
        self._told, self._why = now, why
        _log.warning("logs.behind", seconds=round(seconds, 1), why=why)
