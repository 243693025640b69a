"""The history outlives a scaler that is killed, and the restart of everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT, Process, Service, Web, environment, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class Deployment:
    """A worker, and a web tier and a scaler that come and go."""

    def __init__(self, service: Service, directory: Path, stack: ExitStack) -> None:
        self.settings = service.settings
        self._directory, self._stack = directory, stack
        self.worker = service.worker()
        self.scaler = self.start_scaler()
        self.web = self.start_web()

    def start_scaler(self) -> Process:
        process = Process([sys.executable, str(ROOT / "tests/integration/quick_scaler.py")],
                          environment(self.settings), self._directory)
        self._stack.callback(process.stop)
        return process

    def start_web(self) -> Web:
        web = Web(self.settings, self._directory, script=ROOT / "tests/integration/quick_web.py")
        self._stack.callback(web.stop)
        until(web.ready, what="web ready")
        return web

    def upload(self, photo: bytes, count: int) -> None:
        answer = self.web.upload(*((f"p{n}.jpg", photo) for n in range(count)), Accept="text/plain")
        assert answer.status == 200, answer.text

    def stats(self) -> dict[str, Any]:
        return self.web.call("GET", "/v1/stats").json

    def history(self) -> dict[str, Any]:
        return self.web.call("GET", "/v1/stats/history").json

    def images(self) -> int:
        return sum(point["images"] for point in self.history()["points"])


def test_a_killed_scaler_and_a_restart_of_everything(
        cloud: Any, make_service: Callable[..., Service], photos: dict[str, bytes], tmp_path: Path) -> None:
    service = make_service(cloud, scaler_interval=0.3, min_instances=1, max_instances=1,
                           instance_price=3600.0, budget=5.0)
    with ExitStack() as stack:
        made = Deployment(service, tmp_path, stack)
        made.upload(photos["coffee"], 8)
        until(lambda: made.images() == 8, 40, "eight images in the history")
        until(lambda: made.stats()["latency"]["wait_p95"], 20, "the journal is as new as the history")
        stats = made.stats()
        assert stats["queue"]["dead"] == 0
        assert 0 < stats["latency"]["wait_p50"] <= stats["latency"]["wait_p95"] < 60
        assert 0 < stats["latency"]["infer_p50"] <= stats["latency"]["infer_p95"] < 60
        states = {i["state"] for i in stats["fleet"]["instances"]}
        assert states == {"booting", "idle"}, "EC2's, which nobody runs here, and the worker beside it"
        assert any(point["wait_p95"] for point in made.history()["points"])
        assert made.history()["decisions"][-1]["text"] == "queue 0, need 1, have 0: launching 1"
        before = [point["at"] for point in made.history()["points"]]
        spent = stats["cost"]["today_dollars"]

        # Nobody watches for a while; what is done meanwhile is in nobody's memory but the worker's.
        made.scaler.popen.kill()
        made.scaler.popen.wait(10)
        made.upload(photos["rocket"], 4)
        made.scaler = made.start_scaler()
        until(lambda: made.images() == 12, 40, "the successor has counted what it did not see")
        told = made.history()
        assert [point["at"] for point in told["points"]][:len(before)] == before
        assert [d["text"] for d in told["decisions"]].count("queue 0, need 1, have 0: launching 1") == 1
        until(lambda: made.stats()["cost"]["today_images"] == 12, 20)
        # The journal is written between rounds and may be one renewal behind the points, no more.
        assert made.stats()["cost"]["today_dollars"] >= spent > 0
        spent = made.stats()["cost"]["today_dollars"]

        assert made.scaler.stop() == 0
        assert made.web.stop() == 0
        made.web = made.start_web()
        survived = made.history()
        assert survived["points"][:len(told["points"])] == told["points"]
        assert made.images() == 12
        assert survived["decisions"]
        made.scaler = made.start_scaler()
        until(lambda: len(made.history()["points"]) > len(survived["points"]) + 1, 40, "it goes on")
        cost = made.stats()["cost"]
        assert (cost["today_images"], cost["budget_per_day"]) == (12, 5.0)
        assert cost["today_dollars"] >= spent
