"""What each instance does, in one word, from what EC2 and its worker say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from irs.domain.observing import Report, stamp
from irs.domain.policies.records import InstanceView

State = Literal["booting", "idle", "busy", "draining", "stopped"]
#: All of them, in the order of an instance's life.
STATES: tuple[State, ...] = ("booting", "idle", "busy", "draining", "stopped")
#: An instance's id; a worker that runs elsewhere calls itself something else.
_EC2 = "i-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Doing:
    """One instance, as people want to see it."""

    id: str
    name: str
    state: State
    launched_at: datetime
    #: finished since its worker began
    images: int = 0
    #: under way
    running: int = 0
    #: when its worker last reported; None: not since the launch
    reported_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"id": self.id, "name": self.name, "state": self.state,
                "launched_at": stamp(self.launched_at), "images": self.images, "running": self.running,
                "reported_at": None if self.reported_at is None else stamp(self.reported_at)}


def doings(views: Sequence[InstanceView], reports: Mapping[str, Report],
           now: datetime) -> tuple[Doing, ...]:
    """The fleet's instances that EC2 has, the oldest first, then workers that are no instances.

    Those are told of only while they report. An instance whose worker has fallen silent is
    what it last was: ``reported_at`` tells.
    """
    found = [_instance(view, reports.get(view.id)) for view in views
             if view.id.startswith(_EC2) and view.state != "terminated"]
    found += [_doing(report.instance, report.instance, report.started_at, report)
              for report in reports.values()
              if not report.instance.startswith(_EC2) and report.fresh(now)]
    return tuple(found)


def _instance(view: InstanceView, report: Report | None) -> Doing:
    if report is not None and report.at < view.launched_at:
        report = None  # from before it was stopped
    if view.state == "stopped":
        return Doing(id=view.id, name=view.name, state="stopped", launched_at=view.launched_at)
    return _doing(view.id, view.name, view.launched_at, report, leaves=view.draining or not view.active,
                  active=view.active)


def _doing(key: str, name: str, launched_at: datetime, report: Report | None, *, leaves: bool = False,
           active: bool = True) -> Doing:
    state: State
    if active and (report is None or report.ready_at is None):
        state = "booting"  # also one that is prepared for the warm pool, which leaves when it is up
    elif leaves or (report is not None and report.draining):
        state = "draining"
    else:
        state = "busy" if report is not None and report.running else "idle"
    return Doing(id=key, name=name, state=state, launched_at=launched_at,
                 images=report.done if report else 0, running=report.running if report else 0,
                 reported_at=report.at if report else None)
