"""Decodes that never end, in real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from irs import errors
from irs.worker import decoding
from irs.worker.decoding import LEFT, Decoders


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LOOK", 0.01)


class Hang:
    """Busy, or asleep, until the test ends."""

    def __init__(self, *, busy: bool) -> None:
        self.end = threading.Event()
        self._busy = busy
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        if not self._busy:
            self.end.wait(30)
        while not self.end.is_set():
            sum(range(1000))


@pytest.fixture
def busy() -> Iterator[Hang]:
    hang = Hang(busy=True)
    yield hang
    hang.end.set()


@pytest.fixture
def asleep() -> Iterator[Hang]:
    hang = Hang(busy=False)
    yield hang
    hang.end.set()


def test_values_and_errors_come_through_and_the_thread_is_used_again() -> None:
    decoders = Decoders()
    threads = {decoders.run(threading.get_ident) for _ in range(5)}
    assert len(threads) == 1

    def refuse() -> None:
        raise errors.Undecodable("broken")

    with pytest.raises(errors.Undecodable):
        decoders.run(refuse)
    assert decoders.run(threading.get_ident) in threads


def test_an_image_that_uses_up_its_processor_time_is_refused(busy: Hang) -> None:
    decoders = Decoders(processor=0.1, stuck=lambda: None)
    with pytest.raises(errors.TooLarge):
        decoders.run(busy)
    assert decoders.run(lambda: "the next one") == "the next one"
    assert busy.thread is not None
    assert busy.thread.is_alive()
    busy.end.set()
    busy.thread.join(10)
    assert not busy.thread.is_alive(), "a thread that was left behind ends with its image"


def test_waiting_uses_no_processor_time(asleep: Hang) -> None:
    """For memory, or behind others: such an image is not refused but tried again."""
    decoders = Decoders(processor=0.05, patience=0.5, stuck=lambda: None)
    began = time.monotonic()
    with pytest.raises(errors.ModelError):
        decoders.run(asleep)
    assert time.monotonic() - began >= 0.5


def test_what_an_earlier_image_used_is_not_counted() -> None:
    decoders = Decoders(processor=0.3)

    def work() -> str:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        return "done"

    assert [decoders.run(work) for _ in range(3)] == ["done"] * 3


def test_too_many_threads_left_behind_end_the_worker() -> None:
    stuck: list[int] = []
    decoders = Decoders(patience=0.02, stuck=lambda: stuck.append(1))
    hangs = [Hang(busy=False) for _ in range(LEFT + 1)]
    try:
        for number, hang in enumerate(hangs):
            assert stuck == []
            with pytest.raises(errors.ModelError):
                decoders.run(hang)
            assert len(stuck) == (number == LEFT)
    finally:
        for hang in hangs:
            hang.end.set()


def test_threads_that_ended_meanwhile_do_not_count() -> None:
    stuck: list[int] = []
    decoders = Decoders(patience=0.02, stuck=lambda: stuck.append(1))
    for _ in range(3 * LEFT):
        hang = Hang(busy=False)
        with pytest.raises(errors.ModelError):
            decoders.run(hang)
        hang.end.set()
        assert hang.thread is not None
        hang.thread.join(10)
    assert stuck == []
