"""Turns decisions into EC2 calls that are neither doubled nor forgotten.

What is to be called is written to the journal first (`irs.domain.journal`), under a token
that makes a repeat the same launch. An intent stays until its outcome is known: it is
called again each tick, by this process or by its successor, and counts as an instance that
boots meanwhile. `docs/scaler.md` walks through what happens when the scaler dies where.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from irs import errors, log
from irs.aws.fleet import Instance
from irs.domain.journal import How, Journal, Leave
from irs.domain.observing import Report
from irs.domain.scaling import Action, InstanceView, Launch, Terminate
from irs.scaler import spares, userdata
from irs.scaler.ending import Endings
from irs.scaler.launches import Launches
from irs.scaler.ledger import Entry, Ledger
from irs.scaler.stillborn import Stillborn
from irs.settings import Settings

#: Seconds for which stopped instances are left alone after they could not be started.
NO_START = 60.0

_log = log.get("scaler")


class Machines(Protocol):
    """What the actuator wants of `irs.aws.fleet.Fleet`."""

    def describe(self) -> list[Instance]: ...
    def ended(self, ids: Collection[str]) -> frozenset[str]: ...
    def launch(self, name: str, *, token: str, user_data: str, type: str | None = ...,
               subnet: str | None = ..., spot: bool = ..., version: str = ...) -> Instance: ...
    def terminate(self, ids: Sequence[str]) -> None: ...
    def stop(self, ids: Sequence[str]) -> None: ...
    def start(self, ids: Sequence[str]) -> None: ...


class Actuator:
    """Acts for one cluster, for as long as one scaler holds its lease.

    ``epoch`` names that time: with the tick and the slot it makes each launch's
    ClientToken. ``journal`` is what the last holder left. ``record`` writes this one's
    journal and raises where that cannot be known to have worked; ``held`` tells whether
    the lease still is. ``tally`` counts launches by outcome, and instances that never worked.
    """

    def __init__(self, settings: Settings, machines: Machines, *, epoch: str,
                 journal: Journal | None = None, record: Callable[[], None] = lambda: None,
                 held: Callable[[], bool] = lambda: True, tally: Counter[str] | None = None) -> None:
        journal, tally = journal or Journal(), Counter() if tally is None else tally
        self._machines = machines
        self._settings = settings
        self._user_data = userdata.build(settings)
        self._version = hashlib.sha256(f"{settings.ami}\n{self._user_data}".encode()).hexdigest()[:12]
        self._record = record
        self._ledger = Ledger(journal.fleet)
        self._launches = Launches(
            settings, machines, self._ledger, origin=f"{settings.cluster}/{epoch}", version=self._version,
            user_data=self._user_data, intents=journal.intents, record=record, held=held,
            tally=tally)
        self._endings = Endings(machines, journal.leaving)
        self._spares = spares.Spares(settings, self._version)
        self._stillborn = Stillborn(settings.boot_deadline, tally)
        self._looks = 0
        self._no_start_before: datetime | None = None

    # -- looking -------------------------------------------------------------------------
    def fleet(self, now: datetime, reports: Mapping[str, Report] | None = None) -> tuple[InstanceView, ...]:
        """The cluster's instances, intents among them; raises `errors.CloudError`."""
        found = self._machines.describe()
        known, reports = set(self._ledger.entries), reports or {}
        before = self._ledger.active()
        unseen = {e.id for e in before} - {i.id for i in found}
        # Asked only then, and for these alone: EC2 shows the ended ones for an hour.
        ended = self._machines.ended(unseen) if unseen else frozenset()
        self._ledger.merge(found, now, reports, ended)
        active = self._ledger.active()
        left = {e.id for e in active} | self._endings.leaving.keys()
        self._stillborn.ended([e for e in before if e.id not in left], reports, now)
        self._stillborn.works(active, reports)
        self._looks += 1
        intended = {intent.name for intent in self._launches.intents}
        for instance in found:
            if instance.id not in known and instance.name not in intended:
                _log.info("scaler.adopted", instance=instance.id, name=instance.name, state=instance.state)
        names = self._ledger.names()
        for_pool = {intent.name for intent in self._launches.intents if intent.spare}
        spares.mark(self._endings, [e.id for e in self._ledger.active() if e.name in for_pool], now)
        # A first look may be late; two that do not show it, so long after, are believed.
        self._launches.settle(names, now, sure=self._looks > 1)
        self._endings.forget(self._ledger.entries)
        self._spares.settle(self._endings, self._ledger, reports, now)
        return self.views(now, reports)

    def views(self, now: datetime, reports: Mapping[str, Report] | None = None) -> tuple[InstanceView, ...]:
        """The same without another call."""
        return self._ledger.views(now, reports or {}, self._endings.leaving, self._launches.intents)

    @property
    def ledger(self) -> Ledger:
        """The fleet as best known."""
        return self._ledger

    @property
    def endings(self) -> Endings:
        """The instances that are to end."""
        return self._endings

    def waits(self, now: datetime) -> bool:
        """Whether launches are held back: no pool had capacity, or no instance came up."""
        return self._launches.pools.best(now) is None or self._stillborn.holds(now)

    def noted(self) -> dict[str, Any]:
        """The fields of the journal that are the actuator's."""
        return {"intents": tuple(self._launches.intents), "leaving": dict(self._endings.leaving),
                "fleet": self._ledger.members()}

    # -- acting --------------------------------------------------------------------------
    def act(self, actions: Sequence[Action], *, tick: int, now: datetime, quiet: bool = False) -> None:
        """Do it. An EC2 call that fails is logged, and repeated or decided anew next tick.

        ``quiet``: no message waits, so that the warm pool may be seen to.

        Raises what ``record`` raises, and then has called nothing.
        """
        wanted = sum(action.count for action in actions if isinstance(action, Launch))
        for action in actions:
            if isinstance(action, Terminate):
                self.end(action.ids, now)
        starts = self._plan(self._take_spares(wanted), tick, now)
        if quiet and not (actions or self._stillborn.holds(now)) and self._spares.lacks(
                self._ledger, self._endings, self._launches.intents, now):
            self._launches.intend(1, tick, now, spare=True)
        surplus = self._surplus(starts)
        if not (self._launches.intents or starts or surplus or self._endings.pending
                or self._endings.unpublished):
            return
        self._record()
        self._endings.unpublished = False
        self._start(starts, now)
        spares.mark(self._endings, self._launches.call(now), now)
        self._endings.carry_out(self._ledger, now)
        self._endings.terminate(surplus, self._ledger, now)

    def end(self, ids: Sequence[str], now: datetime, *, itself: bool = False) -> None:
        """These instances are to end; ``itself``: they asked, and make the call."""
        for instance_id in ids:
            entry = self._ledger.entries.get(instance_id)
            if entry is not None and entry.active:  # an intent has nothing to end yet
                self._endings.add(instance_id, Leave(how=self._how(entry), since=now, itself=itself))

    def _how(self, entry: Entry) -> How:
        stopping = sum(leave.how == "stop" for leave in self._endings.leaving.values())
        pooled = {e.id for e in self._ledger.pool()} - set(self._endings.leaving)
        room = self._settings.warm_pool > len(pooled) + stopping
        return "stop" if room and entry.version == self._version else "terminate"

    def _plan(self, wanted: int, tick: int, now: datetime) -> list[str]:
        """Stopped instances to start; intents for the rest. Never above the maximum."""
        room = self._settings.max_instances - len(self._ledger.active()) - len(self._launches.intents)
        wanted = 0 if self._stillborn.holds(now) else min(wanted, room)
        starts: list[str] = []
        if self._settings.warm_pool and not (self._no_start_before and now < self._no_start_before):
            ready = [e.id for e in self._ledger.pool()
                     if e.state == "stopped" and e.version == self._version]
            starts = ready[:max(0, wanted)]
        self._launches.intend(wanted - len(starts), tick, now)
        return starts

    def _take_spares(self, wanted: int) -> int:
        """Who is being prepared for the pool works instead; how many more are wanted."""
        for key in spares.waiting(self._endings)[:wanted]:
            self._endings.keep(key)
            wanted -= 1
        return wanted - self._launches.take_spares(wanted)

    def _surplus(self, starts: Sequence[str]) -> list[str]:
        """Stopped instances that the warm pool has no use for: too many, or of an older mind."""
        if not self._settings.warm_pool:
            return []  # stopped by a person, for all we know
        stopped = [e for e in self._ledger.pool() if e.state == "stopped" and e.id not in starts]
        good = [e for e in stopped if e.version == self._version]
        return [e.id for e in stopped if e.version != self._version] + [
            e.id for e in good[self._settings.warm_pool:]]

    def _start(self, ids: Sequence[str], now: datetime) -> None:
        if not ids:
            return
        try:
            self._machines.start(ids)
        except errors.CloudError as exc:
            # Launched instead, next tick, unless it was only the call that failed.
            if not isinstance(exc, errors.Retryable):
                self._no_start_before = now + timedelta(seconds=NO_START)
            _log.warning("scaler.start_failed", instances=list(ids), error=str(exc), code=exc.code)
            return
        self._ledger.became(ids, "pending", now)
        _log.info("scaler.started_instances", instances=list(ids))
