"""Building the image for real, on the embedded cloud: the test is the machine, and runs its script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import irs
from irs import cli, errors
from irs import settings as settings_module
from irs.ami import ordering, turn
from irs.ami.building import BuildFailed
from irs.ami.document import PLACE
from irs.ami.ordering import Machine, Wish
from irs.ami.turn import Taken
from irs.aws import clients, presign, provision
from irs.aws.fleet import Fleet
from irs.aws.machine_images import MachineImages
from irs.aws.objects import Objects
from irs.settings import Settings
from irs.testing.proxy import LoseReply, Proxy, Rule
from tests import wheels
from tests.conftest import Cloud
from tests.integration import stackkit
from tests.integration.stackkit import Stack
from tests.processes import ROOT, environment, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

#: One of those that the emulator knows without being told.
BASE = "ami-0c2023a1b2c3d4e5f"


@pytest.fixture
def settings(cloud: Cloud, model_dir: Path) -> Settings:
    settings = cloud.fresh(model_dir=model_dir)
    provision.ensure(settings)
    return settings


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("source"))


class Host:
    """What EC2 is to a builder: each new one is handed to ``act``, with its files and its id."""

    def __init__(self, settings: Settings, act: Callable[[dict[str, str], str], None]) -> None:
        self.ec2, self._fleet, self._act = MachineImages(settings), Fleet(settings), act
        self.error: BaseException | None = None
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                for builder in self.ec2.builders():
                    if builder.id not in self.seen:
                        self.seen.add(builder.id)
                        document = yaml.safe_load(self._fleet.user_data(builder.id))
                        files = {f["path"]: f["content"] for f in document["write_files"]}
                        self._act(files, builder.id)
            except BaseException as exc:
                self.error = exc
                return

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def host(settings: Settings) -> Iterator[Callable[..., Host]]:
    with ExitStack() as stack:
        def host(act: Callable[[dict[str, str], str], None]) -> Host:
            made = Host(settings, act)
            stack.callback(made.close)
            return made

        yield host


def planned(files: dict[str, str]) -> dict[str, str]:
    """The plan, as the machine's shell reads it."""
    done = subprocess.run(["sh", "-c", 'set -a; eval "$1"; env', "sh", files[f"{PLACE}/plan"]], env={},
                          text=True, capture_output=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def telling(**said: str) -> Callable[[dict[str, str], str], None]:
    """A machine that reports so and does nothing."""
    def act(files: dict[str, str], _instance: str) -> None:
        request = urllib.request.Request(planned(files)["report_url"], method="PUT",
                                         data=json.dumps(said).encode())
        urllib.request.urlopen(request, timeout=10).close()

    return act


def silent(_files: dict[str, str], _instance: str) -> None:
    """A machine that never comes up."""


def nothing_left(settings: Settings, images: int = 0) -> None:
    ec2 = MachineImages(settings)
    assert [b for b in ec2.builders() if b.state != "terminated"] == []
    assert len(ec2.images()) == images
    assert ec2.orphans() == []
    assert list(Objects(settings, settings.output_bucket).keys("ami/")) == []


def make(settings: Settings, said: list[str] | None = None, minutes: int = 30) -> Any:
    return ordering.make(settings, Wish(release="0.1.0"), Machine(base=BASE, minutes=minutes),
                         (said if said is not None else []).append, sleep=shortly)


def shortly(_seconds: float) -> None:
    """Between two looks, in place of seconds."""
    threading.Event().wait(0.02)


# -- the real thing ------------------------------------------------------------------------------
def install(root: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What cloud-init does with the document, below ``root`` and without an index."""
    place = root / PLACE.removeprefix("/")
    place.mkdir(parents=True)
    for path, content in files.items():
        (root / path.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.removeprefix("/")).write_text(content)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    return subprocess.run(
        ["sh", str(place / "install.sh")], text=True, capture_output=True, timeout=200, check=False,
        # pip finds each pinned package there, in exactly the version that the wheel asks for.
        env={"PATH": os.environ["PATH"], "root": str(root), "python": sys.executable, "PIP_NO_INDEX": "1",
             "PYTHONPATH": packages, "HOME": str(root)})


def test_an_image_is_built_used_and_pruned(settings: Settings, wheel: Path, host: Callable[..., Host],
                                           tmp_path: Path) -> None:
    root = tmp_path / "machine"

    def act(files: dict[str, str], _instance: str) -> None:
        done = install(root, files)
        log = (root / PLACE.removeprefix("/") / "log").read_text()
        assert done.returncode == 0, f"{done.stderr}\n{log}"

    host(act)
    done = subprocess.run(
        [sys.executable, "-m", "irs", "ami", "build", "--release", str(wheel), "--base", BASE, "--json"],
        env=environment(settings) | {"IRS_ENGINE": "openvino"}, cwd=tmp_path, text=True,
        capture_output=True, timeout=220, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    [image] = MachineImages(settings).images()
    assert told == {"image": image.id, "name": image.name, "version": irs.__version__,
                    "model": image.model, "base": BASE}
    assert image.state == "available"
    # It looks every few seconds, and says what the machine is about then.
    steps = {line.strip() for line in done.stderr.splitlines()}
    assert steps & {"packages", "release", "model", "units", "selftest", "tidy"}
    nothing_left(settings, images=1)

    # What is on the machine works by itself, and from there.
    log = (root / PLACE.removeprefix("/") / "log").read_text()
    assert "== selftest\n" in log
    name = image.model.rpartition("-")[0]
    [classified] = [line for line in log.splitlines() if line.startswith(f"{name} (sha256:")]
    assert " by openvino: " in classified
    assert "Successfully installed irs" in log
    assert (root / "etc/systemd/system/irs-.service.d/all.conf").exists()
    own = root / "etc/systemd/system/irs-worker.service.d/openvino.conf"
    assert own.read_text() == "[Service]\nMemoryDenyWriteExecute=no\n"
    assert (root / "etc/systemd/system/irs-worker.service").read_text() == (
        ROOT / "deploy/systemd/irs-worker.service").read_text()
    where = subprocess.run([root / "opt/irs/bin/python", "-c", "import irs; print(irs.__file__)"],
                           text=True, capture_output=True, check=True, cwd=tmp_path, env={})
    assert where.stdout.startswith(str(root))

    used = {"IRS_AMI": image.id}
    rows = json.loads(run(settings, "ami", "list", "--json", **used))
    assert [(r["image"], r["users"]) for r in rows] == [(image.id, ["IRS_AMI"])]
    assert "nothing to remove" in run(settings, "ami", "prune", "--keep", "0", "--yes", **used)
    ec2 = clients.client(settings, "ec2")
    template = ec2.create_launch_template(
        LaunchTemplateName="stack", LaunchTemplateData={"ImageId": image.id})["LaunchTemplate"]
    assert "nothing to remove" in run(settings, "ami", "prune", "--keep", "0", "--yes")
    assert f"used by {template['LaunchTemplateId']}:1" in run(settings, "ami", "list")
    ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])
    assert f"{image.id}  available  {irs.__version__}" in run(settings, "ami", "list")
    assert "would be removed" in run(settings, "ami", "prune", "--keep", "0")
    nothing_left(settings, images=1)
    assert "removed" in run(settings, "ami", "prune", "--keep", "0", "--yes")
    nothing_left(settings)


def run(settings: Settings, *words: str, **env: str) -> str:
    settings_module.load.cache_clear()
    done = CliRunner(env=environment(settings) | env).invoke(cli.cli, list(words), prog_name="irs")
    assert done.exit_code == 0, done.output
    settings_module.load.cache_clear()
    return done.output


# -- what goes wrong -----------------------------------------------------------------------------
def test_a_wheel_of_another_digest_is_not_installed(settings: Settings, host: Callable[..., Host],
                                                    tmp_path: Path) -> None:
    objects = Objects(settings, settings.output_bucket)
    objects.put("releases/irs-0.1.0-py3-none-any.whl", b"not what was released")
    host(lambda files, _: install(tmp_path / "machine", files) and None)
    with pytest.raises(BuildFailed, match=r"the machine failed at release:\n(?s:.*)FAILED"):
        ordering.make(
            settings, Wish(release=f"s3://{settings.output_bucket}/releases/irs-0.1.0-py3-none-any.whl",
                           sha256="0" * 64), Machine(base=BASE), print, sleep=shortly)
    nothing_left(settings)


def test_a_machine_that_fails_says_why_and_is_ended(settings: Settings, host: Callable[..., Host]) -> None:
    host(telling(state="failed", step="selftest", log="no usable export\n"))
    said: list[str] = []
    with pytest.raises(BuildFailed, match="failed at selftest:\nno usable export"):
        make(settings, said)
    assert "  selftest" in said
    nothing_left(settings)


def test_a_machine_that_ends_by_itself_is_noticed(settings: Settings, host: Callable[..., Host]) -> None:
    port = MachineImages(settings)
    host(lambda _files, instance: port.stop(instance))
    with pytest.raises(BuildFailed, match="ended by itself at its start"):
        make(settings)
    nothing_left(settings)


class Ended(KeyboardInterrupt):
    """Ctrl-C, at a place of the test's choosing."""


class Breaking:
    """A port whose ``at``-th call ends the build, before or after it was made.

    What it launches is done at once: how many calls a build makes is then no matter of time.
    """

    def __init__(self, port: Any, at: int, after: bool) -> None:
        self._port, self._at, self._after = port, at, after
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*given: Any, **named: Any) -> Any:
            self.calls.append(name)
            breaks = len(self.calls) == self._at
            if breaks and not self._after:
                raise Ended
            found = method(*given, **named)
            if name == "launch":
                document = yaml.safe_load(named["user_data"])
                telling(state="done")({f["path"]: f["content"] for f in document["write_files"]}, found)
            if breaks:
                raise Ended
            return found

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whichever_call_a_build_ends_at_nothing_is_left(
        settings: Settings, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    broken: list[str] = []
    whole: list[str] = []
    real = MachineImages
    for at in range(1, 200):
        port = Breaking(real(settings), at, after)
        monkeypatch.setattr(ordering, "MachineImages", lambda _s, port=port: port)
        try:
            made = make(settings)
        except Ended:
            broken.append(port.calls[at - 1])
            for image in real(settings).images():
                whole.append(port.calls[at - 1])
                real(settings).remove(image)
            nothing_left(settings)
        else:
            break
    assert broken == ["architectures", "base", "builders", "launch", "stop", "builders", "create", "images",
                      "builders", "terminate"]
    # Once there was an image, all that was left to do was to end its machine.
    assert whole == ["builders", "terminate"]
    real(settings).remove(made)
    nothing_left(settings)


def test_a_launch_whose_answer_is_lost_makes_one_machine(
        settings: Settings, cloud: Cloud, host: Callable[..., Host]) -> None:
    found = host(telling(state="done", step="selftest"))
    with Proxy(cloud.endpoint, seed=1) as proxy:
        fault = proxy.add(Rule(service="ec2", operations={"RunInstances"}, action=LoseReply(), count=1))
        image = make(settings.model_copy(update={"aws_endpoint_url": proxy.endpoint}))
        assert fault.fired == 1
    assert len(found.seen) == 1
    MachineImages(settings).remove(image)
    nothing_left(settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_machine(settings: Settings, tmp_path: Path, number: signal.Signals) -> None:
    with started(settings, tmp_path) as process:
        until(lambda: MachineImages(settings).builders())
        process.send_signal(number)
        assert process.wait(30) == 130
    nothing_left(settings)


def test_a_build_that_was_killed_is_told_then_cleared_away(
        settings: Settings, tmp_path: Path, host: Callable[..., Host]) -> None:
    with started(settings, tmp_path) as process:
        until(lambda: MachineImages(settings).builders())
        left = until(lambda: MachineImages(settings).builders())[0]
        process.kill()
        process.wait(30)
    with pytest.raises(Taken, match=f"build {left.build} is under way"):
        make(settings)
    told = ordering.clearing(settings, keep=3)
    assert (told.under_way, told.builders) == (left.build, ()), "it may well be alive"

    later(settings)
    assert [b.id for b in ordering.clearing(settings, keep=3).builders] == [left.id]
    assert left.id in run(settings, "ami", "prune")
    said: list[str] = []
    host(lambda files, instance: instance == left.id or telling(state="done", step="x")(files, instance))
    image = make(settings, said)
    assert f"ending {left.id}, which build {left.build} left" in said
    assert MachineImages(settings).builders() == []
    MachineImages(settings).remove(image)


def started(settings: Settings, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "irs", "ami", "build", "--release", "0.1.0", "--base", BASE],
        env=environment(settings), cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def later(settings: Settings) -> None:
    """Long enough after the last sign of a build."""
    objects, key = Objects(settings, settings.output_bucket), turn.key(settings.cluster)
    found = json.loads(objects.get(key))
    objects.put(key, json.dumps({**found, "at": found["at"] - turn.STALE - 1}).encode())


def test_a_machine_that_says_nothing_is_given_up(settings: Settings, host: Callable[..., Host]) -> None:
    from irs.ami.building import Building, Order
    from irs.ami.turn import Turn

    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    port = MachineImages(settings)
    order = Order(build="b-silent", cluster=settings.cluster, base=port.base(BASE), type="c7i.large",
                  subnet=None, groups=(), disk=16, user_data="#cloud-config\n", version="0.1.0",
                  model="m", patience=120)
    objects = Objects(settings, settings.output_bucket)
    with pytest.raises(BuildFailed, match="not within 2 minutes"):
        Building(order, machines=port, images=port, turn=Turn(objects, settings.cluster, "b-silent"),
                 report=lambda: b"{}", say=print, clock=lambda: now[0], sleep=sleep).run()
    nothing_left(settings)


@pytest.mark.parametrize(("words", "why"), [
    (["--release", "latest"], "neither irs-VERSION-py3-none-any.whl, here or in S3, nor a version"),
    (["--release", "s3://b/irs-0.1.0-py3-none-any.whl"], "--sha256 is missing"),
    (["--release", "irs-0.1.0-py3-none-any.whl"], "No such file"),
    (["--release", "0.1.0", "--model", "resnet18"], "name an export's .sha256 file in S3"),
    (["--release", "0.1.0", "--model", "s3://nowhere/m-0123456789ab.sha256"], "the bucket does not exist"),
    (["--release", "0.1.0", "--base", "ami-00000000000000000"], "no image ami-00000000000000000"),
    (["--release", "0.1.0", "--base", "ARM"], "is for arm64, c7i.large is x86_64: name another --base or"),
])
def test_a_wish_that_cannot_be_met_is_one_line_and_no_machine(
        settings: Settings, words: list[str], why: str) -> None:
    base = [] if "--base" in words else ["--base", BASE]
    if "ARM" in words:
        arm = clients.client(settings, "ec2").register_image(
            Name=f"arm-{settings.cluster}", Architecture="arm64", RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}])["ImageId"]
        words = [arm if word == "ARM" else word for word in words]
    done = CliRunner(env=environment(settings)).invoke(
        cli.cli, ["ami", "build", *base, *words], prog_name="irs")
    assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1), done.output
    assert why in done.output
    nothing_left(settings)


def test_the_builder_s_policy_is_enough_and_allows_nothing_that_is_not_called(
        strict: str, model_dir: Path) -> None:
    """deploy/ami-build.yaml, on an emulator that enforces it."""
    owner = stackkit.root(strict, cluster="ami", output_bucket="ami-out", input_bucket="ami-in")
    provision.ensure(owner)
    stack = Stack(strict, "ami-policy", path=ROOT / "deploy" / "ami-build.yaml", Bucket="ami-out")
    called: set[str] = set()
    found = Host(owner, telling(state="done", step="selftest"))
    try:
        with stack.person("AmiBuild", endpoint=strict) as who:
            person = who.model_copy(update={
                "cluster": "ami", "output_bucket": "ami-out", "input_bucket": "ami-in",
                "model_dir": model_dir})
            for service in ("autoscaling", "ec2", "ssm"):
                clients.client(person, service).meta.events.register(
                    "before-call", lambda model, **_: called.add(
                        f"{model.service_model.service_name}:{model.name}"))
            image = make(person)
            with pytest.raises(errors.NotFound):
                MachineImages(person).base("/aws/service/none")
            with pytest.raises(errors.CloudError):
                MachineImages(person).console("i-00000000000000000")
            with pytest.raises(errors.AccessDenied):
                Objects(person, "ami-out").put("fleet/x", b"")
            theirs = clients.client(owner, "ec2").register_image(Name="somebody's")["ImageId"]
            with pytest.raises(errors.AccessDenied):
                MachineImages(person).remove(replace(image, id=theirs))
            template = clients.client(owner, "ec2").create_launch_template(
                LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": image.id})["LaunchTemplate"]
            assert ordering.clearing(person, keep=0).images == (), "it is used"
            clients.client(owner, "ec2").delete_launch_template(
                LaunchTemplateId=template["LaunchTemplateId"])
            assert ordering.clearing(person, keep=0).images == (image,)
            ordering.clear(person, ordering.clearing(person, keep=0))
            nothing_left(person)
    finally:
        found.close()
    # RunInstances and CreateImage tag what they make; S3's calls go by another client.
    told = stackkit.actions(stack.policy("AmiBuild"))
    assert {a for a in told if not a.startswith("s3:")} - {"ec2:CreateTags"} == called
    stack.delete()


@pytest.mark.parametrize("model_in_s3", [False, True])
def test_a_stock_image_is_told_all_that_it_needs(
        settings: Settings, tmp_path: Path, model_dir: Path, model_in_s3: bool) -> None:
    engine = "IRS_ENGINE=openvino\n" if model_in_s3 else ""
    (tmp_path / ".env").write_text(f"# mine\nIRS_CLUSTER=blue\n{engine}")
    [sums] = model_dir.glob("*.sha256")
    words = ["ami", "cloud-init", "--role", "web", "--settings", str(tmp_path / ".env"),
             "--release", "0.1.0"]
    if model_in_s3:
        for suffix in (".onnx", ".json", ".sha256"):
            Objects(settings, settings.output_bucket).put(
                f"models/{sums.stem}{suffix}", sums.with_suffix(suffix).read_bytes())
        words += ["--model", f"s3://{settings.output_bucket}/models/{sums.name}"]
    document = yaml.safe_load(run(settings, *words))
    files = {f["path"]: f["content"] for f in document["write_files"]}
    assert (files["/etc/irs/role"], files["/etc/irs/settings"]) == ("web\n", f"IRS_CLUSTER=blue\n{engine}")
    told = planned(files)
    assert told["engine"] == ("openvino" if engine else "onnxruntime")
    assert (told["release"], told["for_image"]) == ("0.1.0", "no")
    assert (told["minutes"], told["report_url"]) == ("", "")
    assert (told["model"], told["model_name"]) == ("efficientnet_lite0", sums.stem)
    for suffix in ("onnx", "json"):
        with urllib.request.urlopen(told[f"model_{suffix}"], timeout=10) as answer:
            assert answer.read() == sums.with_suffix(f".{suffix}").read_bytes()


def test_a_model_that_is_not_exported_is_one_line_and_no_machine(settings: Settings) -> None:
    done = CliRunner(env=environment(settings, IRS_MODEL="resnet18")).invoke(
        cli.cli, ["ami", "build", "--base", BASE, "--release", "0.1.0"], prog_name="irs")
    assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1), done.output
    assert "no usable export of resnet18" in done.output
    assert "`irs model export` makes it" in done.output
    nothing_left(settings)


def test_addresses_are_for_one_object_and_end(settings: Settings) -> None:
    url = presign.write_url(settings, settings.output_bucket, "ami/x", seconds=60)
    urllib.request.urlopen(urllib.request.Request(url, data=b"1", method="PUT"), timeout=10).close()
    assert Objects(settings, settings.output_bucket).get("ami/x") == b"1"
    with urllib.request.urlopen(presign.get_url(settings, settings.output_bucket, "ami/x", seconds=60),
                                timeout=10) as answer:
        assert answer.read() == b"1"
