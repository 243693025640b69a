"""Instances of the embedded cloud are real processes, through the public API alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from irs.aws.fleet import Fleet, Instance
from irs.local import children
from irs.local.instances import INTERRUPTION_FILE, KEPT, InstanceRunner
from irs.settings import Settings
from tests.processes import until

pytestmark = pytest.mark.integration

#: Stands in for worker_entry.py: learns who it is as a worker does, notes it, and works
#: until SIGTERM; a file named `exit` is its shutdown button.
ENTRY = """
import json, os, signal, sys, threading
from pathlib import Path
from irs import settings
from irs.aws.metadata import Metadata
from irs.aws.queues import Queue

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
metadata = Metadata(settings.load().metadata_endpoint)
settings.apply_user_data(metadata.user_data())
loaded = settings.load()
seen = {
    "id": metadata.instance_id(), "name": metadata.get("meta-data/tags/instance/Name"),
    "type": metadata.get("meta-data/instance-type"), "cluster": loaded.cluster,
    "endpoint": loaded.aws_endpoint_url, "environment": sorted(os.environ),
    "model_dir": str(loaded.model_dir), "pid": os.getpid(),
    "queue": Queue(loaded, loaded.input_queue).url if loaded.cluster.startswith("c-") else None,
}
Path("seen.part").write_text(json.dumps(seen))
Path("seen.part").rename("seen.json")
while not stop.wait(0.02):
    if Path("exit").exists():
        print("shutting down now", flush=True)
        sys.exit(int(Path("exit").read_text() or 0))
Path("drained").touch()
"""
#: Learns nothing and listens to nobody.
STUBBORN = """
import signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path("seen.json").touch()
time.sleep(300)
"""
FAILS = "import sys; sys.exit('no such model')\n"


class Host:
    """A runner in a thread, with the fleet it looks after."""

    def __init__(self, settings: Settings, directory: Path, entry: str) -> None:
        self.settings = settings
        self.fleet = Fleet(settings)
        self.entry = directory / "entry.py"
        self.entry.write_text(entry)
        self._stop = threading.Event()
        self.start()

    def start(self) -> None:
        self._stop.clear()
        self.runner = InstanceRunner(self.settings, entry=self.entry)
        self._thread = threading.Thread(target=self.runner.run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def launch(self, number: int = 1) -> Instance:
        s = self.settings
        lines = {"IRS_AWS_ENDPOINT_URL": s.aws_endpoint_url, "IRS_CLUSTER": s.cluster,
                 "IRS_INPUT_QUEUE": s.input_queue}
        return self.fleet.launch(f"AppTier-Instance-{number}", token=f"{s.cluster}-{number}",
                                 user_data="".join(f"{k}={v}\n" for k, v in lines.items()))

    def directory(self, instance: Instance) -> Path:
        return self.settings.state_dir / "instances" / instance.id

    def seen(self, instance: Instance) -> dict[str, Any]:
        """What the process noted, once it has."""
        path = self.directory(instance) / "seen.json"
        until(path.exists)
        text = path.read_text()
        return json.loads(text) if text else {}

    def gone(self, instance: Instance) -> None:
        """Wait until nothing runs for it."""
        until(lambda: instance.id not in self.runner.machines)
        assert not (self.directory(instance) / "pid").exists()

    def states(self) -> dict[str, str]:
        return {i.id: i.state for i in self.fleet.describe()}


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def make(kind: str = "cloud", entry: str = ENTRY, **overrides: Any) -> Host:
        from irs.aws.queues import Queue
        settings = request.getfixturevalue(kind).fresh(
            state_dir=tmp_path / ".irs", **{"stop_grace": 20} | overrides)
        Queue(settings, settings.input_queue).create()
        hosts.append(Host(settings, tmp_path, entry))
        return hosts[-1]

    yield make
    for made in hosts:
        made.stop()
        made.fleet.terminate(list(made.states()))


@pytest.mark.parametrize("kind", ["cloud", "moto_cloud"])
def test_from_launch_to_termination(host: Callable[..., Host], kind: str) -> None:
    made = host(kind)
    one, two = made.launch(1), made.launch(2)
    seen = made.seen(one)
    assert seen["id"] == one.id
    assert made.seen(two)["id"] == two.id
    assert (seen["name"], seen["type"]) == ("AppTier-Instance-1", made.settings.instance_type)
    assert (seen["cluster"], seen["endpoint"]) == (made.settings.cluster, made.settings.aws_endpoint_url)
    assert made.settings.input_queue in seen["queue"], "credentials come from the metadata endpoint"
    assert seen["model_dir"] == str(made.settings.model_dir.resolve())
    assert [n for n in seen["environment"] if n.startswith(("IRS_", "AWS_"))] == [
        "AWS_CONFIG_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_SHARED_CREDENTIALS_FILE",
        "IRS_AWS_ENDPOINT_URL", "IRS_CLUSTER", "IRS_INPUT_QUEUE", "IRS_MODEL_DIR"]

    made.fleet.terminate([one.id])
    made.gone(one)
    assert (made.directory(one) / "drained").exists(), "SIGTERM came first, and was enough"
    assert children.identity(seen["pid"]) is None
    assert two.id in made.runner.machines


def test_a_process_that_ends_terminates_its_instance(host: Callable[..., Host]) -> None:
    made = host()
    instance = made.launch()
    made.seen(instance)
    (made.directory(instance) / "exit").write_text("0")
    made.gone(instance)
    assert made.states() == {}


def test_a_process_that_cannot_start_terminates_its_instance(host: Callable[..., Host]) -> None:
    made = host(entry=FAILS)
    instance = made.launch()
    until(lambda: made.states() == {})
    made.gone(instance)
    assert "no such model" in (made.directory(instance) / "console.log").read_text()


def test_stop_and_start(host: Callable[..., Host]) -> None:
    made = host()
    instance = made.launch()
    first = made.seen(instance)["pid"]
    made.fleet.stop([instance.id])
    made.gone(instance)
    assert (made.directory(instance) / "drained").exists()
    assert made.states() == {instance.id: "stopped"}
    (made.directory(instance) / "seen.json").unlink()
    made.fleet.start([instance.id])
    assert made.seen(instance)["pid"] != first, "the same disk, a new boot"


def test_a_process_that_ignores_sigterm_is_killed(host: Callable[..., Host]) -> None:
    made = host(entry=STUBBORN, stop_grace=0.2)
    instance = made.launch()
    made.seen(instance)
    made.fleet.terminate([instance.id])
    made.gone(instance)


def test_boot_delay(host: Callable[..., Host]) -> None:
    made = host(boot_delay=600)
    instance = made.launch()
    until(lambda: instance.id in made.runner.machines)
    assert not made.directory(instance).exists(), "it boots, and has no process yet"
    made.fleet.terminate([instance.id])
    made.gone(instance)


def test_a_runner_that_starts_again_boots_what_is_running(host: Callable[..., Host]) -> None:
    made = host()
    instance = made.launch()
    first = made.seen(instance)["pid"]
    made.stop()
    assert (made.directory(instance) / "drained").exists()
    assert made.states() == {instance.id: "running"}, "a host's stop is not its instances' end"
    (made.directory(instance) / "seen.json").unlink()
    made.start()
    assert made.seen(instance)["pid"] != first


def test_a_spot_interruption_reaches_the_instance(host: Callable[..., Host]) -> None:
    made = host(entry=ENTRY.replace(
        'Path("exit").exists()', "metadata.spot_action()").replace(
        'int(Path("exit").read_text() or 0)', "0"))
    instance = made.launch()
    made.seen(instance)
    made.runner.interrupt(instance.id)
    made.gone(instance)
    with pytest.raises(LookupError):
        made.runner.interrupt(instance.id)


def test_a_file_in_its_directory_announces_a_spot_interruption(host: Callable[..., Host]) -> None:
    made = host(entry=ENTRY.replace(
        'Path("exit").exists()', "metadata.spot_action()").replace(
        'int(Path("exit").read_text() or 0)', "0"))
    instance = made.launch()
    made.seen(instance)
    notice = made.directory(instance) / INTERRUPTION_FILE
    notice.write_text("soon, perhaps")
    until(lambda: not notice.exists())
    assert made.states() == {instance.id: "running"}, "not understood, not done"
    notice.write_text("terminate 120\n")
    made.gone(instance)


def test_a_runner_that_was_killed_leaves_no_second_process(
        host: Callable[..., Host], cloud: Any, tmp_path: Path) -> None:
    """kill -9 of the runner's process; the next one ends what may be left and boots anew."""
    made = host()
    made.stop()
    instance = made.launch()
    code = ("import sys, threading; from pathlib import Path; from irs import settings;"
            "from irs.local.instances import InstanceRunner;"
            f"InstanceRunner(settings.load(), entry=Path({str(made.entry)!r})).run(threading.Event())")
    s = made.settings
    env = children.base_env() | {
        "IRS_AWS_ENDPOINT_URL": cloud.endpoint, "IRS_AWS_ACCESS_KEY_ID": "test",
        "IRS_AWS_SECRET_ACCESS_KEY": "test", "IRS_CLUSTER": s.cluster,
        "IRS_STATE_DIR": str(s.state_dir)}
    with subprocess.Popen([sys.executable, "-c", code], env=env) as runner:
        first = made.seen(instance)["pid"]
        os.kill(first, signal.SIGSTOP)  # as deaf to its parent's death as a busy one
        runner.kill()
    (made.directory(instance) / "seen.json").unlink()
    made.settings = s.model_copy(update={"stop_grace": 0.1})
    made.start()
    assert children.identity(first) is None
    assert made.seen(instance)["pid"] != first


def test_consoles_of_ended_instances_are_kept_but_not_all(
        tmp_path: Path, cloud: Any) -> None:
    settings = cloud.fresh(state_dir=tmp_path)
    for number in range(KEPT + 5):
        directory = tmp_path / "instances" / f"i-{number:02}"
        directory.mkdir(parents=True)
        os.utime(directory, (number, number))
    InstanceRunner(settings).close()
    kept = sorted(d.name for d in (tmp_path / "instances").iterdir())
    assert kept == [f"i-{number:02}" for number in range(5, KEPT + 5)]
