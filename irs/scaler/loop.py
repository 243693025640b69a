"""Observe, decide, act; every few seconds, whatever AWS does meanwhile."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from irs import errors, log
from irs.aws.fleet import Fleet
from irs.aws.queues import Depth, Queue
from irs.domain import scaling
from irs.scaler.actuator import Actuator
from irs.settings import Settings

_log = log.get("scaler")


class Countable(Protocol):
    """What the scaler wants of `irs.aws.queues.Queue`."""

    def depth(self) -> Depth: ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Scaler:
    """One scaler of one cluster; `tick` is one round."""

    def __init__(self, settings: Settings, *, queue: Countable, actuator: Actuator,
                 now: Callable[[], datetime] = _utc_now, dry_run: bool = False) -> None:
        self._policy = scaling.Policy(min=settings.min_instances, max=settings.max_instances)
        self._queue = queue
        self._actuator = actuator
        self._now = now
        self._dry_run = dry_run
        self._trouble = ""
        #: what the last round left for the next
        self.state = scaling.State()

    def tick(self) -> bool:
        """One round; False where AWS could not be asked, and then nothing is done."""
        try:
            observation = self._observe()
        except errors.CloudError as exc:
            self._unwell(exc)
            return False
        if self._trouble:
            self._trouble = ""
            _log.info("scaler.recovered")
        before = self.state
        self.state, actions = scaling.tick(observation, before, self._policy)
        self._report(observation, actions, changed=self.state.verdict != before.verdict)
        if not self._dry_run:
            self._actuator.act(actions, tick=before.tick, now=observation.now)
        return True

    def _observe(self) -> scaling.Observation:
        depth = self._queue.depth()
        now = self._now()
        return scaling.Observation(visible=depth.visible, in_flight=depth.in_flight,
                                   fleet=self._actuator.fleet(now), now=now)

    def _report(self, seen: scaling.Observation, actions: tuple[scaling.Action, ...], *,
                changed: bool) -> None:
        acting = bool(actions) and not self._actuator.waits(seen.now)
        record = _log.info if acting or changed or self._dry_run else _log.debug
        states = [view.state for view in seen.fleet]
        record("scaler.decision", reason=self.state.reason, tick=self.state.tick,
               visible=seen.visible, in_flight=seen.in_flight,
               pending=states.count("pending"), running=states.count("running"),
               min=self._policy.min, max=self._policy.max, dry_run=self._dry_run)

    def _unwell(self, exc: errors.CloudError) -> None:
        # The same trouble every 3 s is one line for a person, not a thousand.
        record = _log.debug if str(exc) == self._trouble else _log.warning
        record("scaler.cannot_observe", error=str(exc), code=exc.code)
        self._trouble = str(exc)


def build(settings: Settings, *, dry_run: bool = False) -> Scaler:
    """A scaler on the settings' queue and fleet; no call to AWS is made yet.

    Raises `errors.SettingsError` where a setting cannot be told to an instance.
    """
    # A life of its own: tokens of an earlier process never meet this one's ticks.
    epoch = f"{time.time_ns():x}-{secrets.token_hex(4)}"
    actuator = Actuator(settings, Fleet(settings), epoch=epoch)
    return Scaler(settings, queue=Queue(settings, settings.input_queue), actuator=actuator,
                  dry_run=dry_run)


def run(settings: Settings, stop: threading.Event, *, dry_run: bool = False) -> None:
    """Tick each `settings.scaler_interval` seconds until ``stop`` is set.

    No `errors.CloudError` ends it. A round in which AWS was slow delays the next one; the
    rounds that it overran are not made up for.
    """
    scaler = build(settings, dry_run=dry_run)
    _log.info("scaler.started", cluster=settings.cluster, queue=settings.input_queue,
              min=settings.min_instances, max=settings.max_instances,
              interval=settings.scaler_interval, dry_run=dry_run)
    while not stop.is_set():
        began = time.monotonic()
        scaler.tick()
        stop.wait(max(0.0, settings.scaler_interval - (time.monotonic() - began)))
    _log.info("scaler.stopped", ticks=scaler.state.tick)
