"""Faults of delivery: workers that die or are too slow, and results that are none."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from dataclasses import dataclass

from irs import errors
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import keys
from irs.domain.jobs import Failure, Result, Status
from irs.testing.proxy import Answer, Delay, Injection, Rule
from tests.faults.catalogue.fault import Active, Fault
from tests.faults.harness.stack import Stack

#: Messages that the workers hold when one of them is killed.
UNDER_WAY = 5
#: Seconds to wait for that many.
PATIENCE = 10.0


def _slow(stack: Stack, seconds: float) -> Injection:
    """Each upload reaches the worker ``seconds`` late, so that tasks are under way for as long."""
    return stack.proxy("worker").add(Rule(
        service="s3", operations={"GetObject"}, target=stack.settings.input_bucket,
        action=Delay(seconds)))


class _Killed:
    """A worker was killed with messages in its hands, which is what comes back."""

    def __init__(self, stack: Stack, slow: Injection, number: int) -> None:
        self._stack = stack
        self._slow = slow
        self._before = stack.ledger.redelivered
        queue = Queue(stack.settings, stack.settings.input_queue)
        deadline = time.monotonic() + PATIENCE
        # Another fault may keep tasks away; that nothing came back is what `fired` says then.
        while queue.depth().in_flight < UNDER_WAY and time.monotonic() < deadline:
            time.sleep(0.02)  # between looks, not instead of them
        stack.end(stack.workers[0], number)

    @property
    def fired(self) -> int:
        return self._stack.ledger.redelivered - self._before

    def clear(self) -> None:
        self._slow.clear()
        # Not waited for: another fault may hold it up, and its start is part of the healing.
        self._stack.start_worker(wait=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkerKilled(Fault):
    """SIGKILL in the midst of a batch; a new worker takes its place later."""

    def inject(self, stack: Stack) -> Active:
        return _Killed(stack, _slow(stack, 2.0), signal.SIGKILL)


class _Expired:
    """Deliveries whose visibility ends while they are worked on."""

    def __init__(self, stack: Stack) -> None:
        self._ledger = stack.ledger
        self._before = stack.ledger.redelivered
        # Longer than the visibility timeout, shorter than a GET's patience.
        self._rules = [
            _slow(stack, stack.settings.visibility_timeout + 3.0),
            stack.proxy("worker").add(Rule(
                service="sqs", action=Answer(500),
                operations={"ChangeMessageVisibility", "ChangeMessageVisibilityBatch"}))]

    @property
    def fired(self) -> int:
        return self._ledger.redelivered - self._before

    def clear(self) -> None:
        for rule in self._rules:
            rule.clear()


@dataclass(frozen=True, kw_only=True, eq=False)
class VisibilityExpired(Fault):
    """The heartbeat fails and a task outlasts its message's window: two workers have it."""

    def inject(self, stack: Stack) -> Active:
        return _Expired(stack)


class _Planted:
    """Objects under the results' names, put there before the service's own."""

    def __init__(self, stack: Stack) -> None:
        self._ledger = stack.ledger
        self._slow = _slow(stack, 1.5)
        self._outputs = Objects(stack.settings, stack.settings.output_bucket)
        self._known = set(stack.ledger.accepted)
        self._kinds = itertools.cycle(("", "half", "foreign", "other"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="planter", daemon=True)
        self._thread.start()
        self.fired = 0

    def clear(self) -> None:
        self._stop.set()
        self._thread.join()
        self._slow.clear()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for job_id in self._ledger.accepted.keys() - self._known:
                self._known.add(job_id)
                try:
                    self._outputs.put(keys.output_key(job_id), _body(next(self._kinds), job_id),
                                      create=True)
                except errors.AlreadyExists:
                    continue  # the worker was first: not counted as a strike
                self.fired += 1


def _body(kind: str, job_id: str) -> bytes:
    def result(of: str) -> bytes:
        return Result(id=of, image="planted", status=Status.FAILED,
                      error=Failure(code="planted", message="not the service's own")).to_json()
    return {"": b"", "half": result(job_id)[:40], "foreign": b'{"hello": ["world"]}',
            "other": result(keys.new_id())}[kind]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultPlanted(Fault):
    """Empty, half-written and foreign objects, and another job's result, where a result belongs."""

    def inject(self, stack: Stack) -> Active:
        return _Planted(stack)


FAULTS: tuple[Fault, ...] = (
    WorkerKilled(number=1, name="worker-killed-mid-batch", images=40, least=2),
    WorkerKilled(number=1, name="one-of-two-workers-killed", images=40, workers=2),
    VisibilityExpired(number=3, name="visibility-expires", workers=2, seconds=18.0, least=2),
    ResultPlanted(number=22, name="result-planted", seconds=5.0, least=4),
)
