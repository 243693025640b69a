"""The least fleet that leaves no message older than W, bought as late as a boot allows.

A message that waits costs nothing until it is W seconds old; an instance that idles, or
boots, costs money. So the queue is the buffer:

- **Out**, at the last responsible moment: launch when the fluid projection of the backlog,
  with what boots counted from its expected arrival, has messages older than W at the time
  when an instance launched now would have arrived, and then all that is missing at once.
- **In**, only what would idle: while messages wait every instance works, and none is
  wasted; when the queue is all but empty the fleet falls to what the arrivals occupy, so
  that the buffer fills again before the next launch. (Falling earlier narrows the band in
  which the queue swings, and every swing costs a boot.)
- W itself is corrected by what came of it: each message that was late takes a little off,
  each other gives a little back, so that about `LATE` of them are late on any traffic.
- A backlog is believed when two of three readings agree; scale-in wants all three.

The numbers below were chosen on one Twitter day, one World Cup day and an hour of each
Azure trace, and checked on other draws, reversed, stretched and synthetic days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from irs.domain.policies import fleet as fleets
from irs.domain.policies import forecast
from irs.domain.policies.fleet import Fleet
from irs.domain.policies.memory import Memory
from irs.domain.policies.projection import TOLERANCE, Queue
from irs.domain.policies.records import (
    Action,
    Launch,
    Observation,
    Policy,
    State,
    Terminate,
)

#: Seconds after a boot between which a launch made now must help: sooner nothing can be
#: helped, later a later launch will do.
NEAR, FAR = 10.0, 25.0
#: The queue is all but empty when each instance would be through with it in so many seconds.
EMPTY = 1.5
#: The share of messages that may be late (p95 with a little in hand); what one message
#: moves W, seconds; how far W may grow, as a share of it. It may shrink by a third.
LATE, GAMMA, LOOSE = 0.04, 0.004, 0.1
#: Taken off W for each second that the counts are late.
LAG = 0.3
#: Ski rental: what was worth keeping stays for this share of the billed boot, which is what
#: it would cost to have it back.
RENT = 0.3


def tick(observation: Observation, state: State, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """One decision; see the module."""
    now = observation.now.timestamp()
    boot = observation.boot_seconds or policy.boot_seconds
    service = observation.service_seconds or policy.service_seconds
    fleet = fleets.sort(observation.fleet, now, boot)
    ids = frozenset(view.id for view in fleet.active)
    have = len(fleet.active)
    # An instance that is missing once may be a describe that was late or empty; one that is
    # shown to have ended is none.
    missing = len(state.memory.expected - {view.id for view in observation.fleet})
    memory, outlook = forecast.look(
        observation, state.memory, now=now, serving=_serving(fleet, missing, state.memory),
        service=service, wait=policy.target_wait, interval=policy.interval)
    queue = Queue(backlog=outlook.backlog, rate=outlook.rate, past=outlook.past,
                  wait=policy.target_wait, service=service)
    margin = _margin(queue, memory, now, policy)
    lag = 0.0 if observation.counted_at is None else max(0.0, now - observation.counted_at.timestamp())
    queue = replace(queue, wait=policy.target_wait - margin - min(LAG * lag, policy.target_wait / 3))
    need = have + missing + _lacking(queue, fleet, boot, policy, missing)
    need = min(policy.max, max(need, policy.min, 1 if observation.visible > 0 else 0))
    keep = _keep(outlook, queue, fleet, boot)
    rented = now - RENT * _rent(observation, policy)
    keeps = tuple(item for item in (*memory.keeps, (now, keep)) if item[0] > rented)
    keep = max([policy.min, keep, *(kept for _, kept in keeps)])

    lacking = need - have - missing
    if len(memory.readings) < 2:
        # The first reading after a start may be the odd one.
        lacking = min(lacking, max(1, policy.min - have - missing))
    doubt = outlook.doubt or ("instances are missing" if missing else "")
    gone, verdict = _settled(observation, fleet, policy, lacking=lacking, keep=keep, doubt=doubt,
                             backlog=outlook.backlog)
    reason = (f"queue {observation.visible}, rate {outlook.rate:.2f}/s, W {queue.wait:.1f} s, "
              f"have {have} of {policy.max} ({len(fleet.booting)} booting), keep {keep}: {verdict}")
    memory = replace(memory, at=now, margin=margin, keeps=keeps, expected=ids - set(gone))
    after = State(tick=state.tick + 1, verdict=verdict, reason=reason, memory=memory)
    if gone:
        return after, (Terminate(ids=gone, reason=reason),)
    return after, (Launch(count=lacking, reason=reason),) if lacking > 0 and have <= policy.max else ()


def _serving(fleet: Fleet, missing: int, memory: Memory) -> int:
    """Those that work, with those of the missing that may: no more than did at the last look."""
    serving = len(fleet.serving)
    if missing and memory.served:
        return max(serving, min(serving + missing, memory.served[-1][1]))
    return serving


def _settled(observation: Observation, fleet: Fleet, policy: Policy, *, lacking: int, keep: int,
             doubt: str, backlog: float) -> tuple[tuple[str, ...], str]:
    """Who is to end, and what is done in words; nobody ends while there is a ``doubt``."""
    have = len(fleet.active)
    if have > policy.max:
        gone = _surplus(fleet, have - policy.max)
        return gone, f"above the maximum, terminating {len(gone)}"
    if lacking > 0:
        return (), f"launching {lacking}"
    if keep < have and doubt:
        return (), f"held: {doubt}"
    if keep < have:
        gone = _idle(fleet, have - keep, observation.now.timestamp(), observation, policy)
        return gone, f"terminating {len(gone)}" if gone else "enough"
    return (), "at the maximum" if have == policy.max and backlog > have else "enough"


def _rent(observation: Observation, policy: Policy) -> float:
    """Seconds of a boot that are billed."""
    measured = observation.billed_boot_seconds
    return policy.billed_boot_seconds if measured is None else measured


def _margin(queue: Queue, memory: Memory, now: float, policy: Policy) -> float:
    """Seconds taken off W: up a little for each late message, down a little for each other."""
    if memory.at is None or not 0 < now - memory.at < 10 * policy.interval:
        return memory.margin
    late = 1.0 if queue.due(0.0) > TOLERANCE else 0.0
    margin = memory.margin + GAMMA * (late - LATE) * queue.rate * (now - memory.at)
    return min(max(margin, -policy.target_wait * LOOSE), policy.target_wait / 3)


def _lacking(queue: Queue, fleet: Fleet, boot: float, policy: Policy, missing: int) -> int:
    """How many instances, launched now, would be just enough."""
    times = [boot + NEAR, boot + (NEAR + FAR) / 2, boot + FAR]
    # What waits now is certain, however far its due time lies ahead.
    last = queue.wait - NEAR
    while last > times[-1]:
        times.append(min(last, times[-1] + 15.0))
    base = [(0.0, len(fleet.serving) + missing), *((eta, 1) for eta in fleet.booting)]
    most = policy.max - len(fleet.active) - missing
    for more in range(max(0, most) + 1):
        arrives = sorted([*base, (boot + policy.interval, more)])
        if _in_time(queue, arrives, times, boot):
            return more
    return max(0, most)


def _in_time(queue: Queue, arrives: Sequence[tuple[float, int]], times: Sequence[float],
             boot: float) -> bool:
    near = [t for t in times if t <= boot + FAR]
    if queue.late(arrives, near) > TOLERANCE:
        return False
    far = times[len(near):]
    if not far:
        return True
    # With the same time in hand for boots that take longer.
    known = replace(queue, rate=0.0, wait=queue.wait - NEAR)
    return known.late(arrives, far) <= TOLERANCE


def _keep(outlook: forecast.Outlook, queue: Queue, fleet: Fleet, boot: float) -> int:
    """Instances worth keeping: all while something boots or all have work to do."""
    have, serving = len(fleet.active), len(fleet.serving)
    if fleet.booting or outlook.most > EMPTY * serving:
        return have
    keep = min(have, int(outlook.rate * queue.service))
    # From when the first message that comes now is due, until a replacement is in.
    times = [queue.wait]
    while times[-1] + 10 < boot + FAR:
        times.append(times[-1] + 10)
    while keep < have and queue.late([(0.0, keep)], times) > TOLERANCE:
        keep += 1
    return keep


def _idle(fleet: Fleet, count: int, now: float, seen: Observation, policy: Policy) -> tuple[str, ...]:
    """At most ``count`` instances whose first billed minute is over, idle ones first."""
    boot = seen.boot_seconds or policy.boot_seconds
    paid = boot - _rent(seen, policy) + policy.billing_minimum
    old = [view for view in fleet.serving if now - view.launched_at.timestamp() >= paid]
    old.sort(key=lambda view: (view.busy is not False, view.launched_at, view.id))
    return tuple(view.id for view in old[:count])


def _surplus(fleet: Fleet, count: int) -> tuple[str, ...]:
    """``count`` instances to go at once: those that boot, then idle ones, then the youngest."""
    works = {view.id for view in fleet.serving}
    order = sorted(fleet.active, key=lambda v: (v.id not in works, v.busy is False, v.launched_at, v.id),
                   reverse=True)
    return tuple(view.id for view in order[:count])
