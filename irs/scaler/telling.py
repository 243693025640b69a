"""What the scaler says: one line a decision, with the numbers behind it; trouble once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from irs import errors, log
from irs.domain import chronicle
from irs.domain.chronicle import Decision
from irs.domain.policies import fleet as fleets
from irs.domain.scaling import Action, Launch, Observation, Policy, State, Terminate

#: Seconds between decisions that are told although nothing changes: `irs simulate
#: --from-log` replays them.
TELL = 60.0

_log = log.get("scaler")


class Teller:
    """Not thread-safe."""

    def __init__(self, policy: Policy, *, clock: Callable[[], float] = time.monotonic,
                 dry_run: bool = False) -> None:
        self._policy = policy
        self._clock = clock
        self._dry_run = dry_run
        self._told = float("-inf")
        self._trouble: tuple[str, ...] = ()
        #: the last decision as JSON: for the journal, and whoever reads that
        self.decision: dict[str, Any] = {}
        #: decisions, instances that they launched and ended, and times that AWS did not answer as
        #: it should, since this process began
        self.totals: Counter[str] = Counter()

    def decided(self, state: State, seen: Observation, actions: Sequence[Action], *, changed: bool,
                waits: bool, done: int) -> Decision | None:
        """One line: at info level when something is done or new, or each `TELL` seconds.

        Returns what there is to remember of it: what is done or new, in words.

        ``waits``: the actions are held back, which was told already. ``done``: images that
        the workers have reported as finished, without what is guessed ahead of their reports.
        """
        self.decision = self._fields(state, seen, actions, waits=waits, done=done)
        self.totals.update(decisions=1, launch=self.decision["launch"],
                           terminate=self.decision["terminate"])
        due = self._clock() - self._told >= TELL
        also = [a.reason for a in actions if a.reason != state.reason]
        fields = {**self.decision, "dry_run": self._dry_run, **({"also": also} if also else {})}
        news = bool(actions and not waits) or changed
        if news or due or self._dry_run:
            self._told = self._clock()
            _log.info("scaler.decision", **fields)
        else:
            _log.debug("scaler.decision", **fields)
        if not news:
            return None
        text = chronicle.sentence(
            visible=seen.visible, have=self.decision["active"], verdict=state.verdict,
            more=sum(a.count if isinstance(a, Launch) else -len(a.ids)
                     for a in actions if a.reason == state.reason))
        return Decision(at=seen.now, text="; ".join((text, *also)))

    def _fields(self, state: State, seen: Observation, actions: Sequence[Action], *, waits: bool,
                done: int) -> dict[str, Any]:
        """The decision as JSON."""
        boot = seen.boot_seconds or self._policy.boot_seconds
        fleet = fleets.sort(seen.fleet, seen.now.timestamp(), boot)
        states = [view.state for view in seen.fleet]
        launch = sum(a.count for a in actions if isinstance(a, Launch))
        ended = sum(len(a.ids) for a in actions if isinstance(a, Terminate))
        return {
            "at": seen.now.isoformat(), "reason": state.reason, "tick": state.tick,
            "policy": self._policy.name, "visible": seen.visible, "in_flight": seen.in_flight,
            "arrived": seen.arrived, "finished": seen.finished, "done": done,
            "pending": states.count("pending"), "running": states.count("running"),
            "stopped": states.count("stopped"), "draining": sum(v.draining for v in seen.fleet),
            # Those that work or will, without the ones that are to end; and those there are to be.
            "active": len(fleet.active), "wanted": len(fleet.active) + launch - ended,
            "launch": launch, "terminate": ended,
            "min": self._policy.min, "max": self._policy.max,
            "count_lag": _lag(seen), "service_seconds": _short(seen.service_seconds),
            "boot_seconds": _short(seen.boot_seconds),
            # For those who wait: see `irs.domain.waits`.
            "ready": len(fleet.serving), "booting": [
                round(ready, 1) for ready in (*fleet.booting, *([boot] * (0 if waits else launch)))],
        }

    def trouble(self, event: str, exc: errors.CloudError) -> None:
        """AWS does not answer as it should."""
        # The same trouble every 3 s is one line for a person, not a thousand. Its kind
        # and not its words, which tell the milliseconds as well.
        kind = (event, type(exc).__name__, exc.code)
        record = _log.debug if kind == self._trouble else _log.warning
        record(event, error=str(exc), code=exc.code)
        self.totals["trouble"] += 1
        self._trouble = kind

    def well(self) -> None:
        """It does."""
        if self._trouble:
            self._trouble = ()
            _log.info("scaler.recovered")


def _lag(seen: Observation) -> float:
    return 0.0 if seen.counted_at is None else (seen.now - seen.counted_at).total_seconds()


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
