"""A fixed fleet: what the peak needs, all day."""

from __future__ import annotations

from dataclasses import dataclass

from irs.domain.scaling import Action, Observation
from irs.simulate.policies.replicas import resize


@dataclass(kw_only=True, slots=True)
class Fixed:
    """``count`` instances, from the first tick to the last; what crashes is replaced."""

    count: int
    name: str = "fixed"

    def tick(self, seen: Observation) -> tuple[Action, ...]:
        return resize(seen, self.count, cap=self.count, reason=f"fixed at {self.count}")
