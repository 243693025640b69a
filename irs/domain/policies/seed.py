"""The service's original rule: one more instance a tick while messages outnumber instances.

It does not scale in: an instance without work ends itself (`IRS_IDLE_SHUTDOWN`), and only
a fleet above its maximum is cut.
"""

from __future__ import annotations

from dataclasses import replace

from irs.domain.policies.records import Action, Launch, Observation, Policy, State, Terminate


def tick(observation: Observation, state: State, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Launches what the minimum lacks at once, and otherwise at most one instance.

    Terminates only above the maximum, the youngest first: they have the least to lose.
    """
    active = [i for i in observation.fleet if i.active]
    have = len(active)
    surplus, lacking = have - policy.max, policy.min - have
    action: Action | None = None
    seen = f"queue {observation.visible}, have {have} of {policy.max}"
    if surplus > 0:
        verdict = f"above the maximum, terminating {surplus}"
        # A booting instance holds no message yet; then the one that has run the shortest.
        order = sorted(active, key=lambda i: (i.state == "pending", i.launched_at, i.id), reverse=True)
        action = Terminate(ids=tuple(i.id for i in order[:surplus]), reason=f"{seen}: {verdict}")
    elif lacking > 0:
        verdict = f"below the minimum of {policy.min}, launching {lacking}"
        action = Launch(count=lacking, reason=f"{seen}: {verdict}")
    elif observation.visible > have and have < policy.max:
        verdict = "launching 1"
        action = Launch(count=1, reason=f"{seen}: {verdict}")
    else:
        verdict = "at the maximum" if observation.visible > have else "enough"
    after = replace(state, tick=state.tick + 1, verdict=verdict, reason=f"{seen}: {verdict}")
    return after, () if action is None else (action,)
