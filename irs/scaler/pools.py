"""Where EC2 may have an instance for us: each type in each subnet is a pool of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from irs.settings import Settings

#: Seconds before the first try of a pool that had no capacity; doubled up to the second
#: number while that goes on. AWS advises to wait "a few minutes".
BACKOFF_FIRST, BACKOFF_MOST = 6.0, 300.0

#: (instance type, subnet id or "" for the account's default)
Pool = tuple[str, str]


class Pools:
    """The settings' pools, in order of preference, and which of them are exhausted now."""

    def __init__(self, settings: Settings) -> None:
        self.types = tuple(dict.fromkeys((settings.instance_type, *settings.instance_types)))
        self.subnets = settings.subnet_ids or ("",)
        self._closed_until: dict[Pool, datetime] = {}
        self._backoff: dict[Pool, float] = {}

    def best(self, now: datetime, slot: int = 0) -> Pool | None:
        """The pool to try now, or None while all are exhausted.

        Types in the order of the settings; of each, the subnets in turn by ``slot``, so
        that a fleet spreads over them.
        """
        turn = slot % len(self.subnets)
        for type in self.types:
            for subnet in (*self.subnets[turn:], *self.subnets[:turn]):
                if not self.rests((type, subnet), now):
                    return (type, subnet)
        return None

    def rests(self, pool: Pool, now: datetime) -> bool:
        """Whether it has refused lately, and is left alone."""
        return self._closed_until.get(pool, now) > now

    def exhausted(self, pool: Pool, now: datetime) -> float:
        """EC2 had none, or refused: the seconds for which the pool is left alone."""
        if self.rests(pool, now):
            return 0.0  # known already; a launch that may have happened was called all the same
        seconds = self._backoff.get(pool, BACKOFF_FIRST)
        self._closed_until[pool] = now + timedelta(seconds=seconds)
        self._backoff[pool] = min(2 * seconds, BACKOFF_MOST)
        return seconds

    def served(self, pool: Pool) -> None:
        """EC2 had one: the next trouble begins anew."""
        self._closed_until.pop(pool, None)
        self._backoff.pop(pool, None)
