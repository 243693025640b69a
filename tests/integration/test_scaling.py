"""The scaler drives real processes: a burst brings several instances, quiet takes them away."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from irs.aws.fleet import Fleet
from irs.aws.queues import Queue
from irs.local.instances import InstanceRunner
from tests.integration.conftest import ROOT, Process, Service, environment, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class Deployment:
    """Web tier, scaler and the hosts of a cluster's instances."""

    def __init__(self, service: Service, directory: Path, stack: ExitStack) -> None:
        self.settings = service.settings
        self.fleet = Fleet(self.settings)
        self.queue = Queue(self.settings, self.settings.input_queue)
        #: the most instances that were ever active at once
        self.most = 0
        self._stack, self._directory = stack, directory
        self.web = service.web()
        stop = threading.Event()
        self.runner = InstanceRunner(self.settings)
        hosts = threading.Thread(target=self.runner.run, args=(stop,))
        hosts.start()
        stack.callback(hosts.join)
        stack.callback(stop.set)
        stack.callback(lambda: self.fleet.terminate([i.id for i in self.fleet.describe()]))

    def scaler(self, *command: str) -> Process:
        """``irs scale``, running; or the command that stands for it."""
        process = Process([sys.executable, *(command or ("-m", "irs", "scale"))],
                          environment(self.settings), self._directory)
        self._stack.callback(process.stop)
        return process

    def active(self) -> int:
        count = sum(i.active for i in self.fleet.describe())
        self.most = max(self.most, count)
        return count

    def burst(self, photo: bytes, requests: int, files: int) -> list[str]:
        """Upload so many images, and the labels that came."""
        def one(number: int) -> list[str]:
            answer = self.web.upload(
                *((f"p{number}_{i}.jpg", photo) for i in range(files)), Accept="text/plain")
            assert answer.status == 200, answer.text
            return answer.text.splitlines()

        with ThreadPoolExecutor(requests) as pool:
            pending = [pool.submit(one, number) for number in range(requests)]
            until(lambda: self.active() and all(p.done() for p in pending), 100)
            return [line for p in pending for line in p.result()]


@pytest.fixture
def deploy(cloud: Any, make_service: Callable[..., Service],
           tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    with ExitStack() as stack:
        def make(**settings: Any) -> Deployment:
            service = make_service(
                cloud, state_dir=tmp_path / ".irs", log_format="json", scaler_interval=0.5,
                boot_delay=1, max_instances=3, **settings)
            return Deployment(service, tmp_path, stack)

        yield make


def events(process: Process, name: str) -> list[dict[str, Any]]:
    lines = [line for line in process.output.splitlines() if f'"{name}"' in line]
    return [json.loads(line) for line in lines]


def test_a_burst_launches_several_and_quiet_drains_them_to_the_minimum(
        deploy: Callable[..., Deployment], photos: dict[str, bytes]) -> None:
    made = deploy(min_instances=1, target_wait=5)
    scaler = made.scaler(str(ROOT / "tests/integration/thrifty_scaler.py"))
    until(lambda: made.active() == 1, 30)
    labels = made.burst(photos["chelsea"], 8, 25)
    assert len(labels) == 200
    assert all("cat" in label for label in labels)
    assert 2 <= made.most <= 3
    until(lambda: made.active() == 1, 110, "the quiet fleet is down to its minimum")
    depth = made.queue.depth()
    assert (depth.visible, depth.in_flight) == (0, 0)
    assert Queue(made.settings, made.settings.dead_letter_queue).depth().visible == 0
    last = events(scaler, "scaler.decision")[-1]
    assert last["done"] == 200
    # What was guessed between two reports may be too many, and never one too few or left over.
    assert last["finished"] == last["arrived"] >= 200
    assert last["service_seconds"] > 0
    assert last["boot_seconds"] > 1
    assert scaler.stop() == 0
    assert events(scaler, "scaler.stopped")


def test_idle_instances_end_themselves_but_not_below_the_minimum(
        deploy: Callable[..., Deployment], photos: dict[str, bytes]) -> None:
    """The original rule: one more each tick; an instance without work ends itself."""
    made = deploy(min_instances=1, scaler_policy="seed", idle_shutdown=2)
    first, second = made.scaler(), made.scaler()
    labels = made.burst(photos["coffee"], 4, 25)
    assert len(labels) == 100
    assert 2 <= made.most <= 3
    until(lambda: made.active() == 1, 60, "the idle ones have gone")
    acting, waiting = (first, second) if first.said("scaler.leads") else (second, first)
    assert events(acting, "scaler.may_leave")
    assert not events(acting, "scaler.terminated"), "they did it themselves"
    assert not waiting.said("scaler.leads"), "one brain"

    acting.popen.kill()
    acting.popen.wait()
    # A process of this machine that has ended is not waited for, as one elsewhere is.
    until(lambda: waiting.said("scaler.leads"), 10, "the other one has taken over")
    (only,) = [i.id for i in made.fleet.describe() if i.active]
    pid_file = made.settings.state_dir / "instances" / only / "pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    # Half a second until its host sees it, as much until the next round: far below the 15 s
    # for which its last report would count as a sign of life.
    until(lambda: [i for i in made.fleet.describe() if i.active and i.id != only], 10,
          "the minimum is kept by the other one")
