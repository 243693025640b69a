"""The fleet as best known: DescribeInstances, which is late and sometimes empty, and our memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from irs.aws.fleet import Instance
from irs.domain.journal import Intent, Leave, Member
from irs.domain.observing import Report
from irs.domain.scaling import ACTIVE, InstanceView
from irs.domain.totals import Life

#: Seconds that a launch of ours counts although DescribeInstances does not show it; AWS
#: says "usually seconds", and a launch forgotten too early is a launch too many.
UNSEEN = 30.0
#: Describes in a row that must miss an instance before it is believed to be gone.
MISSES = 2
#: Seconds for which an instance that has just reported lives, whatever a describe says.
ALIVE = 15.0
#: An intent's stand-in among the views: it counts as booting, and no one can end it.
INTENT = "intent:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One instance of the cluster; a terminated one is kept for one look."""

    id: str
    name: str
    state: str
    launched_at: datetime
    version: str = ""
    #: when it was first described as running; None: not yet, or before our time
    running_since: datetime | None = None
    #: when we launched or started it, by our clock; None: it has been described since
    ours_at: datetime | None = None
    #: describes in a row that did not show it
    misses: int = 0

    @property
    def active(self) -> bool:
        """It works, or will without another call."""
        return self.state in ACTIVE


class Ledger:
    """Not thread-safe."""

    def __init__(self, remembered: Iterable[Member] = ()) -> None:
        #: by instance id
        self.entries: dict[str, Entry] = {
            m.id: Entry(id=m.id, name=m.name, state="running", launched_at=m.launched_at)
            for m in remembered}
        self._looked = False

    def merge(self, found: Sequence[Instance], now: datetime, reports: Mapping[str, Report],
              ended: Collection[str] = ()) -> None:
        """Take in what DescribeInstances shows now; ``ended``: EC2 says that these are no more."""
        shown = {i.id: self._shown(i, now) for i in found}
        kept = (replace(entry, state="terminated") if key in ended and entry.active
                else self._missed(entry, now, reports.get(key))
                for key, entry in self.entries.items() if key not in shown)
        self.entries = shown | {entry.id: entry for entry in kept if entry is not None}
        self._looked = True

    def _shown(self, instance: Instance, now: datetime) -> Entry:
        before = self.entries.get(instance.id)
        state, ours_at = instance.state, before.ours_at if before else None
        if ours_at and now - ours_at < timedelta(seconds=UNSEEN) and state in ("stopping", "stopped"):
            state = "pending"  # we have started it; the answer is from before that
        elif state in ACTIVE:
            ours_at = None  # seen: from now on what describes say counts
        running_since = before.running_since if before and state == "running" else None
        if state == "running" and running_since is None and self._looked:
            running_since = now
        # A start counts as a launch, also where EC2's own time stays that of the first.
        launched_at = max(instance.launched_at, before.launched_at) if before else instance.launched_at
        return Entry(id=instance.id, name=instance.name, state=state, launched_at=launched_at,
                     version=instance.version, running_since=running_since, ours_at=ours_at)

    def _missed(self, entry: Entry, now: datetime, report: Report | None) -> Entry | None:
        """The entry, if it is believed to live although a describe did not show it."""
        if not entry.active:
            return None
        if entry.ours_at and now - entry.ours_at < timedelta(seconds=UNSEEN):
            return entry
        if report and not report.draining and now - report.at < timedelta(seconds=ALIVE):
            return replace(entry, misses=0)
        missed = replace(entry, misses=entry.misses + 1)
        return missed if missed.misses < MISSES else None

    def launched(self, instance: Instance, now: datetime) -> None:
        """It was launched by us now."""
        self.entries[instance.id] = Entry(
            id=instance.id, name=instance.name, state="pending", launched_at=now,
            version=instance.version, ours_at=now)

    def became(self, ids: Iterable[str], state: str, now: datetime) -> None:
        """A call of ours changed their state; ``pending`` is a start."""
        for key in ids:
            entry = self.entries[key]
            starts = state == "pending"
            self.entries[key] = replace(
                entry, state=state, running_since=None, ours_at=now if starts else None,
                launched_at=now if starts else entry.launched_at)

    def names(self) -> set[str]:
        """In use; a stopped instance keeps its name, a terminated one is not described."""
        return {e.name for e in self.entries.values() if e.state != "terminated"}

    def active(self) -> list[Entry]:
        """Those that work or boot, the oldest first."""
        return sorted((e for e in self.entries.values() if e.active), key=_age)

    def pool(self) -> list[Entry]:
        """Those that are stopped or about to be, the oldest first."""
        return sorted((e for e in self.entries.values() if e.state in ("stopped", "stopping")), key=_age)

    def members(self) -> tuple[Member, ...]:
        """The active ones, for the journal."""
        return tuple(Member(id=e.id, name=e.name, launched_at=e.launched_at) for e in self.active())

    def lives(self) -> dict[str, Life]:
        """By instance id, for the measurement of boots."""
        return {e.id: Life(launched_at=e.launched_at, running_since=e.running_since)
                for e in self.active()}

    def views(self, now: datetime, reports: Mapping[str, Report], leaving: Mapping[str, Leave],
              intents: Iterable[Intent]) -> tuple[InstanceView, ...]:
        """What the policy sees; an intent counts as an instance that boots."""
        views = [self._view(entry, now, reports.get(entry.id), entry.id in leaving)
                 for entry in self.entries.values()]
        views += [InstanceView(id=INTENT + i.name, state="pending", launched_at=i.since, name=i.name,
                               draining=i.spare)
                  for i in intents]
        return tuple(sorted(views, key=_age))

    @staticmethod
    def _view(entry: Entry, now: datetime, report: Report | None, leaves: bool) -> InstanceView:
        if report and report.at < entry.launched_at:
            report = None  # from before it was stopped
        fresh = report is not None and report.fresh(now)
        return InstanceView(
            id=entry.id, state=entry.state, launched_at=entry.launched_at, name=entry.name,
            busy=report.running > 0 if report and fresh else None,
            ready_at=report.ready_at if report else None,
            draining=leaves or bool(report and report.draining))


def _age(entry: Entry | InstanceView) -> tuple[datetime, str]:
    return (entry.launched_at, entry.id)
