"""Threads that answer: no more than needed, no task lost, an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from irs.web.threads import Threads

#: Seconds; far above what any of these takes.
LONG = 20


class Task:
    """Runs until it is let go."""

    def __init__(self, *, held: bool = False, breaks: bool = False) -> None:
        self.began, self.done, self.cancelled = threading.Event(), threading.Event(), threading.Event()
        self.go = threading.Event()
        self.thread = ""
        self._breaks = breaks
        if not held:
            self.go.set()

    def service(self) -> None:
        self.thread = threading.current_thread().name
        self.began.set()
        assert self.go.wait(LONG)
        self.done.set()
        if self._breaks:
            raise ValueError("a defect")

    def cancel(self) -> None:
        self.cancelled.set()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(3)
    yield threads
    threads.shutdown(timeout=LONG)


def run(threads: Threads, task: Task) -> Task:
    threads.add_task(task)
    assert task.done.wait(LONG)
    return task


def test_one_after_the_other_needs_one_thread(threads: Threads) -> None:
    names = set()
    for _ in range(5):
        names.add(run(threads, Task()).thread)
        until(lambda: threads._idle)
    assert (threads.count, len(names)) == (1, 1)


def test_the_warmest_thread_is_taken_first(threads: Threads) -> None:
    both = [Task(held=True), Task(held=True)]
    for task in both:
        threads.add_task(task)
        assert task.began.wait(LONG)
    for number, task in enumerate(both):
        task.go.set()
        until(lambda number=number: len(threads._idle) == number + 1)
    assert run(threads, Task()).thread == both[1].thread


def test_no_more_than_the_most_and_the_rest_waits_its_turn(threads: Threads) -> None:
    tasks = [Task(held=True) for _ in range(5)]
    for task in tasks:
        threads.add_task(task)
    for task in tasks[:3]:
        assert task.began.wait(LONG)
    assert threads.count == 3
    assert not tasks[3].began.is_set()
    for task in tasks:
        task.go.set()
    assert all(task.done.wait(LONG) for task in tasks)
    assert threads.count == 3


def test_a_defect_costs_no_thread(threads: Threads, events: list[Any]) -> None:
    run(threads, Task(breaks=True))
    until(lambda: threads._idle)
    run(threads, Task())
    assert threads.count == 1
    assert [e["event"] for e in events] == ["web.bug"]


def test_without_work_a_thread_ends_and_the_next_task_has_a_new_one() -> None:
    threads = Threads(2, idle=0.01)
    run(threads, Task())
    until(lambda: threads.count == 0)
    run(threads, Task())
    assert threads.shutdown(timeout=LONG)


def test_tasks_that_come_as_threads_end_are_all_run() -> None:
    threads = Threads(4, idle=0.0005)
    tasks = []
    for number in range(600):
        tasks.append(Task())
        threads.add_task(tasks[-1])
        if number % 3 == 0:
            time.sleep(0.0005)  # about when an idle thread gives up
    assert all(task.done.wait(LONG) for task in tasks)
    assert threads.shutdown(timeout=LONG)


def test_shutdown_cancels_what_waits_and_says_when_something_still_runs() -> None:
    threads = Threads(1)
    running, waiting = Task(held=True), Task()
    threads.add_task(running)
    assert running.began.wait(LONG)
    threads.add_task(waiting)
    assert not threads.shutdown(timeout=0.01)
    assert waiting.cancelled.is_set()
    assert not waiting.began.is_set()
    running.go.set()
    until(lambda: threads.count == 0)
