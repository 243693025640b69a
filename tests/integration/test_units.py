"""The very commands of the image's units, without systemd: what it would be told, and when."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from irs import settings as settings_module
from irs.aws import provision
from irs.local import role as role_module
from irs.local.metadata import Facts, MetadataServer
from irs.scaler import userdata
from irs.settings import Settings
from irs.testing.proxy import Answer, Proxy, Rule
from tests import unitfiles
from tests.conftest import Cloud
from tests.processes import Process, until
from tests.processes import environment as surroundings

pytestmark = pytest.mark.integration


class Started(Process):
    """A unit's process, and what it says to systemd."""

    def __init__(self, command: list[str], env: dict[str, str], directory: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = directory / "notify"
        address.unlink(missing_ok=True)
        self.sock.bind(str(address))
        self.sock.setblocking(False)
        self.told: list[str] = []
        super().__init__(command, {**env, "NOTIFY_SOCKET": str(address)}, directory)

    def listen(self) -> list[str]:
        """All that was said so far."""
        try:
            while True:
                self.told.append(self.sock.recv(100).decode())
        except BlockingIOError:
            return self.told

    def hears(self, what: str) -> bool:
        if self.popen.poll() is not None and what not in self.listen():
            pytest.fail(f"ended with {self.popen.returncode}:\n{self.output[-4000:]}")
        return what in self.listen()

    def end(self) -> None:
        self.stop()
        self.sock.close()


@pytest.fixture
def settings(cloud: Cloud, model_dir: Path) -> Settings:
    settings = cloud.fresh(model_dir=model_dir, engine_threads=1)
    provision.ensure(settings)
    return settings


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    with Proxy(cloud.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def start(tmp_path: Path, model_dir: Path) -> Iterator[Callable[..., Started]]:
    """``start(unit, role, settings)``: irs-boot's command first, then the unit's own."""
    with ExitStack() as stack:
        def start(unit: str, role: str, settings: Settings, *data: str) -> Started:
            run = tmp_path / "run"
            for directory in ("irs", "irs-worker", "irs-scaler"):
                (run / directory).mkdir(parents=True, exist_ok=True)
            metadata = MetadataServer(Facts(
                instance_id="i-0123456789abcdef0", instance_type="c7i.large", ami="ami-00000000",
                region="us-east-1", tags={"irs:role": role},
                user_data=userdata.build(settings) + "".join(f"{line}\n" for line in data),
                credentials=role_module.credentials(settings, "i-0123456789abcdef0")))
            stack.callback(metadata.close)
            # What an image's machine has besides: keys are the role's there, and here the emulator's.
            env = surroundings(settings_module.build({
                "metadata_endpoint": metadata.endpoint, "aws_access_key_id": "test",
                "aws_secret_access_key": "test", "engine_threads": 1,
                "aws_endpoint_url": settings.aws_endpoint_url}))
            env |= {"IRS_METADATA_ENDPOINT": metadata.endpoint}
            subprocess.run(unitfiles.command("irs-boot", run), env=env, cwd=tmp_path, check=True,
                           timeout=60)
            env |= unitfiles.environment(unit, run) | {"IRS_MODEL_DIR": str(model_dir)}
            started = Started(unitfiles.command(unit, run), env, tmp_path)
            stack.callback(started.end)
            return started

        yield start


def test_a_worker_is_ready_is_fed_by_answers_and_stops(
        start: Callable[..., Started], settings: Settings, proxy: Proxy, tmp_path: Path) -> None:
    worker = start("irs-worker", "app", settings.model_copy(update={"aws_endpoint_url": proxy.endpoint}))
    until(lambda: worker.hears("READY=1"))
    assert worker.said("worker.ready")
    until(lambda: worker.hears("WATCHDOG=1"))

    fault = proxy.add(Rule(service="sqs", operations={"ReceiveMessage"}, action=Answer(503)))
    until(lambda: fault.fired)
    beat = tmp_path / "run" / "irs-worker" / "heartbeat"
    before = beat.stat().st_mtime_ns
    # One look may still have seen an answer from before the fault.
    until(lambda: beat.stat().st_mtime_ns > before)
    before, told = beat.stat().st_mtime_ns, len(worker.listen())
    until(lambda: beat.stat().st_mtime_ns > before)
    assert len(worker.listen()) == told, "it lives, its queue does not answer: the watchdog hungers"
    fault.clear()
    until(lambda: worker.listen()[told:] == ["WATCHDOG=1"])

    assert worker.stop() == 0
    assert worker.listen()[-1] == "STOPPING=1"
    assert worker.listen().count("READY=1") == 1


@pytest.mark.parametrize(("unit", "role", "event"), [
    ("irs-web", "web", "web.listening"), ("irs-scaler", "scaler", "scaler.started")])
def test_web_tier_and_scaler_are_ready_go_on_and_stop(
        start: Callable[..., Started], settings: Settings, unit: str, role: str, event: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    part = start(unit, role, settings, f"IRS_PORT={port}", "IRS_HOST=127.0.0.1")
    until(lambda: part.hears("WATCHDOG=1"))
    assert part.said(event)
    assert part.listen()[0] == "READY=1"
    assert part.stop() == 0
    assert part.listen()[-1] == "STOPPING=1"


def test_the_fence_lets_the_engine_work(model_dir: Path, tmp_path: Path) -> None:
    """MemoryDenyWriteExecute is kept by the kernel here, and NoNewPrivileges."""
    code = ("import ctypes, runpy, sys\n"
            "prctl = ctypes.CDLL(None, use_errno=True).prctl\n"
            "assert prctl(38, 1, 0, 0, 0) == 0\n"  # PR_SET_NO_NEW_PRIVS
            "assert prctl(65, 1, 0, 0, 0) == 0, 'PR_SET_MDWE'\n"
            "import mmap\n"
            "try:\n"
            "    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
            "    sys.exit('the kernel lets code be written')\n"
            "except PermissionError: pass\n"
            "sys.argv = ['irs', 'model', 'check']\n"
            "runpy.run_module('irs', run_name='__main__')\n")
    env = surroundings(settings_module.build({"model_dir": model_dir}))
    done = subprocess.run([unitfiles.command("irs-worker", tmp_path)[0], "-c", code], env=env, text=True,
                          cwd=tmp_path, capture_output=True, timeout=60, check=False)
    if "PR_SET_MDWE" in done.stderr:
        pytest.skip("this kernel cannot refuse memory that is written and executed")
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["efficientnet_lite0"]), done.stderr


