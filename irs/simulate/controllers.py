"""The service's own rules as controllers: the very code that runs in production."""

from __future__ import annotations

from irs.domain import scaling


class PolicyController:
    """`irs.domain.scaling.tick` with its state; ``name`` is the rule's.

    The original rule comes with what ended its instances: each ends itself ``idle_shutdown``
    seconds after it found the queue empty.
    """

    drains = True

    def __init__(self, policy: scaling.Policy | None = None, *, idle_shutdown: float | None = None) -> None:
        self.policy = policy or scaling.Policy()
        self.name = self.policy.name
        if idle_shutdown is None and self.name == "seed":
            idle_shutdown = 0.0
        self.idle_shutdown = idle_shutdown
        self.state = scaling.State()

    def tick(self, seen: scaling.Observation) -> tuple[scaling.Action, ...]:
        """One decision; the state is kept for the next."""
        self.state, actions = scaling.tick(seen, self.state, self.policy)
        return actions
