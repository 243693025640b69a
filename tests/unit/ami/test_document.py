"""The document for cloud-init: sound to its own schema, and small enough for EC2."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from irs import settings
from irs.ami.document import MOST, PLACE, Graph, Plan, Wheel, build, plan, script
from irs.errors import IRSError, SettingsError
from tests.services import program

#: As long as an address gets that is signed with a role's credentials.
URL = "https://bucket.s3.amazonaws.com/ami/irs/0/x?X-Amz-Signature=0&X-Amz-Security-Token=" + "T" * 1600
PLAN = Plan(
    release=Wheel(name="irs-0.1.0-py3-none-any.whl", url=URL, sha256="0" * 64),
    model=Graph(name="m-0123456789ab", model="m", onnx=URL, json=URL,
                sums="a  m-0123456789ab.onnx\nb  m-0123456789ab.json\n"),
    report=URL, minutes=60)
STAYS = replace(PLAN, release="0.1.0", report="", minutes=None, role="web",
                settings="IRS_CLUSTER=blue\nIRS_INPUT_QUEUE=q: 'a' #b\n")


def files(told: Plan) -> dict[str, dict[str, str]]:
    return {file["path"]: file for file in yaml.safe_load(build(told))["write_files"]}


def test_the_script_is_sound_and_uses_what_the_plan_assigns(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(plan(PLAN), "utf-8")
    (tmp_path / "install.sh").write_text(script(), "utf-8")
    done = subprocess.run([str(program("shellcheck", package="shellcheck")), "--external-sources",
                           f"--source-path={tmp_path}", str(tmp_path / "install.sh")], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("told", [PLAN, STAYS], ids=["builder", "stays"])
def test_cloud_init_takes_it(told: Plan, tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text(build(told), "utf-8")
    done = subprocess.run([str(program("cloud-init", package="cloud-init")), "schema", "--config-file",
                           str(path)], text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid cloud-config" in done.stdout


def test_cloud_init_would_refuse_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text(build(PLAN).replace("permissions:", "permission:"), "utf-8")
    done = subprocess.run([str(program("cloud-init", package="cloud-init")), "schema", "--config-file",
                           str(path)], text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


def test_it_carries_the_script_and_the_plan_whole() -> None:
    found = files(PLAN)
    assert found[f"{PLACE}/install.sh"]["content"] == script()
    assert found[f"{PLACE}/plan"] == {"path": f"{PLACE}/plan", "permissions": "0600", "content": plan(PLAN)}
    assert yaml.safe_load(build(PLAN))["runcmd"] == [["sh", f"{PLACE}/install.sh"]]


def test_it_fits_with_the_longest_addresses_and_says_where_not() -> None:
    assert len(build(PLAN).encode()) < MOST
    with pytest.raises(IRSError, match="EC2 takes 16384"):
        build(replace(PLAN, report=URL * 4))


def test_a_machine_that_stays_has_its_role_and_settings_and_is_no_user_data_of_ours(
        monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(STAYS)
    assert found["/etc/irs/role"]["content"] == "web\n"
    assert found["/etc/irs/settings"]["content"] == STAYS.settings
    # Read by a unit whose user is nobody's account: DynamicUser=yes.
    assert {found[f"/etc/irs/{name}"]["permissions"] for name in ("role", "settings")} == {"0644"}
    assert "/etc/irs/role" not in files(PLAN)
    settings.apply_user_data(build(STAYS))  # what worker_entry.py reads there as well
    with pytest.raises(SettingsError):
        settings.apply_user_data("#!/bin/sh\nreboot\n")


def test_a_shell_reads_the_plan_as_it_is_meant() -> None:
    odd = replace(STAYS, model=replace(STAYS.model, name="$(touch x) 'q' \"r\" `s`"))
    done = subprocess.run(["sh", "-c", 'eval "$1"; printf "%s|%s|%s" "$model_name" "$for_image" "$minutes"',
                           "sh", plan(odd)], text=True, capture_output=True, check=True)
    assert done.stdout == "$(touch x) 'q' \"r\" `s`|no|"


def test_the_script_is_a_shell_s(tmp_path: Path) -> None:
    (tmp_path / "install.sh").write_text(script())
    subprocess.run(["sh", "-n", str(tmp_path / "install.sh")], check=True)
