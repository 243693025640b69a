"""The threads that answer requests: as many as are needed at once, the warmest first."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from irs import log

#: Seconds without a task after which a thread ends.
IDLE = 30.0

_log = log.get("web")


class Task(Protocol):
    """A request to be answered: waitress's channel."""

    def service(self) -> None: ...
    def cancel(self) -> None: ...


class _Thread:
    """One thread's place on the stack, and the task it is handed."""

    __slots__ = ("task", "wake")

    def __init__(self, task: Task | None) -> None:
        self.task = task
        self.wake = threading.Event()


class Threads:
    """In place of waitress's dispatcher, which starts all its threads at once and wakes them in turn.

    Each thread that has ever run keeps a tenth of a megabyte of stack and heap, so that
    four hundred of them, for a handful of clients, were half of the web tier's memory. Here
    a thread is started when none is free, the one that worked last works next, and one
    without work for `IDLE` seconds ends.
    """

    def __init__(self, most: int, *, idle: float = IDLE) -> None:
        self._most = most
        self._idle_seconds = idle
        self._idle: list[_Thread] = []
        self._queue: deque[Task] = deque()
        self._count = 0
        self._number = 0
        self._closing = False
        self._changed = threading.Condition()

    @property
    def count(self) -> int:
        """Threads there are."""
        return self._count

    def add_task(self, task: Task) -> None:
        """Run it in a thread, as soon as there is one."""
        with self._changed:
            if self._idle:
                thread = self._idle.pop()
                thread.task = task
                thread.wake.set()
            elif self._count < self._most:
                self._count += 1
                self._number += 1
                threading.Thread(target=self._run, args=(_Thread(task),), daemon=True,
                                 name=f"web-{self._number}").start()
            else:
                self._queue.append(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """Start nothing more; wait up to ``timeout`` seconds for what runs. True when all has ended."""
        end = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            for thread in self._idle:
                thread.wake.set()
            self._idle.clear()
            ended = self._changed.wait_for(lambda: not self._count, max(0.0, end - time.monotonic()))
            left, self._queue = list(self._queue), deque()
        if cancel_pending:
            for task in left:
                task.cancel()
        return ended

    def _run(self, thread: _Thread) -> None:
        while (task := thread.task) is not None:
            thread.task = None
            try:
                task.service()
            except Exception:
                # The thread's next client has nothing to do with it.
                _log.exception("web.bug", path=None)
            self._rest(thread)
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def _rest(self, thread: _Thread) -> None:
        """Return with a task, or without one when the thread is to end."""
        with self._changed:
            if self._queue and not self._closing:
                thread.task = self._queue.popleft()
                return
            if self._closing:
                return
            thread.wake.clear()
            self._idle.append(thread)
        if not thread.wake.wait(self._idle_seconds):
            with self._changed:
                # Unless it was handed a task a moment ago.
                if thread in self._idle:
                    self._idle.remove(thread)
