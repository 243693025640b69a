"""What is different on a laptop, and the file that tells other commands of its cloud."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.local import laptop
from irs.local.emulator import bind
from irs.settings import CLOUD_ENV, build


def test_what_a_laptop_chooses() -> None:
    chosen = laptop.laptop(build({"cloud_port": 4999}))
    assert chosen.aws_endpoint_url == "http://127.0.0.1:4999"
    assert chosen.aws_secret_access_key is not None
    assert (chosen.min_instances, chosen.poll_wait) == (1, 2)
    assert chosen.state_dir.is_absolute()
    assert chosen.model_dir.is_absolute()


@pytest.mark.parametrize(("name", "value"), [
    ("min_instances", 0), ("min_instances", 3), ("poll_wait", 20), ("max_instances", 2),
])
def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    monkeypatch.setenv(f"IRS_{name.upper()}", str(value))
    assert getattr(laptop.laptop(build()), name) == value


@pytest.mark.parametrize(("given", "chosen"), [
    ("weights/w.pth", str(Path("weights/w.pth"))), ("s3://bucket/w.pth", "s3://bucket/w.pth"), (None, None),
])
def test_instances_have_other_directories(given: str | None, chosen: str | None) -> None:
    found = laptop.laptop(build({"model_weights": given})).model_weights
    assert found == (chosen if chosen is None or "://" in chosen else str(Path.cwd() / chosen))


@pytest.mark.parametrize("value", ["plain", "with space", "it's", 'say "hi"', "a\\b", "#no", "=x", "é"])
def test_other_commands_find_the_cloud_while_it_runs(value: str) -> None:
    settings = laptop.laptop(build({"model_weights": f"/w/{value}", "idle_shutdown": 5, "port": 9090}))
    with laptop.announced(settings):
        assert settings_module.build() == settings
        assert CLOUD_ENV.stat().st_mode & 0o077 == 0, "it holds a secret, if not much of one"
    assert not CLOUD_ENV.exists()
    assert settings_module.build().aws_endpoint_url is None


def test_what_a_killed_run_left_is_not_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRS_MODEL", "resnet18")
    CLOUD_ENV.parent.mkdir()
    CLOUD_ENV.write_text("IRS_AWS_ENDPOINT_URL=http://127.0.0.1:1\nIRS_MIN_INSTANCES=7\n")
    left = settings_module.load()
    assert left.aws_endpoint_url == "http://127.0.0.1:1"
    with laptop.alone(left) as own:
        assert own.aws_endpoint_url is None
        assert "min_instances" not in own.model_fields_set
        assert own.model == "resnet18"


def test_one_at_a_time(tmp_path: Path) -> None:
    settings = build({"state_dir": tmp_path / "elsewhere"})
    with laptop.alone(settings):
        with pytest.raises(SettingsError, match="another `irs up` runs"), laptop.alone(settings):
            pass
        os.chdir(tmp_path / "elsewhere")  # another directory, the same state
        with pytest.raises(SettingsError, match="another `irs up` runs"), laptop.alone(settings):
            pass
    with laptop.alone(settings):
        pass


def test_every_taken_port_is_named_at_once() -> None:
    with bind(0) as one, bind(0) as two:
        for taken in (one, two):
            taken.listen()
        ports = one.getsockname()[1], two.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            laptop.with_ports(build({"port": ports[0], "cloud_port": ports[1]}))
    assert f"IRS_PORT={ports[0] + 1}" in str(caught.value)
    assert f"IRS_CLOUD_PORT={ports[1] + 1}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cloud_port_does_not_matter_to_another_endpoint() -> None:
    with bind(0) as taken:
        taken.listen()
        settings = build({"port": 0, "cloud_port": taken.getsockname()[1],
                          "aws_endpoint_url": "http://127.0.0.1:1"})
        found = laptop.with_ports(settings)
    assert found.port > 0
    assert found.cloud_port == settings.cloud_port


@pytest.mark.parametrize(("values", "url"), [
    ({}, "http://127.0.0.1:8080"),
    ({"host": "0.0.0.0", "port": 9}, "http://127.0.0.1:9"),
    ({"host": "::", "port": 9}, "http://[::1]:9"),
    ({"host": "box.example", "port": 9}, "http://box.example:9"),
])
def test_the_url_that_is_printed_can_be_opened(values: dict[str, Any], url: str) -> None:
    assert laptop.reach(build(values)) == url
