"""The transport in Celery's loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from irs.broker.transport import Transport


@pytest.fixture
def hub() -> Iterator[Hub]:
    before, hub = get_event_loop(), Hub()
    yield hub
    hub.close()
    set_event_loop(before)


def test_what_another_thread_calls_in_the_loop_is_done_without_a_nap(
        hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def nap(_seconds: float) -> None:
        raise AssertionError("the loop sleeps, and nothing can wake it")

    monkeypatch.setenv("IRS_REGION", "us-east-1")
    transport: Any = Transport(SimpleNamespace(transport_options={}))
    for _ in range(2):  # once more after a connection error, which resets the loop
        transport.register_with_event_loop(None, hub)
        loop, done = hub.create_loop(sleep=nap), threading.Event()
        next(loop)
        calling = threading.Thread(target=hub.call_soon, args=(done.set,))
        calling.start()
        while not done.is_set():
            next(loop)
        calling.join()
        hub.reset()
