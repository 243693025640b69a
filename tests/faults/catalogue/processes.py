"""Faults of processes: web tiers replaced, workers stopped and continued."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Self

from irs.testing.proxy import Delay, Injection, Rule
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness.stack import Stack
from tests.processes import Web, Worker, until

#: Seconds for what a fault needs before it can strike: a client, a message, a cold import.
PATIENCE = 40.0
#: Clients inside a web tier; seconds without a change of their number: none is on its way in.
WAITING, STEADY = "irs_waiting_clients", 1.0


def _metric(web: Web, name: str) -> float:
    lines = web.call("GET", "/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


def let_go(stack: Stack, web: Web, number: signal.Signals = signal.SIGTERM) -> int:
    """Send ``web`` no more clients, let in who is on the way, signal it; returns how many wait."""
    stack.webs.remove(web)
    seen: list[tuple[float, float]] = []

    def steady() -> bool:
        now, inside = time.monotonic(), _metric(web, WAITING)
        if not seen or inside != seen[-1][1]:
            seen.append((now, inside))
        return now - seen[-1][0] > STEADY

    until(steady, PATIENCE, "all clients inside")
    stack.end(web, number)
    return int(seen[-1][1])


@dataclass(frozen=True, kw_only=True, eq=False)
class StopWorker(Fault):
    """SIGSTOP of a worker with images in hand, for longer than they stay invisible; SIGCONT."""

    def inject(self, stack: Stack) -> Active:
        return _Zombie(stack).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Zombie)
        return active.judge()


class _Zombie:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._worker: Worker | None = None
        self._refused = sum(stack.ledger.refused.values())
        self.fired = 0

    def begin(self) -> Self:
        stack = self._stack
        proxy = stack.proxy("zombie")
        hold = proxy.add(Rule(service="s3", operations={"GetObject"},
                              target=stack.settings.input_bucket, action=Delay(600)))
        self._worker = stack.start_worker(tier="zombie")
        until(lambda: hold.fired, PATIENCE, "an image in the zombie's hands")
        self._worker.popen.send_signal(signal.SIGSTOP)
        self.fired = hold.fired
        hold.clear()  # the images wait in the stopped process's sockets
        return self

    def clear(self) -> None:
        assert self._worker is not None
        self._worker.popen.send_signal(signal.SIGCONT)

    def judge(self) -> list[str]:
        """The zombie wrote late, was refused, and is as good as any other worker since."""
        stack, worker = self._stack, self._worker
        assert worker is not None
        until(lambda: sum(stack.ledger.refused.values()) > self._refused, PATIENCE,
              "the zombie's late write")
        stack.end(worker, signal.SIGTERM)
        code = worker.stop()
        return [f"P5: the zombie ended with {code}"] if code else []


@dataclass(frozen=True, kw_only=True, eq=False)
class RestartWeb(Fault):
    """A web tier is replaced while clients wait for it."""

    number: int = 9
    with_signal: signal.Signals

    def inject(self, stack: Stack) -> Active:
        return _Restart(stack, self.with_signal).begin()

    def judge(self, stack: Stack, active: Active) -> list[str]:
        assert isinstance(active, _Restart)
        return active.judge()


class _Restart:
    def __init__(self, stack: Stack, number: signal.Signals) -> None:
        self._stack = stack
        self._number = number
        self._hold: Injection | None = None
        self._old: Web | None = None
        self.fired = 0

    def begin(self) -> Self:
        stack = self._stack
        self._hold = stack.proxy("worker").add(Rule(
            service="s3", operations={"GetObject"}, target=stack.settings.input_bucket, action=Delay(600)))
        old = self._old = stack.webs[0]
        # As a load balancer does it: the new one takes the clients, the old one is let go.
        stack.start_web()
        until(lambda: _metric(old, WAITING) > 1, PATIENCE, "waiting clients")
        self.fired = let_go(stack, old, self._number)
        return self

    def clear(self) -> None:
        assert self._hold is not None
        self._hold.clear()

    def judge(self) -> list[str]:
        assert self._old is not None
        code = self._old.popen.wait(PATIENCE)
        wanted = 0 if self._number is signal.SIGTERM else -self._number
        return [] if code == wanted else [f"P5: the old web tier ended with {code}"]


FAULTS: tuple[Fault, ...] = (
    RestartWeb(name="web-sigterm", with_signal=signal.SIGTERM, seconds=16.0),
    RestartWeb(name="web-kill-9", with_signal=signal.SIGKILL, seconds=8.0, unanswered=True),
    # Two and a half visibility timeouts; in production's clockwork that is 75 s.
    StopWorker(number=25, name="sigstop-worker", seconds=35.0, images=40, pairs=False),
)
