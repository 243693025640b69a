"""Judges a run by the promises P1 to P7 (docs/reliability.md)."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping
from typing import Any

from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain.jobs import Result, Status
from irs.results.store import ResultStore
from tests.faults.harness.history import History, Request
from tests.faults.harness.stack import Stack
from tests.processes import Web

#: Seconds after a fault's end within which everything must be well again.
HEAL = 90.0
#: Seconds beyond the wait that a request may take: to store, to send, to look, on a busy machine.
SLACK = 8.0
#: What two tellings of one result may differ in: an announcement has fewer predictions.
_SHORTENED = ("predictions", "schema")


class Oracle:
    """Looks at the endpoint itself, at the web tier as a client does, and at the history."""

    def __init__(self, stack: Stack, history: History) -> None:
        self._stack = stack
        self._history = history
        settings = stack.settings
        self.budget = settings.client_wait + SLACK
        self._store = ResultStore(settings)
        self._inputs = Objects(settings, settings.input_bucket)
        self._outputs = Objects(settings, settings.output_bucket)
        self._work = Queue(settings, settings.input_queue)
        self._dead = Queue(settings, settings.dead_letter_queue)
        self._dead_before = self._letters()
        self._old = frozenset(stack.ledger.accepted)
        self._tags: dict[str, str] = {}
        self._results: dict[str, Result] = {}

    # -- while it runs -------------------------------------------------------------------
    @property
    def accepted(self) -> dict[str, str]:
        """Jobs that the queue has taken since this oracle was made, with their images' names."""
        return {job_id: name for job_id, name in self._stack.ledger.accepted.items()
                if job_id not in self._old}

    @property
    def final(self) -> int:
        """Accepted jobs that have a result, as far as `settled` has looked."""
        return len(self._results.keys() & self.accepted.keys())

    def settled(self) -> bool:
        """Whether every accepted job has its result and the queue is empty."""
        self._note_tags()
        for job_id in self.accepted.keys() - self._results.keys():
            found = self._store.read(job_id)
            if found is None:
                return False
            self._results[job_id] = found
        depth = self._work.depth()
        return not (depth.visible or depth.in_flight or depth.delayed)

    def _note_tags(self) -> None:
        # Asked before the list is: what was there before the service's own write may change.
        stored = self._stack.ledger.stored
        for key, tag in self._outputs.tags():
            if key.removesuffix(".json") in stored:
                self._tags.setdefault(key, tag)

    # -- in the end ----------------------------------------------------------------------
    def lost(self) -> list[str]:
        """P2: accepted, and without a result for whoever asks the web tier."""
        web = self._stack.webs[0]
        found = []
        for job_id in self.accepted:
            answer = web.call("GET", f"/v1/images/{job_id}", timeout=self.budget)
            if answer.status != 200 or not Status(answer.json["status"]).final:
                found.append(f"P2: {job_id} was accepted and is {answer.text.strip()[:200]}")
        return found

    def duplicated(self) -> list[str]:
        """P3: stored twice, changed since it was first seen, or two jobs of one upload."""
        found = [f"P3: {job_id} was stored {times} times" for job_id in self._stack.ledger.accepted
                 if (times := self._stack.ledger.writes(job_id)) > 1]
        found += [f"P3: {key} has changed" for key, tag in self._outputs.tags()
                  if self._tags.get(key, tag) != tag]
        names = collections.Counter(self.accepted.values())
        return found + [f"P2: {name} became {times} jobs" for name, times in names.items() if times > 1]

    def answers(self, *, failures: frozenset[str], unanswered: bool) -> list[str]:
        """P1, P3 and P4 for each client; ``failures`` are codes that a good image may end with."""
        stored = {name: job_id for job_id, name in self.accepted.items()}
        found = []
        for request in self._history.requests:
            found += [f"{fault}: {request.picture.name} ({request.outcome}, {request.status}, "
                      f"{request.seconds:.1f} s) {request.error}"
                      for fault in self._answer(request, stored, failures, unanswered)]
        return found

    def _answer(self, request: Request, stored: Mapping[str, str], failures: frozenset[str],
                unanswered: bool) -> list[str]:
        found = self._in_time(request, unanswered)
        job_id = stored.get(request.picture.name)
        if request.outcome in ("ok", "later") and request.job_id != job_id:
            found.append(f"P2: the client holds id {request.job_id}, the queue took {job_id}")
        if job_id is None:
            return found
        result = self._results.get(job_id)
        if result is None:
            return found  # lost: said by `lost`
        told = result.as_dict()
        if request.outcome == "ok" and _shared(request.result) != _shared(told):
            found.append(f"P3: the client was told {request.result}, stored is {told}")
        return found + _right(request, result, failures)

    def _in_time(self, request: Request, unanswered: bool) -> list[str]:
        found = []
        if request.outcome == "open" or request.seconds > self.budget:
            found.append(f"P1: no end within {self.budget:g} s")
        if request.outcome == "unknown" and not unanswered:
            found.append("P1: no answer")
        if request.outcome == "later" and not {"Location", "Retry-After"} <= request.headers.keys():
            found.append("P1: 202 does not say where and when to ask")
        if request.outcome == "refused":
            if request.status not in (503, 504):
                found.append(f"P1: {request.status} for a good image: {request.result}")
            elif "Retry-After" not in request.headers:
                found.append(f"P1: {request.status} without Retry-After")
            elif request.job_id is None and request.picture.name in self._uploaded():
                found.append(f"P1: {request.status} without the id of what was stored")
        return found

    def _uploaded(self) -> set[str]:
        return {key.rpartition("/")[2] for key, _ in self._inputs.tags()}

    def bounded(self, web: Web) -> list[str]:
        """P6: nobody is left in the web tier's table of waiting clients."""
        lines = web.call("GET", "/metrics", timeout=self.budget).text.splitlines()
        (waiting,) = [line for line in lines if line.startswith("irs_waiting_clients ")]
        return [] if float(waiting.split()[1]) == 0 else [f"P6: {waiting} with no client left"]

    def dead(self, expected: int) -> list[str]:
        """P5: ``expected`` messages have come to the dead-letter queue."""
        found = self._letters() - self._dead_before
        return [] if found == expected else [f"P5: {found} dead letters, not {expected}"]

    def _letters(self) -> int:
        depth = self._dead.depth()
        return depth.visible + depth.in_flight  # a web tier's sweep hides them while it looks

    def alive(self) -> list[str]:
        """P5: every process that nobody ended is the one that was started."""
        return [f"P5: {process.log.name} ended with {process.popen.returncode}"
                for process in self._stack.processes if process.popen.poll() is not None]

    def wait(self, until: float) -> float | None:
        """The monotonic time at which all was `settled`; None where it is not by ``until``."""
        while not self.settled():
            if time.monotonic() > until:
                return None
            time.sleep(0.2)  # between looks, not instead of them
        return time.monotonic()


def _shared(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in _SHORTENED}


def _right(request: Request, result: Result, failures: frozenset[str]) -> list[str]:
    """P4: what is stored is the answer to this image."""
    picture = request.picture
    if result.image != picture.name:
        return [f"P4: the result is about {result.image}"]
    if result.status is Status.FAILED:
        assert result.error is not None
        code = result.error.code
        return [] if code in failures else [f"P2: a good image failed: {code}: {result.error.message}"]
    found = (result.label, result.input and result.input.sha256)
    return [] if found == (picture.label, picture.sha256) else [
        f"P4: the result is {found}, not {(picture.label, picture.sha256)}"]
