"""A log group of CloudWatch Logs, read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

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

    def events(self, since: datetime, *, containing: str | None = None) -> Iterator[Event]:
        """Events of all streams from ``since`` on, about in the order of time, a page at a time.

        ``containing``: only those whose message has this text, which CloudWatch sees to.
        """
        asked = {"logGroupName": self.name, "startTime": int(since.timestamp() * 1000)}
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
