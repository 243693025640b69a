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


def test_a_scrape_shows_the_last_decision_and_the_totals() -> None:
    source = SimpleNamespace(leads=False, decision={}, totals={})
    with metrics.served(settings_module.build({"scaler_metrics_port": 0}), source) as port:
        assert scrape(port) == {
            "irs_scaler_leads": 0, "irs_scaler_decisions_total": 0, "irs_scaler_launches_total": 0,
            "irs_scaler_terminations_total": 0}
        source.leads = True
        source.totals = {"decisions": 9, "launch": 3, "terminate": 1}
        source.decision = {"visible": 40, "in_flight": 2, "pending": 1, "running": 2, "stopped": 0,
                           "draining": 0, "service_seconds": 0.25, "boot_seconds": None}
        found = scrape(port)
    assert found["irs_scaler_leads"] == 1
    assert found["irs_scaler_launches_total"] == 3
    assert found["irs_scaler_visible_messages"] == 40
    assert found["irs_scaler_service_seconds"] == 0.25
    assert "irs_scaler_boot_seconds" not in found


def test_a_port_that_is_taken_is_said_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_module.build({"scaler_metrics_port": taken.getsockname()[1]})
        with pytest.raises(SettingsError, match="IRS_SCALER_METRICS_PORT"), metrics.served(
                settings, SimpleNamespace(leads=False, decision={}, totals={})):
            pass
