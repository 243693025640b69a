"""Faults on order: the nth call of a method fails, or fails only for its caller."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    method: str
    #: the call's number, from 1; None: any call, by chance
    nth: int | None
    chance: float
    error: BaseException
    #: run the call first, so that it happened and the caller saw an error
    after: bool


class FaultPlan:
    """Wraps any port, fake or real, and makes chosen calls fail.

    The same ``seed`` and the same order of calls give the same faults. Rules are added
    with `fail` and `fail_randomly` and may be added while the plan is in use.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable by design, not a secret
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        #: calls so far by method name, the failed ones included
        self.calls: Counter[str] = Counter()

    def fail(self, method: str, nth: int, error: BaseException, *, after: bool = False) -> FaultPlan:
        """The ``nth`` call (from 1) of ``method`` raises ``error``.

        ``after``: the call succeeds first and only its answer is lost, as in a timeout.
        """
        self._add(_Rule(method=method, nth=nth, chance=0, error=error, after=after))
        return self

    def fail_randomly(self, method: str, chance: float, error: BaseException, *,
                      after: bool = False) -> FaultPlan:
        """Each call of ``method`` raises ``error`` with this probability, 0..1."""
        self._add(_Rule(method=method, nth=None, chance=chance, error=error, after=after))
        return self

    def wrap(self, target: Any) -> Any:
        """``target`` with this plan between it and its caller."""
        return _Faulty(target, self)

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _draw(self, method: str) -> _Rule | None:
        with self._lock:
            self.calls[method] += 1
            for rule in self._rules:
                if rule.method != method:
                    continue
                if rule.nth == self.calls[method] or (
                        rule.nth is None and self._random.random() < rule.chance):
                    return rule
        return None


class _Faulty:
    def __init__(self, target: Any, plan: FaultPlan) -> None:
        self._target = target
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._guarded(name, found) if callable(found) else found

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            rule = self._plan._draw(name)
            if rule is None:
                return call(*args, **kwargs)
            if rule.after:
                call(*args, **kwargs)
            raise rule.error
        return guarded
