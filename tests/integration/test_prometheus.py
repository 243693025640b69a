"""A real Prometheus, with our configuration and rules, asks real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from irs.aws.queues import Queue
from tests.exposition import series, texts
from tests.integration.conftest import Process, Service, Web, Worker, environment, until
from tests.services import program

MONITORING = Path(__file__).resolve().parents[2] / "deploy/monitoring"
KEY = "prometheus-has-a-key-of-its-own"
#: What is there only when there is something to tell, or later than this test waits.
SOMETIMES = {"irs_oldest_pending_job_timestamp_seconds", "irs_scaler_service_seconds",
             "irs_scaler_boot_seconds"}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def configuration(directory: Path, cluster: str, web: Web, scaler_port: int) -> Path:
    """The laptop's, for these ports, with a key, each second; its rules without their patience."""
    config = yaml.safe_load((MONITORING / "prometheus-laptop.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (directory / "key").write_text(KEY)
    key = {"authorization": {"type": "Bearer", "credentials_file": str(directory / "key")}}
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["irs-web"] |= key
    for job, port in (("irs-web", web.port), ("irs-scaler", scaler_port)):
        jobs[job]["static_configs"] = [{"targets": [f"127.0.0.1:{port}"], "labels": {"cluster": cluster}}]
    (discovery,) = jobs["irs-worker"]["http_sd_configs"]
    discovery |= {"url": f"{web.url}/v1/targets", "refresh_interval": "1s", **key}
    for name in config["rule_files"]:
        rules = yaml.safe_load((MONITORING / name).read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        (directory / name).write_text(yaml.safe_dump(rules))
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Prometheus(Process):
    """One on a port of its own, with a store of its own."""

    def __init__(self, config: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__(
            [str(program("prometheus", package="prometheus")), f"--config.file={config}",
             f"--storage.tsdb.path={config.parent / 'store'}",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            {"PATH": os.environ["PATH"]}, config.parent)

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def ready(self) -> bool:
        assert self.popen.poll() is None, self.output[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except urllib.error.URLError:  # not there yet, or not ready
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        return [(found["metric"], float(found["value"][1]))
                for found in self.ask("api/v1/query", query=expression)["result"]]

    def number(self, expression: str) -> float | None:
        found = self.query(expression)
        return found[0][1] if found else None

    def firing(self) -> dict[str, dict[str, Any]]:
        """By name, the last of each."""
        return {alert["labels"]["alertname"]: alert for alert in self.ask("api/v1/alerts")["alerts"]
                if alert["state"] == "firing"}

    def names(self, job: str) -> set[str]:
        asked = {"match[]": f'{{job="{job}"}}'}
        return set(self.ask("api/v1/label/__name__/values", **asked))


class Watched:
    """Web tier, worker, scaler, and Prometheus beside them."""

    def __init__(self, service: Service, directory: Path, stack: ExitStack) -> None:
        settings = service.settings
        self.cluster = settings.cluster
        # Before the web tier's first look at the dead letters, a few seconds after its start.
        Queue(settings, settings.dead_letter_queue).send("what no worker understands")
        self.scaler = Process([sys.executable, "-m", "irs", "scale"], environment(settings), directory)
        stack.callback(self.scaler.stop)
        self.worker = Worker(settings, directory)
        stack.callback(self.worker.stop)
        self.web = service.web()
        until(self.worker.ready, what="worker ready")
        until(lambda: self.scaler.said("scaler.metrics"), what="scaler's port")
        self.scaler_port = self.port(self.scaler, "scaler.metrics")
        self.prometheus = Prometheus(configuration(
            directory, settings.cluster, self.web, self.scaler_port))
        stack.callback(self.prometheus.stop)
        until(self.prometheus.ready, what="Prometheus ready")
        until(lambda: sorted((labels["job"], value) for labels, value in self.prometheus.query("up")) == [
            ("irs-scaler", 1), ("irs-web", 1), ("irs-worker", 1)], 30, "all three are up")

    @staticmethod
    def port(process: Process, event: str) -> int:
        (line,) = [line for line in process.output.splitlines() if f'"{event}"' in line]
        port: int = json.loads(line)["port"]
        return port


@pytest.fixture(scope="module")
def watched(cloud: Any, make_service: Callable[..., Service],
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    program("prometheus", package="prometheus")
    service = make_service(
        cloud, worker_metrics_port=0, scaler_metrics_port=0, scaler_interval=0.5, max_instances=1,
        instance_price=0.09, api_keys=f"people:{'x' * 20},prometheus:{KEY}")
    with ExitStack() as stack:
        yield Watched(service, tmp_path_factory.mktemp("prometheus"), stack)


def test_all_three_answer_and_count_what_was_uploaded(watched: Watched, photos: dict[str, bytes]) -> None:
    prometheus = watched.prometheus
    ((labels, _),) = prometheus.query('up{job="irs-worker"}')
    assert labels["cluster"] == watched.cluster
    assert labels["instance"].endswith(f"-{watched.worker.pid}"), "off EC2 the process is the name"

    # The first sample of a series is nobody's rate.
    until(lambda: prometheus.number("sum(irs_uploads_total + 1)"), 30)
    until(lambda: prometheus.number("sum(irs_worker_images_total + 1)"), 30)
    files = [(f"{name}.jpg", data) for name, data in photos.items()]
    for more in ([], [("none.jpg", b"no image")]):
        answer = watched.web.upload(*files, *more, Authorization=f"Bearer {KEY}")
        assert answer.status == 200, answer.text
    until(lambda: prometheus.number('irs_uploads_total{outcome="refused"}') == 1, 15)
    for expression, expected in {
        'sum(irs_uploads_total{outcome="done"})': 2 * len(files),
        'sum(irs_worker_images_total{status="done"})': 2 * len(files),
        "sum(irs_worker_queue_wait_seconds_count)": 2 * len(files),
        'sum(irs_worker_stage_seconds_count{stage="store"})': 2 * len(files),
        'sum(irs_upload_seconds_count{outcome="done"})': 2,
        'sum(irs_aws_calls_total{job="irs-worker",operation="GetObject",outcome="ok"})': 2 * len(files),
        "sum(irs_scaler_leads)": 1,
        "irs_scaler_max_instances": 1,
    }.items():
        until(lambda e=expression, n=expected: prometheus.number(e) == n, 15, expression)
    # Prometheus reckons a rate to the ends of its window, and so a little more than there was.
    for recorded in ('cluster:irs_uploads:rate1m{outcome="done"}',
                     'cluster:irs_worker_images:rate1m{status="done"}'):
        until(lambda r=recorded: 0.9 * 2 * len(files) <= 60 * (prometheus.number(r) or 0)
              <= 2 * 2 * len(files), 15, recorded)


def test_each_job_shows_what_is_documented_and_nothing_else(watched: Watched) -> None:
    for job, text in texts().items():
        told = series(text)
        shown = {name for name in watched.prometheus.names(job) if name.startswith(("irs_", "process_"))}
        assert shown <= told, job
        assert told - shown <= SOMETIMES, job


@pytest.mark.parametrize("job", ["irs-web", "irs-worker", "irs-scaler"])
def test_what_is_really_shown_keeps_the_conventions(watched: Watched, job: str) -> None:
    port = {"irs-web": lambda: watched.web.port, "irs-scaler": lambda: watched.scaler_port,
            "irs-worker": lambda: watched.port(watched.worker, "worker.metrics")}[job]()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics",
                                   headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        text = answer.read()
    done = subprocess.run([program("promtool", package="prometheus"), "check", "metrics"], input=text,
                          check=False, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_dead_letter_and_a_killed_worker_raise_their_alerts(watched: Watched) -> None:
    prometheus = watched.prometheus
    letters = until(lambda: prometheus.firing().get("IrsDeadLetters"), 45, "the dead letter's alert")
    assert letters["labels"]["cluster"] == watched.cluster
    assert letters["annotations"]["summary"] == f"The dead-letter queue of {watched.cluster} holds 1."
    # A scrape that took too long on a busy machine is one target down, for a moment.
    until(lambda: not {"IrsTargetDown", "IrsScalerAbsent"} & prometheus.firing().keys(), 15,
          "all is well else")

    os.kill(watched.worker.pid, signal.SIGKILL)
    watched.worker.popen.wait(10)
    down = until(lambda: prometheus.firing().get("IrsTargetDown"), 20, "the killed worker's alert")
    assert down["labels"]["job"] == "irs-worker"
    assert down["labels"]["instance"].endswith(f"-{watched.worker.pid}")
