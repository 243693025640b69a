"""A batch's results as they arrive: lines out of pieces, and where to go on when they break off."""

from __future__ import annotations

from irs.client import errors, wire
from irs.client.records import Member


class Reading:
    """The results of ``batch_id`` from number ``start`` on, over one connection or several."""

    def __init__(self, batch_id: str, start: int) -> None:
        #: the first one that is still wanted
        self.start = start
        self._id = batch_id
        self._rest = b""
        self._moved = False

    def feed(self, data: bytes) -> list[Member]:
        """The members whose lines ``data`` completes. A line may hold any character but a newline."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [wire.member(line) for line in lines if line.strip()]
        if found:
            self.start = found[-1].number + 1
            self._moved = True
        return found

    def whole(self) -> bool:
        """Whether what has ended ended with a line."""
        return not self._rest.strip()

    def broke(self, why: str) -> None:
        """Go on from `start`; raises `errors.Unreachable` where the last time brought nothing either."""
        if not self._moved:
            raise errors.Unreachable(why, id=self._id)
        self._rest, self._moved = b"", False
