"""Events on their way: gathered, in order, and never a reason to wait or to stop."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from irs import errors
from irs.broker import outbox
from irs.broker.outbox import Outbox


class Sns:
    """Notes each message; ``fault`` is raised in place of it, ``held`` keeps it."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.fault: Exception | None = None
        self.held: threading.Event | None = None
        self.called = threading.Semaphore(0)

    def send(self, events: list[int]) -> None:
        self.called.release()
        if self.held is not None:
            assert self.held.wait(10)
        if self.fault is not None:
            raise self.fault
        self.sent.append(events)

    def wait(self) -> None:
        assert self.called.acquire(timeout=10)


@pytest.fixture
def sns() -> Sns:
    return Sns()


def test_what_comes_in_a_moment_is_one_message(sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LINGER", 60.0)
    box = Outbox(sns.send)
    for n in range(5):
        box.put(n)
    box.close(10)
    assert sns.sent == [[0, 1, 2, 3, 4]]


def test_it_goes_after_the_moment_without_another(sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LINGER", 0.01)
    box = Outbox(sns.send)
    box.put(1)
    sns.wait()
    box.close(10)
    assert sns.sent == [[1]]


def test_a_full_message_does_not_wait(sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LINGER", 60.0)
    monkeypatch.setattr(outbox, "MOST", 3)
    box = Outbox(sns.send)
    for n in range(7):
        box.put(n)
    sns.wait()
    sns.wait()
    box.close(10)
    assert sns.sent == [[0, 1, 2], [3, 4, 5], [6]]


def test_who_puts_does_not_wait_and_of_too_many_the_oldest_go(
        sns: Sns, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    monkeypatch.setattr(outbox, "LINGER", 0.0)
    monkeypatch.setattr(outbox, "KEPT", 4)
    sns.held = threading.Event()
    box = Outbox(sns.send)
    box.put(0)
    sns.wait()
    for n in range(1, 11):
        box.put(n)
    sns.held.set()
    box.close(10)
    assert sns.sent == [[0], [7, 8, 9, 10]]
    assert [e["lost"] for e in events if e["event"] == "broker.events_sent_again"] == [6]


def test_a_fault_costs_its_events_and_is_said_once(
        sns: Sns, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    monkeypatch.setattr(outbox, "LINGER", 0.0)
    box = Outbox(sns.send)
    sns.fault = errors.Unreachable("reset")
    for n in range(3):
        box.put(n)
        sns.wait()
    # The last of them is over when the next message is sent.
    sns.held, sns.fault = threading.Event(), None
    box.put(3)
    sns.wait()
    sns.held.set()
    box.close(10)
    assert sns.sent == [[3]]
    told = [(e["event"], e.get("why"), e.get("lost")) for e in events if e["log_level"] != "debug"]
    assert told == [("broker.events_lost", "reset", None), ("broker.events_sent_again", None, 3)]


def test_the_end_does_not_wait_for_what_hangs(sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LINGER", 0.0)
    sns.held = threading.Event()
    box = Outbox(sns.send)
    box.put(0)
    sns.wait()
    box.close(0.01)
    assert sns.sent == []
    sns.held.set()
    box.close(10)
    assert sns.sent == [[0]]
