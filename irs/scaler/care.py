"""What is done for instances besides the policy: ending what never came up, letting go who asks."""

from __future__ import annotations

from datetime import datetime, timedelta

from irs import log
from irs.domain import scaling, tending
from irs.domain.observing import FRESH
from irs.scaler.actuator import Actuator
from irs.scaler.senses import Senses
from irs.settings import Settings

#: For how long an instance must look overdue: reports that were deleted are there again.
SURE = timedelta(seconds=FRESH)

_log = log.get("scaler")


class Care:
    """One scaler's; not thread-safe."""

    def __init__(self, settings: Settings, policy: scaling.Policy, senses: Senses) -> None:
        self._settings, self._policy, self._senses = settings, policy, senses
        #: instances given up while no worker has ever reported; None: one has
        self._fruitless: int | None = 0
        #: instances past their boot deadline, and since when that was seen
        self._late: dict[str, datetime] = {}

    def forget(self) -> None:
        """Another scaler acts: what looked late then says nothing later."""
        self._late = {}

    def believed(self, fleet: tuple[scaling.InstanceView, ...], now: datetime,
                 ) -> tuple[scaling.InstanceView, ...]:
        """``fleet``; where no worker has ever reported, running ones count as ready in time."""
        if self._senses.known.boots:
            self._fruitless = None
        elif self._fruitless is not None:
            return tending.assume_ready(fleet, now, boot_seconds=self._policy.boot_seconds)
        return fleet

    def overdue(self, actuator: Actuator, seen: scaling.Observation) -> tuple[scaling.Action, ...]:
        """End what has not come up; the policy replaces it."""
        suspects: tuple[str, ...] = ()
        if self._senses.hears:  # else nobody can be said to be silent
            suspects = tending.overdue(
                actuator.views(seen.now, self._senses.reports), seen.now,
                deadline=self._settings.boot_deadline, fruitless=self._fruitless)
        self._late = {i: self._late.get(i, seen.now) for i in suspects if i in actuator.ledger.entries}
        late = tuple(i for i, since in self._late.items() if seen.now - since >= SURE)
        if late and self._fruitless is not None:
            self._fruitless += 1
        return (scaling.Terminate(ids=late, reason=(
            f"not ready {self._settings.boot_deadline:g} s after launch")),) if late else ()

    def spare(self, actuator: Actuator, seen: scaling.Observation, actions: tuple[scaling.Action, ...],
              state: scaling.State) -> None:
        """Let those end themselves that ask for it and that the policy can do without."""
        endings = actuator.endings
        for instance_id in self._senses.changed_their_mind(endings.leaving):
            endings.withdraw(instance_id)
        endings.overdue(seen.now)
        asking = self._senses.asking(seen.now)
        wanted_more = seen.visible or any(isinstance(a, scaling.Launch) for a in actions)
        if asking and not wanted_more:
            ended = {i for a in actions if isinstance(a, scaling.Terminate) for i in a.ids}
            left = [v for v in seen.fleet if v.id not in ended]
            # What the policy thought worth keeping of late: else it would be launched anew.
            keep = max([self._policy.min, *(kept for _, kept in state.memory.keeps)])
            spared = tending.may_leave(left, asking, keep=keep)
            if spared:
                actuator.end(spared, seen.now, itself=True)
                _log.info("scaler.may_leave", instances=list(spared))
