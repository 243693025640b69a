"""One brain: a round of observing, deciding and acting, and the lease without which nothing is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from irs import errors, log, tracing
from irs.domain import journal, scaling
from irs.scaler import chronicler
from irs.scaler.actuator import Actuator, Machines
from irs.scaler.care import Care
from irs.scaler.chronicler import Chronicler
from irs.scaler.lease import Lease, Lost, Store
from irs.scaler.reports import Shelf
from irs.scaler.senses import Countable, Senses
from irs.scaler.telling import Teller
from irs.settings import Settings

_log = log.get("scaler")


class Bucket(Store, Shelf, chronicler.Shelf, Protocol):
    """What the scaler wants of `irs.aws.objects.Objects`."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Scaler:
    """One scaler of one cluster; `tick` is one round. Not thread-safe.

    ``holder`` names this process and no other one. Without a lease nothing is done:
    another scaler of the cluster does it. ``letters`` is the dead-letter queue.
    """

    def __init__(self, settings: Settings, *, queue: Countable, machines: Machines, objects: Bucket,
                 holder: str, letters: Countable | None = None, now: Callable[[], datetime] = _utc_now,
                 clock: Callable[[], float] = time.monotonic, dry_run: bool = False) -> None:
        self._settings = settings
        self._policy = scaling.Policy(
            min=settings.min_instances, max=settings.max_instances, name=settings.scaler_policy,
            target_wait=settings.target_wait, interval=settings.scaler_interval)
        self._machines, self._objects, self._letters = machines, objects, letters
        self._now = now
        self._dry_run = dry_run
        self._holder = holder
        self._lease = Lease(objects, journal.key(settings.cluster), holder=holder, clock=clock)
        self._senses = Senses(settings, queue, objects)
        self._actuator: Actuator | None = None
        self._chronicler: Chronicler | None = None
        self._teller = Teller(self._policy, clock=clock, dry_run=dry_run)
        self._standby = False
        self._care = Care(settings, self._policy, self._senses)
        #: what the last round left for the next
        self.state = scaling.State()

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        return self._actuator is not None and (self._dry_run or self._lease.held)

    @property
    def decision(self) -> Mapping[str, Any]:
        """The last one, as JSON; empty before the first."""
        return self._teller.decision

    @property
    def totals(self) -> Mapping[str, int]:
        """Since the process began: what was decided (decisions, launch, terminate), what came of
        launches (`irs.scaler.launches.OUTCOMES`), stillborn, trouble."""
        return self._teller.totals

    def tick(self) -> bool:
        """One round; False where AWS could not be asked, and then nothing is done."""
        try:
            actuator = self._lead()
            if actuator is None:
                return True
            seen = self._observe(actuator)
        except Lost as exc:
            self._step_down(str(exc))
            return True
        except errors.CloudError as exc:
            self._teller.trouble("scaler.cannot_observe", exc)
            return False
        self._teller.well()
        before = self.state
        self.state, actions = scaling.tick(seen, before, self._policy)
        actions = (*self._care.overdue(actuator, seen), *actions)
        if not self._dry_run:
            self._care.spare(actuator, seen, actions, self.state)
        told = self._teller.decided(
            self.state, seen, actions, changed=self.state.verdict != before.verdict,
            waits=actuator.waits(seen.now), done=self._senses.known.finished)
        acted = self._dry_run or self._act(actuator, actions, before.tick, seen)
        if self._chronicler is not None and self._lease.held:
            self._chronicler.look(seen.now, self._senses, actuator, told)
        return acted

    def keep(self) -> None:
        """Between rounds: renew the lease, or look whether it can be had."""
        if not self._dry_run:
            try:
                self._lead()
            except Lost as exc:
                self._step_down(str(exc))
            except errors.CloudError as exc:
                self._teller.trouble("scaler.cannot_observe", exc)

    def close(self) -> None:
        """Hand the lease back, so that another scaler need not wait for it to run out."""
        try:
            if self._chronicler is not None and self.leads:
                self._chronicler.close()
                self._record()
            self._lease.release()
        except (Lost, errors.CloudError) as exc:
            _log.warning("scaler.not_released", error=str(exc))
        self._actuator = self._chronicler = None

    # -- the lease -----------------------------------------------------------------------
    def _lead(self) -> Actuator | None:
        """The actuator, if this process may act; raises `Lost` and `errors.CloudError`."""
        if self._dry_run:
            self._actuator = self._actuator or Actuator(self._settings, self._machines, epoch="dry")
            return self._actuator
        if self._actuator is not None:
            if self._lease.due:
                self._record()
            return self._actuator
        if not self._lease.take():
            if not self._standby:
                self._standby = True
                _log.info("scaler.standby", holder=self._lease.journal.holder,
                          epoch=self._lease.journal.epoch)
            return None
        self._standby = False
        left = self._lease.journal
        _log.info("scaler.leads", epoch=left.epoch, intents=len(left.intents), fleet=len(left.fleet))
        self._senses.remember(left)
        self.state = scaling.State()
        # The holder is in it as well: should the journal be lost, epochs begin anew, and
        # the tokens of another life must never be met again.
        self._actuator = Actuator(
            self._settings, self._machines, epoch=f"{left.epoch}-{self._holder}", journal=left,
            record=self._record, held=lambda: self._lease.held, tally=self._teller.totals)
        self._chronicler = Chronicler(self._settings.cluster, self._objects, self._letters, left=left)
        return self._actuator

    def _record(self) -> None:
        """Write the journal; raises `Lost` and `errors.CloudError`."""
        noted = self._actuator.noted() if self._actuator else {}
        self._lease.write(replace(self._lease.journal, **noted, **self._senses.noted(),
                                  decision=self._teller.decision,
                                  facts=self._chronicler.told() if self._chronicler else {}))

    def _step_down(self, why: str) -> None:
        _log.warning("scaler.stepped_down", why=why)
        self._actuator = self._chronicler = None
        self._standby = True
        self._care.forget()

    # -- a round -------------------------------------------------------------------------
    def _observe(self, actuator: Actuator) -> scaling.Observation:
        now = self._now()
        counts = self._senses.count()
        self._senses.listen(has_fleet=bool(actuator.ledger.entries))
        counts = self._senses.waiting(counts, now)
        actuator.fleet(now, self._senses.reports)
        self._senses.fold(counts, actuator.ledger, now)
        fleet = actuator.views(now, self._senses.reports)
        known = self._senses.known
        fleet = self._care.believed(fleet, now)
        return scaling.Observation(
            visible=counts.visible, in_flight=counts.in_flight, fleet=fleet, now=now,
            counted_at=known.counted_at, arrived=known.arrived, finished=known.left,
            service_seconds=known.service_seconds, boot_seconds=known.boot_seconds,
            billed_boot_seconds=known.billed_boot_seconds)

    def _act(self, actuator: Actuator, actions: tuple[scaling.Action, ...], tick: int,
             seen: scaling.Observation) -> bool:
        try:
            with self._traced(actions):
                # Without reports nobody could say when a spare one is up.
                actuator.act(actions, tick=tick, now=seen.now,
                             quiet=seen.visible == 0 and self._senses.hears)
        except Lost as exc:
            self._step_down(str(exc))
        except errors.CloudError as exc:
            # Nothing is called that could not be written down; the next round tries again.
            self._teller.trouble("scaler.cannot_record", exc)
            return False
        self._senses.sweep(actuator.ledger, seen.now)
        return True

    def _traced(self, actions: tuple[scaling.Action, ...]) -> tracing.Span:
        """A round that acts has a trace; most do not, and are as many as there are seconds."""
        if not actions:
            return tracing.NOWHERE
        told = self._teller.decision
        return tracing.span("irs.scale", attributes={
            f"irs.scaler.{name}": told[name] for name in ("launch", "terminate", "reason")})
