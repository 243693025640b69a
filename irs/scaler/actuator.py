"""Turns decisions into EC2 calls, and remembers what DescribeInstances does not show yet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from irs import errors, log
from irs.aws.fleet import Instance
from irs.domain.scaling import Action, InstanceView, Launch, Terminate
from irs.scaler import userdata
from irs.settings import Settings

#: Seconds that a launch of ours counts although DescribeInstances does not show it; AWS
#: says "usually seconds", and a launch forgotten too early is a launch too many.
UNSEEN = 30.0
#: Seconds before the first launch after one that EC2 had no capacity for; doubled up to
#: the second number while that goes on. AWS advises to wait "a few minutes".
BACKOFF_FIRST, BACKOFF_MOST = 6.0, 300.0

_log = log.get("scaler")


class Machines(Protocol):
    """What the actuator wants of `irs.aws.fleet.Fleet`."""

    def describe(self) -> list[Instance]: ...
    def launch(self, name: str, *, token: str, user_data: str) -> Instance: ...
    def terminate(self, ids: Sequence[str]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Intent:
    """A launch asked for, whose outcome is unknown until an answer comes."""

    name: str
    token: str


@dataclass(kw_only=True, slots=True)
class _Ledger:
    """The fleet as best known: the last describe, and what it must be missing."""

    #: launched by us, not described yet
    unseen: dict[str, InstanceView] = field(default_factory=dict)
    #: active in the last describe
    described: dict[str, InstanceView] = field(default_factory=dict)

    def merge(self, found: Sequence[InstanceView], now: datetime) -> list[InstanceView]:
        """``found``, and the active instances that it should have held.

        Those are our own launches of the last `UNSEEN` seconds, and what the describe
        before this one showed as active: an instance that is missing once may be an
        answer that was late or empty, one that is missing twice in a row is gone.
        """
        shown = {view.id for view in found}
        self.unseen = {
            key: view for key, view in self.unseen.items()
            if key not in shown and now - view.launched_at < timedelta(seconds=UNSEEN)
        }
        missed_once = [view for key, view in self.described.items() if key not in shown]
        self.described = {view.id: view for view in found if view.active}
        merged = {view.id: view for view in (*missed_once, *self.unseen.values(), *found)}
        return sorted(merged.values(), key=lambda view: (view.launched_at, view.id))

    def ended(self, ids: Sequence[str]) -> None:
        for key in ids:
            self.unseen.pop(key, None)
            self.described.pop(key, None)


class Actuator:
    """Acts for one cluster.

    ``epoch`` names this scaler's life: with the tick and the slot it makes each launch's
    ClientToken, so that a launch repeated after a lost answer is the same launch.
    """

    def __init__(self, settings: Settings, machines: Machines, *, epoch: str) -> None:
        self._machines = machines
        self._cluster = settings.cluster
        self._prefix = settings.instance_name
        self._user_data = userdata.build(settings)
        self._epoch = epoch
        self._ledger = _Ledger()
        self._intents: list[_Intent] = []
        self._names: set[str] = set()
        self._no_launch_before: datetime | None = None
        self._backoff = BACKOFF_FIRST

    def fleet(self, now: datetime) -> tuple[InstanceView, ...]:
        """The cluster's instances; raises `errors.CloudError`."""
        found = [InstanceView(id=i.id, state=i.state, launched_at=i.launched_at, name=i.name)
                 for i in self._machines.describe()]
        merged = self._ledger.merge(found, now)
        # A stopped instance keeps its name; a terminated one is not described at all.
        self._names = {view.name for view in merged}
        self._intents = [i for i in self._intents if i.name not in self._names]
        return tuple(merged)

    def waits(self, now: datetime) -> bool:
        """Whether launches are held back because EC2 had no capacity a moment ago."""
        return self._no_launch_before is not None and now < self._no_launch_before

    def act(self, actions: Sequence[Action], *, tick: int, now: datetime) -> None:
        """Do it. A call that fails is logged, and the next tick decides anew."""
        for action in actions:
            match action:
                case Launch():
                    self._launch(action.count, tick, now)
                case Terminate():
                    self._terminate(action.ids)

    def _launch(self, count: int, tick: int, now: datetime) -> None:
        if self.waits(now):
            return
        # Launches whose answer was lost come first, under their own tokens: should they
        # have happened, the call returns those instances and nothing is doubled.
        for slot in range(count):
            intent = self._intents[0] if self._intents else self._new_intent(tick, slot)
            try:
                instance = self._machines.launch(
                    intent.name, token=intent.token, user_data=self._user_data)
            except errors.Retryable as exc:
                _log.warning("scaler.launch_unknown", name=intent.name, error=str(exc))
                return
            except errors.NoCapacity as exc:
                self._intents.remove(intent)
                self._hold_back(now, exc)
                return
            except errors.CloudError as exc:
                self._intents.remove(intent)
                _log.error("scaler.launch_failed", name=intent.name, error=str(exc), code=exc.code)
                return
            self._intents.remove(intent)
            self._backoff = BACKOFF_FIRST
            self._no_launch_before = None
            self._record(instance, now)

    def _record(self, instance: Instance, now: datetime) -> None:
        if instance.state not in ("pending", "running"):
            # A repeated token names an instance that has ended since; its name is free.
            _log.info("scaler.launch_ended", instance=instance.id, state=instance.state)
            return
        # By the scaler's clock: how long it may stay unseen is counted from here.
        self._ledger.unseen[instance.id] = InstanceView(
            id=instance.id, state="pending", launched_at=now, name=instance.name)
        self._names.add(instance.name)
        _log.info("scaler.launched", instance=instance.id, name=instance.name, type=instance.type)

    def _new_intent(self, tick: int, slot: int) -> _Intent:
        taken = self._names | {intent.name for intent in self._intents}
        number = 1
        while f"{self._prefix}-{number}" in taken:
            number += 1
        text = f"{self._cluster}/{self._epoch}/{tick}/{slot}"
        # 64 hex digits: exactly what a ClientToken may be long.
        intent = _Intent(name=f"{self._prefix}-{number}", token=hashlib.sha256(text.encode()).hexdigest())
        self._intents.append(intent)
        return intent

    def _hold_back(self, now: datetime, exc: errors.NoCapacity) -> None:
        self._no_launch_before = now + timedelta(seconds=self._backoff)
        _log.warning("scaler.no_capacity", error=str(exc), code=exc.code, retry_in=self._backoff)
        self._backoff = min(2 * self._backoff, BACKOFF_MOST)

    def _terminate(self, ids: Sequence[str]) -> None:
        try:
            self._machines.terminate(ids)
        except errors.CloudError as exc:
            _log.warning("scaler.terminate_failed", instances=list(ids), error=str(exc))
            return
        self._ledger.ended(ids)
        _log.info("scaler.terminated", instances=list(ids))
