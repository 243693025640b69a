"""One run: load, fault, end of the fault, and the oracle's verdict."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness import vitals
from tests.faults.harness.history import History
from tests.faults.harness.load import Load, upload
from tests.faults.harness.oracle import HEAL, Oracle
from tests.faults.harness.pictures import Pictures
from tests.faults.harness.stack import Stack
from tests.processes import Process

#: Seconds of load before the first fault and after the last one's end.
LEAD, TAIL = 1.0, 2.0
#: Seconds at most between the beginnings of two faults.
APART = 3.0
#: Seconds without work after which a process has given back what a peak needed; the web tier's
#: threads end after 30.
REST = 45.0
#: Seconds beyond the oracle's budget after which a client gives up by itself.
GIVE_UP = 30.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """One line of the matrix."""

    name: str
    seed: int
    injected: int
    accepted: int
    final: int
    lost: int
    duplicated: int
    #: seconds of the request that took longest
    worst_wait: float
    #: seconds from the fault's end until all was well; None: not within `oracle.HEAL`
    healed_in: float | None
    #: promises that did not hold, in words
    broken: tuple[str, ...]

    HEAD: ClassVar[str] = (f"{'fault':<34} {'injected':>8} {'accepted':>8} {'final':>6} {'lost':>5} "
                           f"{'duplicated':>10} {'worst wait':>10} {'healed in':>9}")

    @property
    def line(self) -> str:
        """Under `HEAD`."""
        healed = "never" if self.healed_in is None else f"{self.healed_in:.1f} s"
        return (f"{self.name:<34} {self.injected:>8} {self.accepted:>8} {self.final:>6} {self.lost:>5} "
                f"{self.duplicated:>10} {self.worst_wait:>8.1f} s {healed:>9}"
                + (f"  {len(self.broken)} broken" if self.broken else ""))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def warm(stack: Stack, pictures: Pictures) -> None:
    """One answered upload through each web tier: everything lazy is built."""
    history = History()
    for web in stack.webs:
        upload(web, pictures.next(), history, stack.settings.client_wait + GIVE_UP)
    bad = [request for request in history.requests if request.outcome != "ok"]
    assert not bad, f"the stack is not well before the fault: {bad}"


def run(stack: Stack, faults: Sequence[Fault], pictures: Pictures, history: History, *,
        seed: int) -> Report:
    """``faults`` under load, one after another's beginning; raises nothing for a broken promise."""
    oracle = Oracle(stack, history)
    before = {process: vitals.look(process) for process in stack.processes}
    plan = _plan(faults, seed)
    end = max(at + fault.seconds for at, fault in plan)
    timeout = oracle.budget + GIVE_UP
    load = Load(count=max(fault.images for fault in faults), seconds=end + TAIL, seed=seed,
                web=stack.web_of, pictures=pictures, history=history, timeout=timeout)
    load.start()
    try:
        active = _inject(stack, plan)
        cleared = time.monotonic()
        healed = _heal(stack, oracle, pictures, history, load, cleared)
    finally:
        load.stop()
    # First: what a fault itself waits for (a zombie's last write) is part of the history.
    broken = [line for fault in faults for line in fault.judge(stack, active[fault])]
    fired = {fault: active[fault].fired for fault in faults}
    # Of a pair one may hide the other (nothing arrives that could be sent twice), not both.
    silent = [f"{fault} did not fire: {count} of {fault.least}"
              for fault, count in fired.items() if count < fault.least]
    broken += silent if len(silent) == len(faults) else []
    broken += _unsettled(oracle)
    lost, duplicated = oracle.lost(), oracle.duplicated()
    requests = history.requests
    broken += [*lost, *duplicated, *_judge(stack, oracle, faults, before, len(requests))]
    # What came in late, and had to be taken: an upload that a client gave up, for one.
    broken += _unsettled(oracle)
    if healed is None:
        broken.append(f"P7: not well {HEAL:g} s after the fault")
    return Report(
        name=" + ".join(str(fault) for fault in faults), seed=seed,
        injected=sum(fired.values()), accepted=len(oracle.accepted),
        final=oracle.final, lost=len(lost), duplicated=len(duplicated),
        worst_wait=max(request.seconds for request in requests),
        healed_in=None if healed is None else healed - cleared, broken=tuple(broken))


def _unsettled(oracle: Oracle) -> list[str]:
    """P2 of whatever was accepted so far; waits for it."""
    deadline = time.monotonic() + HEAL
    while oracle.wait(deadline) is not None:
        if oracle.final == len(oracle.accepted):  # and nothing came in since the last look
            return []
    return [f"P2: {len(oracle.accepted) - oracle.final} of {len(oracle.accepted)} accepted images have "
            f"no result, or the queue is not empty, {HEAL:g} s later"]


def _plan(faults: Sequence[Fault], seed: int) -> list[tuple[float, Fault]]:
    draw = random.Random(seed)
    return [(LEAD + (draw.uniform(0, APART) if number else 0.0), fault)
            for number, fault in enumerate(faults)]


def _inject(stack: Stack, plan: Sequence[tuple[float, Fault]]) -> dict[Fault, Active]:
    """Each fault from its beginning to its end."""
    active: dict[Fault, Active] = {}

    def begin(fault: Fault) -> None:
        active[fault] = fault.inject(stack)

    def finish(fault: Fault) -> None:
        active[fault].clear()

    steps: list[tuple[float, Callable[[Fault], None], Fault]] = []
    for at, fault in plan:
        steps += [(at, begin, fault), (at + fault.seconds, finish, fault)]
    began = time.monotonic()
    pause = threading.Event()
    for at, step, fault in sorted(steps, key=lambda item: item[0]):
        pause.wait(max(0.0, began + at - time.monotonic()))
        step(fault)
    return active


def _heal(stack: Stack, oracle: Oracle, pictures: Pictures, history: History, load: Load,
          cleared: float) -> float | None:
    """The time at which every web tier answers a new client and nothing is left to do."""
    timeout = oracle.budget + GIVE_UP
    for web in stack.webs:
        while True:
            upload(web, pictures.next(), history, timeout)
            if history.requests[-1].outcome == "ok":
                break
            if time.monotonic() > cleared + HEAL:
                load.join()
                return None
            threading.Event().wait(0.5)
    load.join()
    return oracle.wait(cleared + HEAL)


def _judge(stack: Stack, oracle: Oracle, faults: Sequence[Fault],
           before: dict[Any, vitals.Vitals], requests: int) -> list[str]:
    broken = oracle.answers(
        failures=frozenset().union(*(fault.failures for fault in faults)),
        unanswered=any(fault.unanswered for fault in faults))
    broken += oracle.dead(sum(fault.dead for fault in faults))
    gone = oracle.alive()
    if gone:
        return broken + gone
    for web in stack.webs:
        broken += oracle.bounded(web)
    for process, old in before.items():
        if process in stack.processes:
            broken += [f"P6: {line}" for line in _grown(process, old, requests)]
    return broken


def _grown(process: Process, old: vitals.Vitals, requests: int) -> list[str]:
    """What a process still has, once it has had the time to let go of what a peak needed."""
    deadline = time.monotonic() + REST
    while found := vitals.judge(process.log.name, old, vitals.look(process), requests):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)  # between looks, not instead of them
    return found
