"""What a fault is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from irs.testing.proxy import Injection, Rule
from tests.faults.harness.stack import Stack


class Active(Protocol):
    """A fault at work."""

    @property
    def fired(self) -> int:
        """How often it has struck; read when all is over."""
        ...

    def clear(self) -> None:
        """End it, and give back what it took (start another worker for a killed one)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Fault(ABC):
    """One entry of the catalogue: what is done, for how long, and under which load."""

    #: in the list of faults (docs/reliability.md)
    number: int
    #: words-with-hyphens, unique with the number
    name: str
    #: seconds from its beginning to its end
    seconds: float = 6.0
    #: clients over the whole run, and workers
    images: int = 24
    workers: int = 1
    #: settings of the stack, over the harness's own
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: strikes below which it has shown nothing
    least: int = 1
    #: good images that may end as a named failure, and their codes
    failures: frozenset[str] = frozenset()
    #: clients may be left without an answer (their web tier is killed)
    unanswered: bool = False
    #: messages that belong into the dead-letter queue in the end
    dead: int = 0
    #: part of the short run of `make test`
    short: bool = False
    #: fit to be paired with another at random
    pairs: bool = True

    def __str__(self) -> str:
        return f"{self.number:02}-{self.name}"

    def prepare(self, stack: Stack) -> None:
        """Start what it needs beyond web tiers and workers; called before the first client."""
        return

    @abstractmethod
    def inject(self, stack: Stack) -> Active:
        """Begin; called in the midst of the load."""

    def judge(self, stack: Stack, active: Active) -> list[str]:
        """What of this fault's own promises did not hold, in words; called when all is well again."""
        return []


class _Injections:
    """Rules at work in a proxy."""

    def __init__(self, injections: list[Injection]) -> None:
        self._injections = injections

    @property
    def fired(self) -> int:
        return sum(injection.fired for injection in self._injections)

    def clear(self) -> None:
        for injection in self._injections:
            injection.clear()


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkFault(Fault):
    """Calls of one tier go wrong.

    ``rules`` may name ``{input_queue}``, ``{output_bucket}`` and the like in their targets.
    """

    tier: str
    rules: tuple[Rule, ...]

    def inject(self, stack: Stack) -> Active:
        proxy = stack.proxy(self.tier)
        names = stack.settings.model_dump()
        return _Injections([
            proxy.add(Rule(**{**vars(rule), "target": rule.target.format(**names)}))
            for rule in self.rules])
