"""Which instances may end themselves, and which have not come up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from irs.domain.scaling import InstanceView

#: Doublings of the boot deadline at most, while no worker ever reports.
_DOUBLINGS = 6


def may_leave(fleet: Sequence[InstanceView], asking: Collection[str], *, keep: int) -> tuple[str, ...]:
    """Those of ``asking`` (ids) that may end themselves so that ``keep`` instances are left.

    The youngest first: it is the one that a short rise had brought. An instance that
    boots is not counted among those that are left, as it may never come up.
    """
    working = [v for v in fleet if v.state == "running" and not v.draining]
    free = max(0, len(working) - keep)
    wishing = sorted((v for v in working if v.id in asking and not v.busy),
                     key=lambda v: (v.launched_at, v.id), reverse=True)
    return tuple(v.id for v in wishing[:free])


def overdue(fleet: Sequence[InstanceView], now: datetime, *, deadline: float, fruitless: int | None,
            ) -> tuple[str, ...]:
    """Those that have not reported for work ``deadline`` seconds after their launch.

    ``fruitless`` is how many were given up so far without any worker's ever having
    reported, None where one has: while none has, the fault may be the reports' rather than
    the instances', and the deadline doubles with each.
    """
    seconds = deadline * 2 ** min(fruitless or 0, _DOUBLINGS)
    return tuple(v.id for v in fleet if v.active and v.ready_at is None and not v.draining
                 and now - v.launched_at > timedelta(seconds=seconds))


def assume_ready(fleet: Sequence[InstanceView], now: datetime, *,
                 boot_seconds: float) -> tuple[InstanceView, ...]:
    """``fleet`` where workers do not report: running ones count as ready after a usual boot."""
    boot = timedelta(seconds=boot_seconds)
    return tuple(
        replace(v, ready_at=v.launched_at + boot)
        if v.state == "running" and v.ready_at is None and now - v.launched_at >= boot else v
        for v in fleet)
