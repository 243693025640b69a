"""A log group of CloudWatch Logs, read; one of its streams, written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from irs import errors
from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event."""

    id: str
    #: the stream's name
    stream: str
    #: when it was written, as its writer says
    at: datetime
    message: str


class Group:
    """One log group. Raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self._logs = clients.client(settings, "logs")

    def ask(self) -> None:
        """Return where it is there and may be read."""
        with translated(f"CloudWatch Logs group {self.name}"):
            self._logs.filter_log_events(logGroupName=self.name, limit=1,
                                         startTime=int(datetime.now(UTC).timestamp() * 1000))

    def events(self, since: datetime, *, containing: str | None = None,
               streams: str = "") -> Iterator[Event]:
        """Events of all streams from ``since`` on, about in the order of time, a page at a time.

        ``containing``: only those whose message has this text, ``streams``: only those of streams
        whose names begin so; CloudWatch sees to both.
        """
        asked = {"logGroupName": self.name, "startTime": int(since.timestamp() * 1000)}
        if streams:
            asked["logStreamNamePrefix"] = streams
        if containing is not None:
            asked["filterPattern"] = '"' + containing.replace("\\", "\\\\").replace('"', '\\"') + '"'
        token: str | None = None
        while True:
            with translated(f"CloudWatch Logs group {self.name}"):
                answer = self._logs.filter_log_events(**asked, **({"nextToken": token} if token else {}))
            for event in answer.get("events", ()):
                yield Event(id=event["eventId"], stream=event["logStreamName"], message=event["message"],
                            at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC))
            token = answer.get("nextToken")
            if not token:
                return


#: Tries of a call to write: its caller has more, and between them obeys who wants it to stop.
ATTEMPTS = 1


class Stream:
    """One stream of a group that is there. Raises `irs.errors.CloudError` and its children."""

    def __init__(self, settings: Settings, group: str, name: str) -> None:
        self._place = {"logGroupName": group, "logStreamName": name}
        self._what = f"CloudWatch Logs group {group}, stream {name}"
        self._logs = clients.client(settings, "logs", attempts=ATTEMPTS)

    def make(self) -> None:
        """Make it, where it is not there."""
        try:
            with translated(self._what):
                self._logs.create_log_stream(**self._place)
        except errors.AlreadyExists:
            pass

    def put(self, events: Sequence[tuple[int, str]]) -> int:
        """Write ``(milliseconds since 1970, text)`` by time; how many are too old, or too new, for it.

        Those are gone: CloudWatch takes nothing that is older than two weeks, or than the group
        keeps, or more than two hours ahead.
        """
        with translated(self._what):
            answer = self._logs.put_log_events(**self._place, logEvents=[
                {"timestamp": at, "message": text} for at, text in events])
        refused = answer.get("rejectedLogEventsInfo", {})
        old = max(refused.get("tooOldLogEventEndIndex", 0), refused.get("expiredLogEventEndIndex", 0))
        return int(old + len(events) - refused.get("tooNewLogEventStartIndex", len(events)))
