"""Decoding with an end: an image that takes too long is refused, and its thread is replaced.

Pillow cannot be told to stop. So an image is decoded in a thread that the task can leave
behind: the task watches the processor time of that thread, which waiting for memory or for
other images does not use up, refuses the image when it is over, and goes on with another
thread. One that was left ends with its image. Decoders that never give Python its turn back
would stop the watch as well; none of Pillow's was seen to (the slowest image of the formats
taken needs 1.4 s).
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from irs import errors, log

T = TypeVar("T")

#: Seconds of processor time that an image gets.
PROCESSOR = 5.0
#: Seconds in all, most of which are spent waiting: what is slower is tried again.
PATIENCE = 60.0
#: Seconds between looks.
LOOK = 0.5
#: Threads left behind that may run at once; one more, and the worker drains and is replaced.
LEFT = 3

_log = log.get("worker")


class _Call(Generic[T]):
    """One image's turn. Bare locks and a queue in C: events in Python cost more than half as much again."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.value: T | None = None
        self.error: BaseException | None = None
        #: held until it is done
        self._busy = threading.Lock()
        self._busy.acquire()

    def run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as exc:
            self.error = exc
        self._busy.release()

    def wait(self, seconds: float) -> bool:
        """Whether it is done within that time; not asked again once it was."""
        return self._busy.acquire(timeout=seconds)


class _Helper(threading.Thread):
    """Runs one call at a time, until it is left behind."""

    def __init__(self) -> None:
        super().__init__(name="decode", daemon=True)
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self.start()

    def give(self, call: _Call[Any]) -> None:
        self._calls.put(call)

    def dismiss(self) -> None:
        """End after the call under way."""
        self._calls.put(None)

    def run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call  # an idle thread keeps no image

    def processor(self) -> float:
        """Seconds of processor time so far; only while the thread lives."""
        clock = getattr(time, "pthread_getcpuclockid", None)
        if clock is None or self.ident is None:
            return time.monotonic()  # not on macOS: the time that passes, then
        return time.clock_gettime(clock(self.ident))


class Decoders:
    """Thread-safe. ``stuck`` is called when too many threads had to be left behind."""

    def __init__(self, *, processor: float = PROCESSOR, patience: float = PATIENCE,
                 stuck: Callable[[], None] | None = None) -> None:
        self._processor = processor
        self._patience = patience
        self._stuck = stuck or _drain
        self._idle: list[_Helper] = []
        self._left: list[_Helper] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises.

        Raises `errors.TooLarge` when it used up its processor time, `errors.ModelError`
        when it got too little of it for too long.
        """
        with self._lock:
            helper = self._idle.pop() if self._idle else _Helper()
        call = _Call(work)
        since, spent = time.monotonic(), helper.processor()
        helper.give(call)
        while not call.wait(LOOK):
            used = helper.processor() - spent
            if used >= self._processor:
                self._leave(helper, used)
                raise errors.TooLarge(f"decoding takes more than {self._processor:g} s")
            if time.monotonic() - since >= self._patience:
                self._leave(helper, used)
                raise errors.ModelError(f"not decoded within {self._patience:g} s")
        with self._lock:
            self._idle.append(helper)
        if call.error is not None:
            raise call.error
        return call.value  # type: ignore[return-value] - set where there is no error

    def _leave(self, helper: _Helper, used: float) -> None:
        helper.dismiss()
        with self._lock:
            self._left = [other for other in self._left if other.is_alive()] + [helper]
            left = len(self._left)
        _log.error("worker.decode_left", processor=round(used, 1), running=left)
        if left > LEFT:
            self._stuck()


def _drain() -> None:
    """As if the instance were stopped: what is in flight is finished or handed back."""
    _log.critical("worker.decoders_stuck")
    os.kill(os.getpid(), signal.SIGTERM)
