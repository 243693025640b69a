"""How many app instances there should be: one pure function of observation and state.

The rules are in `irs.domain.policies`, one a file; the records that they share are here
under their public names. No clock, no AWS, no sleep in any of them: the same code decides
in production, in `irs simulate` and in the tests.
"""

from __future__ import annotations

from irs.domain.policies import predictive, seed, target
from irs.domain.policies.records import (
    ACTIVE,
    NAMES,
    Action,
    InstanceView,
    Launch,
    Observation,
    Policy,
    State,
    Terminate,
)

__all__ = ["ACTIVE", "NAMES", "Action", "InstanceView", "Launch", "Observation", "Policy", "State",
           "Terminate", "tick"]

_RULES = {"seed": seed.tick, "target": target.tick, "predictive": predictive.tick}


def tick(observation: Observation, state: State, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """One decision: the next state (with its reason) and the actions, usually none.

    Whatever the rule: never more than ``policy.max`` active instances are asked for,
    counting those that boot, and never fewer than ``policy.min`` are left.
    """
    return _RULES[policy.name](observation, state, policy)
