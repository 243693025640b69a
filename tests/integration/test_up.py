"""`irs up`: everything from one command, everything gone after one Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from irs import settings as settings_module
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.local import children
from irs.local.emulator import bind
from irs.settings import Settings
from tests.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")


class Up:
    """One `irs up` in a directory of its own."""

    def __init__(self, directory: Path, models: Path, *options: str, **overrides: str) -> None:
        self.directory = directory
        self.state = directory / ".irs"
        self.output = directory / f"output-{time.monotonic_ns()}.txt"
        env = children.base_env() | {
            "IRS_PORT": "0", "IRS_CLOUD_PORT": "0", "IRS_MODEL_DIR": str(models)} | overrides
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "irs", "up", *options], cwd=directory, env=env,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def text(self) -> str:
        return self.output.read_text()

    def url(self) -> str:
        """Once it is ready."""
        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.text()
            return re.search(r"curl -F myfile=@photo.jpg (http://\S+)/upload\n", self.text())
        return until(look, 240)[1]

    def settings(self) -> Settings:
        """What another command typed in the directory gets."""
        found = dotenv_values(self.state / "cloud.env")
        names = {n.removeprefix("IRS_").lower(): v for n, v in found.items()}
        return settings_module.build(names)

    def pid_files(self) -> dict[str, Path]:
        services = {p.stem: p for p in (self.state / "run").glob("*.pid")}
        return services | {p.parent.name: p for p in (self.state / "instances").glob("*/pid")}

    def processes(self) -> dict[str, tuple[int, str]]:
        """Name to pid and identity of each of its processes that runs now."""
        found = {}
        for name, path in self.pid_files().items():
            with contextlib.suppress(FileNotFoundError):
                pid, _, identity = path.read_text().strip().partition(" ")
                if children.identity(int(pid)) == identity:
                    found[name] = (int(pid), identity)
        return found

    def everyone(self) -> dict[str, tuple[int, str]]:
        """The processes, once the first instance has one."""
        def look() -> dict[str, tuple[int, str]]:
            found = self.processes()
            return found if any(name.startswith("i-") for name in found) else {}
        return until(look)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)


def gone(processes: dict[str, tuple[int, str]]) -> bool:
    return not any(children.identity(pid) == identity for pid, identity in processes.values())


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported once by whoever is first."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def up(tmp_path: Path, models: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*options: str, **overrides: str) -> Up:
        started.append(Up(tmp_path, models, *options, **overrides))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


def upload(url: str, name: str, data: bytes) -> str:
    body = (b'--x\r\nContent-Disposition: form-data; name="myfile"; filename="' + name.encode()
            + b'"\r\n\r\n' + data + b"\r\n--x--\r\n")
    request = urllib.request.Request(
        url + "/upload", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return answer.read().decode()


def stored_results(settings: Settings) -> list[str]:
    """Results have no folder; the scaler's journal and the workers' reports have."""
    keys = Objects(settings, settings.output_bucket).keys()
    return [key for key in keys if "/" not in key]


def photograph() -> bytes:
    import skimage
    return (Path(skimage.__file__).parent / "data" / "chelsea.png").read_bytes()


def test_one_command_serves_and_one_signal_ends_it(up: Callable[..., Up]) -> None:
    first = up()
    url = first.url()
    assert re.fullmatch(r"\(cat, [\w ,-]+\)\n?", upload(url, "cat.png", photograph()))
    settings = first.settings()
    assert [i.state for i in Fleet(settings).describe()] == ["running"]
    assert oct((first.state / "cloud.env").stat().st_mode)[-3:] == "600"
    Queue(settings, settings.dead_letter_queue).send("waits for a person")
    results = stored_results(settings)
    assert len(results) == 1
    until(lambda: "1 images answered" in first.text())

    second = up()
    assert second.process.wait(60) == 2
    assert re.fullmatch(r"irs: another `irs up` runs on .*start this one in another directory\n",
                        second.text())
    assert first.process.poll() is None

    processes = first.everyone()
    assert set(processes) > {"emulator", "web", "scaler", "instances"}
    assert first.end(signal.SIGINT) == 0
    assert gone(processes)
    assert not first.pid_files()
    assert not (first.state / "cloud.env").exists()

    began = time.monotonic()
    again = up()
    again.url()
    assert time.monotonic() - began < 30, "seconds, when the model is there already"
    settings = again.settings()
    assert stored_results(settings) == results
    dead = Queue(settings, settings.dead_letter_queue)
    assert [m.body for m in dead.receive()] == ["waits for a person"]
    assert len(Fleet(settings).describe()) <= 1, "the last run's instances ended with it"
    assert again.end() == 0


def test_what_dies_is_started_again_and_so_is_the_cloud(up: Callable[..., Up]) -> None:
    running = up()
    url = running.url()
    processes = running.everyone()
    for name in ("web", "scaler", "instances"):
        os.kill(processes[name][0], signal.SIGKILL)
    until(lambda: all(f"{n} started again" in running.text() for n in ("web", "scaler", "instances")))
    assert "web ended with code -9" in running.text()
    until(lambda: ready(url))

    before = stored_results(running.settings())
    os.kill(running.everyone()["emulator"][0], signal.SIGKILL)
    until(lambda: "the embedded cloud started again" in running.text())
    (told,) = [line for line in running.text().splitlines() if "the embedded cloud ended" in line]
    assert "ended with code -9" in told
    assert "`irs audit`" in told
    assert "starts again in 1 s" in told
    until(lambda: ready(url))
    assert "(cat, " in upload(url, "cat.png", photograph())
    assert set(stored_results(running.settings())) > set(before)
    processes = running.everyone()
    assert running.end() == 0
    assert gone(processes)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_drills_harm_what_runs_and_see_it_heal(up: Callable[..., Up]) -> None:
    running = up()
    port = running.url().rpartition(":")[2]
    before = running.everyone()["web"]
    for name, least in (("kill-web", 1), ("duplicate", 12)):
        done = drill(running, name, "--rate", "1", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["injected"] >= least
        assert found["accepted"] == found["final"] > 0
    assert running.processes()["web"] != before, "it really was killed"
    assert running.end() == 0
    # At the port that it had: at the usual one somebody else's service may answer.
    done = drill(running, "kill-web", IRS_PORT=port)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"irs: nothing answers at .*irs up.*\n", done.stderr)


def drill(running: Up, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`irs drill`, typed in the directory of what runs."""
    return subprocess.run([sys.executable, "-m", "irs", "drill", *arguments], cwd=running.directory,
                          env=children.base_env() | environ, capture_output=True, text=True, timeout=200,
                          check=False)


@LINUX
def test_a_kill_of_the_supervisor_ends_the_rest(up: Callable[..., Up]) -> None:
    running = up()
    running.url()
    processes = running.everyone()
    running.process.kill()
    running.process.wait(20)
    until(lambda: gone(processes))
    assert (running.state / "cloud.env").exists(), "it had no time to remove it"
    # What it left does not make the next one take the dead cloud for somebody else's.
    again = up()
    again.url()
    assert again.end() == 0


def test_a_second_signal_ends_it_at_once(up: Callable[..., Up]) -> None:
    running = up()
    running.url()
    processes = running.everyone()
    instance = next(pid for name, (pid, _) in processes.items() if name.startswith("i-"))
    os.kill(instance, signal.SIGSTOP)  # it would take its whole grace
    running.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in running.text())
    began = time.monotonic()
    assert running.end(signal.SIGINT) == 130
    assert time.monotonic() - began < 20
    assert gone(processes)


@pytest.mark.parametrize("name", ["IRS_PORT", "IRS_CLOUD_PORT"])
def test_a_taken_port_is_said_before_anything_starts(up: Callable[..., Up], name: str) -> None:
    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        refused = up(**{name: str(port)})
        assert refused.process.wait(60) == 2
    assert re.fullmatch(rf"irs: port {port} .*in use.*{name}=\d+\n", refused.text())
    assert not (refused.state / "logs").exists()


def test_no_create_says_what_is_missing(up: Callable[..., Up]) -> None:
    refused = up("--no-create")
    assert refused.process.wait(120) == 2
    assert "✗ queue cc21cprk-input-queue: missing" in refused.text()
    assert not refused.pid_files()


def test_a_model_that_cannot_be_made_ready_stops_the_start(up: Callable[..., Up]) -> None:
    refused = up(IRS_MODEL="no_such_model")
    assert refused.process.wait(120) == 1
    assert "no_such_model" in refused.text().splitlines()[-2]
    assert not refused.pid_files()


def test_another_endpoint_is_used_as_it_is(up: Callable[..., Up], moto_cloud: Any) -> None:
    running = up(IRS_AWS_ENDPOINT_URL=moto_cloud.endpoint, IRS_AWS_ACCESS_KEY_ID="test",
                 IRS_AWS_SECRET_ACCESS_KEY="test", IRS_CLUSTER="elsewhere")
    running.url()
    assert set(running.processes()) == {"web", "scaler"}
    assert not (running.state / "cloud.env").exists()
    assert Fleet(moto_cloud.fresh(cluster="elsewhere")).describe() == []
    assert running.end() == 0
