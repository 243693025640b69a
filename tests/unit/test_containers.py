"""docker/: what the files say holds, without an engine to try it. `make images` tries it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from irs import settings
from irs.cli import cli
from irs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
#: Parts of the service that are images; the rest of the stages only lead to them.
IMAGES = ("web", "scaler", "worker-cpu", "worker-gpu", "emulator")


def stages() -> dict[str, list[tuple[str, str]]]:
    """By name: the instructions of a stage, after those of the stage that it is made from."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Containerfile").read_text("utf-8"))
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found[name.strip()] = [*found.get(base.strip(), [("FROM", base.strip())])]
        elif word and not word.startswith("#"):
            current.append((word, rest.strip()))
    return found


STAGES = stages()


def said(image: str, word: str) -> list[str]:
    return [rest for name, rest in STAGES[image] if name == word]


def environment(image: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in said(image, "ENV") for pair in rest.split())


def health(image: str) -> list[str]:
    return json.loads(said(image, "HEALTHCHECK")[-1].partition(" CMD ")[2])


def runs(command: list[str]) -> bool:
    """Whether the command of an image is there: one of Python's modules, or a verb of ours."""
    if command[0] == "irs":
        verb = cli.commands[command[1]]
        return all(argument in verb.params[0].type.choices for argument in command[2:])
    assert command[0] == "python"
    return command[1] == "-c" or (command[1] == "-m" and importlib.util.find_spec(command[2]) is not None)


# -- Containerfile ----------------------------------------------------------------------------
@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_nobody_special_and_takes_signals_itself(image: str) -> None:
    assert STAGES[image][0] == ("FROM", "${BASE}")
    uid, gid = said(image, "USER")[-1].split(":")
    assert min(int(uid), int(gid)) > 999
    assert said(image, "STOPSIGNAL") == ["SIGTERM"]
    # As a list: a shell in between would keep the signal to itself.
    assert runs(json.loads(said(image, "ENTRYPOINT")[-1]))
    assert runs(health(image))
    assert not said(image, "CMD")
    assert not said(image, "RUN"), "what is installed comes from a stage that is left behind"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    labels = " ".join(said(image, "LABEL"))
    assert f'org.opencontainers.image.title="irs-{image}"' in labels
    for name in ("version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert ("irs.model.sha256=" in labels) is (image == "worker-cpu")


@pytest.mark.parametrize("image", IMAGES)
def test_its_settings_are_settings(image: str) -> None:
    ours = {name: value for name, value in environment(image).items() if name.startswith("IRS_")}
    assert ours
    parsed(ours)


def parsed(ours: dict[str, str]) -> Settings:
    """Raises `SettingsError` for what no process would start with."""
    assert not settings.unknown(ours)
    return settings.build({name.removeprefix("IRS_").lower(): value for name, value in ours.items()})


def test_everything_is_from_the_base_that_is_named_and_nothing_is_fetched_unchecked() -> None:
    text = (DOCKER / "Containerfile").read_text("utf-8")
    assert "ARG BASE\n" in text, "without a default: a base is named by its digest"
    for name, rest in (pair for stage in STAGES.values() for pair in stage if pair[0] == "RUN"):
        assert name == "RUN"
        if " install " in rest and "irs[gpu]" not in rest:
            assert "--require-hashes" in rest
            assert "--only-binary :all:" in rest
    for path in DOCKER.rglob("*"):
        if path.is_file():
            hosts = set(re.findall(r"https?://([^\s/\"':]+)", path.read_text("utf-8")))
            assert hosts <= {"127.0.0.1", "emulator"}, path.name


def test_boto_keeps_the_services_that_are_called() -> None:
    [find] = [rest for rest in said("service-packages", "RUN") if "botocore" in rest]
    kept = set(re.findall(r"! -name (\S+)", find))
    called = {name for path in (ROOT / "irs").rglob("*.py")
              for name in re.findall(r'\bclients\.client\(\s*[\w.]+,\s*"(\w+)"', path.read_text("utf-8"))}
    assert {"s3", "sqs", "sns", "ec2", "sts"} <= called
    assert called <= kept


def test_the_context_is_no_more_than_what_is_copied() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
             if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = {rest.split()[0] for stage in STAGES.values() for name, rest in stage
              if name == "COPY" and not rest.startswith("--from")}
    for source in copied:
        assert any(source.startswith(line.removeprefix("!")) for line in lines[1:]), source


# -- compose ----------------------------------------------------------------------------------
SERVICES = COMPOSE["services"]


def image_of(service: dict[str, Any]) -> str:
    found = re.fullmatch(r"\$\{REGISTRY:-localhost\}/irs-([a-z-]+):\$\{TAG:-latest\}", service["image"])
    assert found, service["image"]
    return found[1]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_write_and_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert image_of(service) in IMAGES
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert not service.get("privileged")
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings.model_fields["drain_grace"].default
    for address in service.get("ports", ()):
        assert address.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_a_services_settings_parse_and_its_commands_are_there(name: str) -> None:
    service = SERVICES[name]
    image = image_of(service)
    ours = {key: value for key, value in environment(image).items() if key.startswith("IRS_")}
    known = parsed(ours | service["environment"])
    assert name == "emulator" or known.aws_endpoint_url == "http://emulator:4566"
    if "entrypoint" in service:
        assert runs(service["entrypoint"])
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["healthcheck"]["test"] == ["CMD", *health(image)]
    for other in service.get("depends_on", {}):
        assert other in SERVICES


def test_the_web_tier_has_room_for_two_batches() -> None:
    size = re.search(r"size=(\d+)m", SERVICES["web"]["tmpfs"][0])
    assert size
    assert int(size[1]) * 2**20 >= 2 * int(SERVICES["web"]["environment"]["IRS_MAX_BATCH_BYTES"])
