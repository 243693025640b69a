"""Instances that are to end: told so until they do, or left to end themselves for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from irs import errors, log
from irs.domain.journal import How, Leave
from irs.scaler.ledger import Entry, Ledger

#: Seconds that an instance has to end itself, once it was allowed to.
OWN_WAY = 120.0

_log = log.get("scaler")


class Ender(Protocol):
    """What it takes of `irs.aws.fleet.Fleet`."""

    def terminate(self, ids: Sequence[str]) -> None: ...
    def stop(self, ids: Sequence[str]) -> None: ...


class Endings:
    """Each instance that leaves, by id; both calls are safe to repeat."""

    def __init__(self, machines: Ender, leaving: Mapping[str, Leave] | None = None) -> None:
        self._machines = machines
        self.leaving: dict[str, Leave] = dict(leaving or {})
        #: something has changed that an instance must read in the journal
        self.unpublished = False

    @property
    def pending(self) -> bool:
        """Whether `carry_out` has something to call."""
        return any(not (leave.itself or leave.once_ready) for leave in self.leaving.values())

    def add(self, instance_id: str, leave: Leave) -> None:
        """It is to end. What was decided first stays, unless it was only permitted so far."""
        before = self.leaving.get(instance_id)
        if before is None or (before.itself and not leave.itself) or (
                before.once_ready and not leave.once_ready):
            self.leaving[instance_id] = leave
            self.unpublished = True

    def withdraw(self, instance_id: str) -> None:
        """It found work again before it made use of its permission."""
        if (leave := self.leaving.get(instance_id)) and leave.itself:
            del self.leaving[instance_id]
            self.unpublished = True

    def replace(self, instance_id: str, leave: Leave) -> None:
        """It ends otherwise than was decided."""
        self.leaving[instance_id] = leave
        self.unpublished = True

    def keep(self, instance_id: str) -> None:
        """It is wanted after all."""
        del self.leaving[instance_id]
        self.unpublished = True

    def overdue(self, now: datetime) -> None:
        """Those that were to end themselves and have not: it is done for them."""
        for key, leave in self.leaving.items():
            if leave.itself and now - leave.since > timedelta(seconds=OWN_WAY):
                self.leaving[key] = replace(leave, itself=False)

    def forget(self, entries: Mapping[str, Entry]) -> None:
        """Those that have ended."""
        self.leaving = {key: leave for key, leave in self.leaving.items()
                        if key in entries and entries[key].state != "stopped"}

    def carry_out(self, ledger: Ledger, now: datetime) -> None:
        """Call for each that is to end and still works; a call that fails is made again."""
        for how in ("stop", "terminate"):
            ids = [key for key, leave in self.leaving.items()
                   if leave.how == how and not (leave.itself or leave.once_ready)
                   and key in ledger.entries and ledger.entries[key].active]
            self._call(how, ids, ledger, now)

    def terminate(self, ids: Sequence[str], ledger: Ledger, now: datetime) -> None:
        """End these at once, for good; they are stopped and hold no work."""
        self._call("terminate", ids, ledger, now)

    def _call(self, how: How, ids: Sequence[str], ledger: Ledger, now: datetime) -> None:
        if not ids:
            return
        try:
            (self._machines.stop if how == "stop" else self._machines.terminate)(ids)
        except errors.NotFound as exc:
            # One unknown id fails the whole call, and none of it is done.
            if len(ids) > 1:
                for instance_id in ids:
                    self._call(how, [instance_id], ledger, now)
                return
            _log.info("scaler.gone", instance=ids[0], error=str(exc))
            ledger.entries.pop(ids[0], None)
            self.leaving.pop(ids[0], None)
            return
        except errors.CloudError as exc:
            _log.warning("scaler.stop_failed" if how == "stop" else "scaler.terminate_failed",
                         instances=list(ids), error=str(exc), code=exc.code)
            return
        ledger.became(ids, "stopping" if how == "stop" else "shutting-down", now)
        _log.info("scaler.stopped_instances" if how == "stop" else "scaler.terminated",
                  instances=list(ids))
