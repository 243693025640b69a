"""The active instances by what they can do: who serves, and when the others will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irs.domain.policies.records import InstanceView

#: Seconds after which what is overdue is expected: soon.
SOON = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """See `sort`."""

    #: by launch, oldest first
    active: tuple[InstanceView, ...]
    serving: tuple[InstanceView, ...]
    #: seconds from now at which each of the others is expected, ascending
    booting: tuple[float, ...]


def sort(views: Sequence[InstanceView], now: float, boot: float) -> Fleet:
    """``views`` at ``now`` (seconds since the epoch); ``boot`` is what a boot takes, in seconds.

    An instance serves when it is seen to, and where nobody sees any, after a usual boot.
    """
    active = sorted((v for v in views if v.active and not v.draining), key=lambda v: (v.launched_at, v.id))
    known = any(view.ready_at is not None for view in active)
    serving: list[InstanceView] = []
    booting: list[float] = []
    for view in active:
        eta = view.launched_at.timestamp() + boot - now
        if view.ready_at is not None or view.busy or (eta <= 0 and not known):
            serving.append(view)
        elif eta > -2 * boot:
            # Overdue: soon. After three boots nobody counts on it any more.
            booting.append(max(eta, SOON))
    return Fleet(active=tuple(active), serving=tuple(serving), booting=tuple(sorted(booting)))
