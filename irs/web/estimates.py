"""Places in the queue and times to a result: the queue's counts, the fleet, and our own pace."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from irs import errors, log
from irs.domain import waits
from irs.domain.waits import Outlook
from irs.web.outcomes import Place
from irs.web.probe import Probe

#: Seconds of past completions that make the pace.
WINDOW = 60.0
#: `Retry-After` in seconds where no pace is known, and its bounds.
RETRY_AFTER, RETRY_AFTER_MOST = 5, 60
#: Seconds of an unbroken backlog that make the queue's pace: at least, at most. The most is
#: short, so that a fleet that grows is soon taken for as large as it is.
BACKLOG, BACKLOG_MOST = 5.0, 20.0
#: Seconds after which the next upload's admission looks at the queue again.
LOOK = 3.0
#: Seconds between two looks at the queue beyond which they tell nothing about each other.
GAP = 10.0
#: Seconds for which one look at the fleet answers everybody, and for which one may be waited.
FLEET, FLEET_PATIENCE = 4.0, 1.0
#: Seconds of wait from which on it matters at admission who boots.
LONG = 30.0

_log = log.get("web")


@dataclass(frozen=True, slots=True)
class _Sample:
    """One look at the queue: when, the messages in it, and what this process had sent by then."""

    at: float
    visible: int
    sent: int


class Estimates:
    """Places and times, from the queue's depth, the fleet, and this process's own recent pace."""

    def __init__(self, depth: Callable[[], int], clock: Callable[[], float] = time.monotonic, *,
                 fleet: Callable[[], Outlook | None] = lambda: None,
                 fresh: float = 1.0, patience: float = 2.0) -> None:
        """``depth`` gives the queue's messages; ``fresh`` and ``patience`` are `Probe`'s.

        ``fleet`` gives what is known of the fleet; it is asked only for a job that waits.
        """
        self._look_at_fleet = fleet
        self._fleet = Probe(self._described, fresh=FLEET, patience=FLEET_PATIENCE, clock=clock)
        #: what the last look at the fleet told, and when
        self._outlook: tuple[float, Outlook | None] = (-math.inf, None)
        self._look = depth
        self._depth = Probe(self._sampled, fresh=fresh, patience=patience)
        self._clock = clock
        self._lock = threading.Lock()
        self._done: deque[float] = deque(maxlen=10_000)
        self._samples: deque[_Sample] = deque(maxlen=64)
        #: the queue's pace, and the look at which it was reckoned
        self._paced: tuple[_Sample | None, float | None] = (None, None)
        self._sent = 0
        #: results a second of other processes' batches, which the queue holds as well
        self.elsewhere: Callable[[], float] = float

    def _sampled(self) -> int:
        with self._lock:
            sent = self._sent  # before the look: what is sent meanwhile may be missing in it
        visible = self._look()
        with self._lock:
            self._samples.append(_Sample(self._clock(), visible, sent))
        return visible

    def _described(self) -> Outlook | None:
        outlook = self._look_at_fleet()
        with self._lock:
            self._outlook = (self._clock(), outlook)
        return outlook

    def sent(self) -> int:
        """Count a job; returns its number among this process's jobs."""
        with self._lock:
            self._sent += 1
            return self._sent

    def finished(self) -> None:
        """Count a result."""
        with self._lock:
            self._done.append(self._clock())

    def pace(self) -> float | None:
        """Results a second over the last minute; None where there were fewer than two."""
        now = self._clock()
        elsewhere = self.elsewhere()
        with self._lock:
            if self._recent(now) < 2:
                return elsewhere or None
            return len(self._done) / max(now - self._done[0], 1.0) + elsewhere

    def throughput(self) -> float:
        """Results a second over the last minute; unlike `pace`, nothing is made of a burst."""
        now = self._clock()
        with self._lock:
            count = self._recent(now)
            # More than are remembered: those that are tell of less than a minute.
            span = now - self._done[0] if count == self._done.maxlen else WINDOW
            return count / max(span, 1.0)

    def _recent(self, now: float) -> int:
        while self._done and self._done[0] < now - WINDOW:
            self._done.popleft()
        return len(self._done)

    def place(self, number: int | None = None) -> Place | None:
        """Where a job stands; None where the queue's depth cannot be read.

        ``number`` is what `sent` gave for it: what this process sent later stands behind.
        """
        try:
            visible = self._depth.value()
        except errors.CloudError as exc:
            _log.info("web.depth_unknown", why=str(exc))
            return None
        with self._lock:
            behind = self._sent - number if number is not None else 0
        position = max(0, visible - behind)
        return Place(position=position, seconds=self._seconds(position))

    def _seconds(self, position: int) -> float | None:
        """Until the result of the job there, by the fleet; where nobody describes that, by our pace.

        A pace is this process's share, and that of what there was to do.
        """
        pace = self.pace()
        seconds = None
        if position or pace is None:
            try:
                outlook = self._fleet.value()
                seconds = outlook.wait(position) if outlook is not None else None
            except errors.CloudError as exc:
                _log.info("web.fleet_unknown", why=str(exc))
        if seconds is None and pace:
            seconds = (position + 1) / pace
        return seconds

    def queue_wait(self) -> float | None:
        """Seconds that a job sent now would wait for its turn; None where nobody can tell.

        Never waits for the cloud: it judges by the last look, and begins a new one where
        that is old. What this process sent since the look stands in the queue as well.
        """
        with self._lock:
            last = self._samples[-1] if self._samples else None
        age = math.inf if last is None else self._clock() - last.at
        if age > LOOK:
            self._depth.refresh()
        if last is None or age > GAP:
            return None
        with self._lock:
            if not last.visible:
                return 0.0
            ahead = last.visible + self._sent - last.sent
        pace = (self.queue_pace() or 0.0) + self.elsewhere()
        if not pace:
            return None
        wait = ahead / pace
        return wait if wait < LONG else min(wait, self._with_boots(ahead, pace))

    def _with_boots(self, ahead: int, pace: float) -> float:
        """The wait at this pace and with what boots, as far as the last look at the fleet told."""
        self._fleet.refresh()
        with self._lock:
            at, outlook = self._outlook
        if outlook is None or self._clock() - at > GAP:
            return math.inf
        wait = waits.seconds(ahead, running=pace * outlook.service, booting=outlook.booting,
                             service=outlook.service)
        return math.inf if wait is None else wait

    def queue_pace(self) -> float | None:
        """Jobs a second that leave the queue, while it is backlogged; None where it is not.

        A service that has little to do finishes little: only under a backlog does a pace
        tell what the fleet can do. Two figures are at most the truth, and the larger counts:
        this process's own results, and what left the queue of what this process put there.
        With several web processes both are too small while all of them send, and the second
        is right as soon as they refuse.

        Reckoned once a look at the queue, as every upload's admission asks for it.
        """
        with self._lock:
            last = self._samples[-1] if self._samples else None
            if last is not self._paced[0]:
                self._paced = last, self._reckoned()
            return self._paced[1]

    def _reckoned(self) -> float | None:
        """The queue's pace up to the last look; under the lock."""
        run: list[_Sample] = []
        for sample in reversed(self._samples):
            if not sample.visible or (run and run[-1].at - sample.at > GAP):
                break
            run.append(sample)
            if run[0].at - sample.at >= BACKLOG_MOST:
                break
        if not run or (span := run[0].at - run[-1].at) < BACKLOG:
            return None
        last, first = run[0], run[-1]
        finished = sum(1 for at in self._done if first.at < at <= last.at)
        left = last.sent - first.sent - (last.visible - first.visible)
        return max(finished, left, 0) / span or None

    def retry_after(self, place: Place | None = None, *, waiting: int = 0) -> int:
        """Whole seconds for ``Retry-After``."""
        seconds = place.seconds if place is not None else None
        if seconds is None and waiting and (pace := self.pace()):
            seconds = waiting / pace / 2  # by then about half of them have gone
        if seconds is None:
            return RETRY_AFTER
        return min(RETRY_AFTER_MOST, max(1, math.ceil(seconds)))
