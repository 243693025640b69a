"""What one PutLogEvents takes. No I/O.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

from irs.shipping.entries import Entry

#: Bytes and events of a call, and what each event counts beside its message.
BYTES, EVENTS, OVERHEAD = 1_048_576, 10_000, 26
#: Bytes of one message: AWS's limit was 256 KiB with the overhead for ten years and is more today.
MESSAGE = 262_144 - OVERHEAD
#: Milliseconds from the oldest event of a call to its newest, and from now to its newest.
SPAN, AHEAD = 24 * 3_600_000, 2 * 3_600_000


class Batch:
    """Entries, in the order of the journal, that one call takes."""

    def __init__(self) -> None:
        #: of the last entry that is whole; empty: there is none
        self.cursor = ""
        self._events: list[tuple[int, str]] = []
        self._bytes = 0
        self._first = self._last = 0

    def __len__(self) -> int:
        """Events; an entry without a text is none."""
        return len(self._events)

    @property
    def oldest(self) -> int:
        """Milliseconds since 1970; 0 where it has no events."""
        return self._first

    @property
    def newest(self) -> int:
        """The same."""
        return self._last

    def add(self, entry: Entry, now: int) -> bool:
        """Take the entry, unless the call would be too large; whether it was taken.

        ``now`` is in milliseconds since 1970. What a clock dated ahead of what CloudWatch takes
        (it had not been set yet) is dated now: the line has its own time in it besides.
        """
        if entry.message.strip():
            at = entry.at if entry.at <= now + AHEAD else now
            first, last = (min(self._first, at), max(self._last, at)) if self._events else (at, at)
            size = len(entry.message.encode()) + OVERHEAD
            # A span of just 24 hours is refused too.
            if self._events and (len(self._events) == EVENTS or self._bytes + size > BYTES
                                 or last - first >= SPAN):
                return False
            self._first, self._last = first, last
            self._events.append((at, entry.message))
            self._bytes += size
        self.cursor = entry.cursor or self.cursor
        return True

    def events(self) -> list[tuple[int, str]]:
        """By time, as the call wants them; of the same time in their own order.

        A journal is in the order of writing, and a clock may have been set back meanwhile.
        """
        return sorted(self._events, key=lambda event: event[0])
