"""A backlog-per-instance target, as AWS describes it for SQS, without a moving average.

Acceptable backlog per instance = W / seconds a message; desired = backlog / that. Simple
and stable, and late: it waits for a backlog before it launches. Here as a plain alternative
that a person can check by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace

from irs.domain.policies.records import Action, Launch, Observation, Policy, State, Terminate

#: Seconds for which the fleet must have been larger than desired before it shrinks.
COOLDOWN = 60.0


def tick(observation: Observation, state: State, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Launches all that is missing at once; shrinks to the most desired in `COOLDOWN` seconds."""
    now = observation.now.timestamp()
    active = sorted((i for i in observation.fleet if i.active and not i.draining),
                    key=lambda i: (i.busy is not False, i.launched_at, i.id))
    have = len(active)
    per_instance = policy.target_wait / (observation.service_seconds or policy.service_seconds)
    work = max(0, observation.visible) + max(0, observation.in_flight)
    desired = min(policy.max, max(policy.min, math.ceil(work / per_instance)))
    # Without a full cooldown in memory (a restart) nothing is known to be too many.
    began = state.memory.at if state.memory.at is not None and now >= state.memory.at else now
    keeps = (*(item for item in state.memory.keeps if item[0] > now - COOLDOWN), (now, desired))
    most = max(count for _, count in keeps)
    seen = f"queue {work}, {per_instance:g} an instance, have {have} of {policy.max}"
    action: Action | None = None
    if desired > have:
        verdict = f"launching {desired - have}"
        action = Launch(count=desired - have, reason=f"{seen}: {verdict}")
    elif have > policy.max or (have > most and now - began >= COOLDOWN):
        # Above the maximum is cut at once; else the oldest goes, its first minute long paid.
        surplus = have - (policy.max if have > policy.max else most)
        verdict = f"terminating {surplus}"
        action = Terminate(ids=tuple(i.id for i in active[:surplus]), reason=f"{seen}: {verdict}")
    else:
        verdict = "enough"
    memory = replace(state.memory, at=began, keeps=keeps)
    after = State(tick=state.tick + 1, verdict=verdict, reason=f"{seen}: {verdict}", memory=memory)
    return after, () if action is None else (action,)
