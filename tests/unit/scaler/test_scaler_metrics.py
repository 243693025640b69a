"""What a scrape of the scaler shows."""

from __future__ import annotations

import socket
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.scaler import metrics


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}


DECISION = {"at": "2026-11-25T12:00:00+00:00", "visible": 40, "in_flight": 2, "pending": 1, "running": 2,
            "stopped": 0, "draining": 0, "active": 3, "wanted": 6, "ready": 2, "min": 0, "max": 19,
            "count_lag": 0.0, "service_seconds": 0.25, "boot_seconds": None}


def test_a_scrape_shows_the_last_decision_and_the_totals() -> None:
    source = SimpleNamespace(leads=False, decision={}, totals={})
    settings = settings_module.build({"scaler_metrics_port": 0, "instance_price": 0.1})
    with metrics.served(settings, source) as port:
        found = scrape(port)
        assert found["irs_scaler_leads"] == 0
        assert found["irs_scaler_launches_total"] == found["irs_scaler_stillborn_instances_total"] == 0
        assert not any(name.endswith("_instances") or "messages" in name for name in found)
        source.leads = True
        source.totals = {"decisions": 9, "launch": 3, "terminate": 1, "launched": 2, "failed": 1}
        source.decision = DECISION
        found = scrape(port)
        source.leads = False
        later = scrape(port)
    assert found["irs_scaler_leads"] == 1
    assert found["irs_scaler_launches_total"] == 3
    assert found["irs_scaler_visible_messages"] == 40
    assert (found["irs_scaler_active_instances"], found["irs_scaler_wanted_instances"]) == (3, 6)
    assert found["irs_scaler_service_seconds"] == 0.25
    assert found["irs_scaler_fleet_dollars_per_hour"] == 0.2
    assert found["irs_scaler_decision_timestamp_seconds"] == 1795608000
    assert "irs_scaler_boot_seconds" not in found
    assert "irs_scaler_visible_messages" not in later, "that is another's business by now"
    assert later["irs_scaler_launches_total"] == 3


def test_launches_are_told_by_what_came_of_them() -> None:
    source = SimpleNamespace(leads=True, decision={}, totals={"launched": 2, "failed": 1})
    came = {sample.labels["outcome"]: sample.value for family in metrics.shown(source, None)
            for sample in family.samples if sample.name == "irs_scaler_launch_calls_total"}
    assert came == {"launched": 2, "failed": 1, "there": 0, "ended": 0, "unanswered": 0, "exhausted": 0}


def test_a_port_that_is_taken_is_said_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_module.build({"scaler_metrics_port": taken.getsockname()[1]})
        with pytest.raises(SettingsError, match="IRS_SCALER_METRICS_PORT"), metrics.served(
                settings, SimpleNamespace(leads=False, decision={}, totals={})):
            pass
