"""What a worker answers its monitors."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.control import Panel

from irs import settings as settings_module
from irs.broker.events import HEARTBEAT
from irs.settings import Settings
from irs.worker import panel
from irs.worker.consumer import Consumer, consumer


def ask(command: str, dispatcher: Any = None) -> Any:
    return Panel.data[command](SimpleNamespace(
        consumer=SimpleNamespace(event_dispatcher=dispatcher)))


def test_a_heartbeat_that_is_asked_for_tells_the_true_interval() -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    ask("heartbeat", SimpleNamespace(send=lambda kind, **fields: sent.append((kind, fields))))
    ((kind, fields),) = sent
    assert kind == "worker-heartbeat"
    assert fields["freq"] == HEARTBEAT
    assert {"active", "processed", "loadavg", "sw_ident"} <= set(fields)


@pytest.mark.parametrize(("told", "answer"), [(True, "ok"), (False, "error")])
def test_events_are_the_settings_to_switch(
        monkeypatch: pytest.MonkeyPatch, told: bool, answer: str) -> None:
    monkeypatch.setattr(panel, "load", lambda: settings_module.build({"task_events": told}))
    assert list(ask("enable_events")) == [answer]
    assert list(ask("disable_events")) == ["error"]


def test_a_shutdown_is_a_drain_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    assert list(ask("shutdown")) == ["ok"]
    assert raised == [signal.SIGTERM]


@pytest.mark.parametrize("told", [True, False])
def test_however_a_worker_is_started_the_settings_say_what_it_tells(
        monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("irs.worker.consumer.load", lambda: Settings.model_construct(task_events=told))
    monkeypatch.setattr(consumer.Consumer, "__init__", lambda self, *args, **kwargs: given.update(kwargs))
    Consumer("on_task", task_events=not told, hostname="h", worker_options={
        "heartbeat_interval": 1, "without_gossip": False, "without_mingle": False, "queues": "q"})
    assert given == {"task_events": told, "hostname": "h", "worker_options": {
        "queues": "q", "heartbeat_interval": HEARTBEAT, "without_heartbeat": not told,
        "without_gossip": True, "without_mingle": True}}
