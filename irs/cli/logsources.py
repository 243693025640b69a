"""Where `irs logs` reads: the files of a laptop, or a log group of CloudWatch."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from irs.aws.logs import Event, Group
from irs.cli.loglines import Lines, Record
from irs.local import logfiles
from irs.local.logfiles import LogFile
from irs.settings import Settings

#: Seconds between looks: at files, which cost nothing, and at CloudWatch.
FILES, CLOUD = 0.25, 2.0
#: How far back CloudWatch is asked unless somebody says.
BACK = timedelta(hours=1)
#: CloudWatch shows an event some seconds after it was written.
LATE = timedelta(seconds=30)
#: Ids of events that are remembered, so that none is shown twice.
_REMEMBERED = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which records."""

    services: frozenset[str]
    #: a text that they have
    containing: str | None
    since: datetime | None
    level: str
    #: the most of the past; None: all
    lines: int | None

    def takes(self, record: Record) -> bool:
        """Whether it is one of them."""
        return (record.service in self.services and record.least(self.level)
                and (self.since is None or record.at >= self.since)
                and (self.containing is None or self.containing in record.text
                     or self.containing == record.source))

    def last(self, records: Iterable[Record]) -> Iterable[Record]:
        """The last of them that may be shown of the past."""
        chosen = filter(self.takes, records)
        return chosen if self.lines is None else deque(chosen, maxlen=self.lines)


class Source:
    """What both have in common. A context manager."""

    #: seconds between looks
    every = FILES

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._never = threading.Event()

    @property
    def there(self) -> bool:
        """Whether there is anything to read."""
        return True

    def past(self) -> Iterable[Record]:
        """What there is, by time."""
        raise NotImplementedError

    def fresh(self) -> Iterable[Record]:
        """What has come since, by time."""
        raise NotImplementedError

    def wait(self) -> None:
        """Until the next look."""
        self._never.wait(self.every)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class Files(Source):
    """A state directory's."""

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        super().__init__(wanted)
        self._state = settings.state_dir
        self._open: dict[str, tuple[LogFile, Lines]] = {}
        self._find()

    @property
    def there(self) -> bool:
        """Whether there is a log."""
        return bool(self._open)

    def past(self) -> Iterable[Record]:
        """All of them merged: each file is in the order of its own clock."""
        return self.wanted.last(heapq.merge(
            *(_records(file.past(), lines) for file, lines in self._open.values()),
            key=lambda record: record.at))

    def fresh(self) -> Iterable[Record]:
        """From files that are new as well."""
        self._find()
        found = [record for file, lines in self._open.values()
                 for record in _records(file.fresh(), lines)]
        return filter(self.wanted.takes, sorted(found, key=lambda record: record.at))

    def __exit__(self, *_: object) -> None:
        for file, _lines in self._open.values():
            file.close()

    def _find(self) -> None:
        for file in logfiles.found(self._state):
            if str(file.path) not in self._open:
                self._open[str(file.path)] = file, Lines(file.service, file.source)


class Cloud(Source):
    """A log group's."""

    every = CLOUD

    def __init__(self, settings: Settings, name: str, wanted: Wanted) -> None:
        super().__init__(wanted)
        self._group = Group(settings, name)
        self._from = wanted.since or datetime.now(UTC) - BACK
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lines: dict[str, Lines] = {}

    def past(self) -> Iterable[Record]:
        """From `Wanted.since` on, or of the last hour."""
        return self.wanted.last(self._sorted())

    def fresh(self) -> Iterable[Record]:
        """What CloudWatch shows by now and did not before."""
        return filter(self.wanted.takes, self._sorted())

    def _sorted(self) -> list[Record]:
        return sorted(self._records(), key=lambda record: record.at)

    def _records(self) -> Iterator[Record]:
        newest = self._from
        for event in self._events():
            newest = max(newest, event.at)
            if event.id in self._seen:
                continue
            self._seen[event.id] = None
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            yield from self._read(event)
        self._from = max(self._from, newest - LATE)

    def _events(self) -> Iterator[Event]:
        text = self.wanted.containing
        yield from self._group.events(self._from, containing=text)
        if text is not None and text.startswith("i-"):
            # What an instance says itself does not name it: its stream does.
            for service in sorted(self.wanted.services):
                yield from self._group.events(self._from, streams=f"{service}/{text}")

    def _read(self, event: Event) -> list[Record]:
        lines = self._lines.setdefault(event.stream, Lines(*_place(event.stream)))
        lines.at(event.at)
        return lines.feed(event.message.encode() + b"\n")


def of(settings: Settings, wanted: Wanted) -> Source:
    """The log group's where there is one, else this directory's."""
    if settings.log_group is not None:
        return Cloud(settings, settings.log_group, wanted)
    return Files(settings, wanted)


def _place(stream: str) -> tuple[str, str]:
    """The service and the source of a stream: ``web/i-0abc``, ``workers/i-0abc``, ``i-0abc``."""
    first, _, rest = stream.partition("/")
    for service in ("web", "scaler", "worker"):
        if first.lower().startswith(service):
            return ("workers" if service == "worker" else service), rest or first
    return "workers", stream


def _records(pieces: Iterable[bytes], lines: Lines) -> Iterator[Record]:
    for piece in pieces:
        yield from lines.feed(piece)
