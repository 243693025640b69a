"""A round that a process makes again and again in a thread, whatever it meets on the way."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from irs import errors

#: Seconds before the first round, from and to: processes that start together need not make
#: theirs together.
FIRST = 1.0, 5.0


class Rounds:
    """``turn`` is called ``every`` so many seconds; from the second fault of the cloud in a row on
    that many times as rarely, but every ``slowest`` seconds at least, and so after a defect.

    ``failed`` is told the fault and how many there were in a row; ``erred`` is called while a
    defect of ours is handled. Both log it, and the rounds go on.
    """

    def __init__(self, turn: Callable[[], object], *, name: str, every: float, slowest: float,
                 failed: Callable[[errors.CloudError, int], None], erred: Callable[[], None]) -> None:
        self._turn = turn
        self._every, self._slowest = every, slowest
        self._failed, self._erred = failed, erred
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Begin no further round; one under way ends by itself in its thread."""
        self._stopping.set()

    def join(self, timeout: float) -> bool:
        """Whether the thread has ended, after so many seconds at most."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run(self, wait: Callable[[float], bool] | None = None) -> None:
        """All the rounds; ``wait`` passes seconds between them and says whether to stop."""
        wait = wait or self._stopping.wait
        failures = 0
        pause = random.uniform(*FIRST)  # noqa: S311 - jitter
        while not wait(pause):
            try:
                self._turn()
                failures, pause = 0, self._every
            except errors.CloudError as exc:
                failures += 1
                pause = min(self._slowest, self._every * failures)
                self._failed(exc, failures)
            except Exception:  # whatever it is, the next round must come
                self._erred()
                pause = self._slowest
