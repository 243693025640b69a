"""Launches that are meant, until it is known what became of them.

An intent is in the journal before its RunInstances call and stays until the outcome is
known: the same token makes each repeat, by this process or its successor, the same launch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from irs import errors, log
from irs.aws.fleet import Instance
from irs.domain.journal import Intent
from irs.scaler.ledger import Ledger
from irs.scaler.pools import Pools
from irs.settings import Settings

#: After which an intent that nothing came of is given up; a launch that happened has long
#: been described by then.
INTENT_LIFE = timedelta(seconds=120)
#: What may come of one call: an instance, one that was there, one that has ended since; no
#: answer; a pool that has none; a refusal.
OUTCOMES = ("launched", "there", "ended", "unanswered", "exhausted", "failed")

_log = log.get("scaler")


class Launcher(Protocol):
    """What it takes of `irs.aws.fleet.Fleet`."""

    def launch(self, name: str, *, token: str, user_data: str, type: str | None = ...,
               subnet: str | None = ..., spot: bool = ..., version: str = ...) -> Instance: ...


class Launches:
    """The intents and the pools to try. ``origin`` begins each token; see `Actuator` for the rest."""

    def __init__(self, settings: Settings, machines: Launcher, ledger: Ledger, *, origin: str,
                 version: str, user_data: str, intents: Iterable[Intent],
                 record: Callable[[], None], held: Callable[[], bool], tally: Counter[str]) -> None:
        self._settings, self._machines, self._ledger = settings, machines, ledger
        self._origin, self._version, self._user_data = origin, version, user_data
        self._record, self._held = record, held
        self._tally = tally
        self._for_pool: list[str] = []
        self.pools = Pools(settings)
        #: launches that may have happened
        self.intents = list(intents)
        # The tokens of those whose call may have worked: only a repeat of it tells.
        self._unsure = {intent.token for intent in self.intents}

    def intend(self, count: int, tick: int, now: datetime, *, spare: bool = False) -> None:
        """So many launches are meant, ``spare`` ones for the warm pool; fewer where no pool has any."""
        for slot in range(count):
            pool = self.pools.best(now, slot)
            if pool is None:
                break
            self.intents.append(Intent(
                name=self._free_name(), type=pool[0], subnet=pool[1], since=now, spare=spare,
                origin=f"{self._origin}/{tick}/{slot}"))

    def take_spares(self, wanted: int) -> int:
        """Those meant for the warm pool are wanted themselves, ``wanted`` at most; how many."""
        taken = 0
        for place, intent in enumerate(self.intents):
            if intent.spare and taken < wanted:
                self.intents[place] = replace(intent, spare=False)
                taken += 1
        return taken

    def settle(self, described: Collection[str], now: datetime, *, sure: bool) -> None:
        """Forget what is described (by name), and, if ``sure``, what nothing came of for long."""
        self.intents = [i for i in self.intents if i.name not in described
                        and not (sure and now - i.since > INTENT_LIFE)]
        self._unsure &= {i.token for i in self.intents}

    def call(self, now: datetime) -> list[str]:
        """Call every intent once, and those whose pool had nothing again elsewhere.

        A pool that has refused one is asked for no other: those go elsewhere uncalled, but
        for what may be there already. Returns the ids of those that were launched for the warm pool.
        """
        self._for_pool = []
        self._call_all(now)
        return self._for_pool

    def _call_all(self, now: datetime) -> None:
        todo = [i for i in self.intents if now - i.since <= INTENT_LIFE]
        while todo:
            elsewhere: list[Intent] = []
            for intent in todo:
                if not self._held():
                    _log.warning("scaler.lease_ran_out", intents=len(self.intents))
                    return
                if intent.token not in self._unsure and self.pools.rests((intent.type, intent.subnet), now):
                    elsewhere.append(intent)
                    continue
                self._unsure.add(intent.token)
                outcome = self._call(intent, now)
                self._tally[outcome] += 1
                if outcome == "unanswered":
                    return  # throttled, or no EC2 for the moment: the rest waits as well
                if outcome == "exhausted":
                    self._unsure.discard(intent.token)
                    elsewhere.append(intent)
            todo = [new for slot, old in enumerate(elsewhere) if (new := self._move(old, now, slot))]
            if todo:
                self._record()  # another pool is another launch

    def _move(self, intent: Intent, now: datetime, slot: int) -> Intent | None:
        self.intents.remove(intent)
        pool = self.pools.best(now, slot)
        if pool is None:
            return None
        moved = replace(intent, type=pool[0], subnet=pool[1])
        self.intents.append(moved)
        return moved

    def _call(self, intent: Intent, now: datetime) -> str:
        """One RunInstances; what became of it."""
        pool = (intent.type, intent.subnet)
        try:
            instance = self._machines.launch(
                intent.name, token=intent.token, user_data=self._user_data, type=intent.type,
                subnet=intent.subnet or None, spot=self._settings.spot, version=self._version)
        except errors.Retryable as exc:
            _log.warning("scaler.launch_unknown", name=intent.name, error=str(exc), code=exc.code)
            return "unanswered"
        except errors.AlreadyExists as exc:
            # Launched before our settings changed; it will be described.
            _log.info("scaler.launch_exists", name=intent.name, error=str(exc), code=exc.code)
            return "there"
        except errors.NoCapacity as exc:
            if seconds := self.pools.exhausted(pool, now):
                _log.warning("scaler.no_capacity", error=str(exc), code=exc.code, type=intent.type,
                             subnet=intent.subnet, retry_in=seconds)
            return "exhausted"
        except errors.CloudError as exc:
            self.intents.remove(intent)
            # Refused in this pool alone, or until somebody has seen to it: not again each round.
            _log.error("scaler.launch_failed", name=intent.name, error=str(exc), code=exc.code,
                       retry_in=self.pools.exhausted(pool, now))
            return "failed"
        self.intents.remove(intent)
        if not self.pools.rests(pool, now):  # else a repeat, which tells nothing of what EC2 has now
            self.pools.served(pool)
        if not instance.active:
            # A repeated token names an instance that has ended since; its name is free.
            _log.info("scaler.launch_ended", instance=instance.id, state=instance.state)
            return "ended"
        self._ledger.launched(instance, now)
        if intent.spare:
            self._for_pool.append(instance.id)
        _log.info("scaler.launched", instance=instance.id, name=instance.name, type=instance.type,
                  subnet=intent.subnet)
        return "launched"

    def _free_name(self) -> str:
        taken = self._ledger.names() | {intent.name for intent in self.intents}
        number = 1
        while f"{self._settings.instance_name}-{number}" in taken:
            number += 1
        return f"{self._settings.instance_name}-{number}"
