"""`irs doctor` against the embedded cloud: healthy, and with each thing broken in turn."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from irs import cli, doctor, settings
from irs.aws import clients, probe, provision
from irs.aws.queues import Queue
from irs.doctor import Check
from irs.model import exported, installed
from irs.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def complete(cloud: Any) -> Settings:
    """Settings whose buckets and queues are there."""
    fresh = cloud.fresh()
    assert all(finding.ok for finding in provision.ensure(fresh))
    return fresh


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def adopt(monkeypatch: pytest.MonkeyPatch, chosen: Settings) -> None:
    """Put ``chosen`` into the environment, as a person would."""
    fields = [name for name in chosen.model_fields_set if getattr(chosen, name) is not None]
    for name, value in settings.as_env(chosen, *fields).items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()


# -- the cloud -------------------------------------------------------------------------------
def test_all_is_well(complete: Settings) -> None:
    found = by_name(doctor.check_cloud(complete))
    assert {check.level for check in found.values()} == {"ok"}, found
    assert {"endpoint", "clock", "credentials", f"bucket {complete.input_bucket}",
            f"queue {complete.output_queue}", "redrive policy", "visibility timeout", "dead letters",
            "remote control", "instances"} <= found.keys()


def test_nothing_is_made(cloud: Any) -> None:
    fresh = cloud.fresh()
    for _ in range(2):  # a doctor that creates would be content the second time
        found = by_name(doctor.check_cloud(fresh))
        missing = {name for name, check in found.items() if check.level == "fail"}
        assert missing == {f"bucket {fresh.input_bucket}", f"bucket {fresh.output_bucket}",
                           f"queue {fresh.input_queue}", f"queue {fresh.output_queue}",
                           f"queue {fresh.dead_letter_queue}", "redrive policy"}
        assert "`irs up` creates it" in found[f"queue {fresh.input_queue}"].mend


def test_a_source_bucket_that_is_not_there(complete: Settings) -> None:
    there = f"{complete.input_bucket}-photos"
    clients.client(complete, "s3").create_bucket(Bucket=there)
    asked = complete.model_copy(update={"source_buckets": (there, "no-such-bucket")})
    found = by_name(doctor.check_cloud(asked))
    assert found[f"source bucket {there}"].level == "ok"
    missing = found["source bucket no-such-bucket"]
    assert (missing.level, "IRS_SOURCE_BUCKETS" in missing.mend) == ("fail", True)


@pytest.mark.parametrize("change", [{"max_receive_count": 7}, {"dead_letter_queue": "other-dead"}])
def test_a_redrive_policy_that_is_another(complete: Settings, change: dict[str, Any]) -> None:
    other = complete.model_copy(update=change)
    Queue(other, other.dead_letter_queue).create()
    check = by_name(doctor.check_cloud(other))["redrive policy"]
    assert check.level == "fail"
    assert "`irs up` sets it" in check.mend


def test_a_visibility_timeout_that_is_another(complete: Settings) -> None:
    other = complete.model_copy(update={"visibility_timeout": 90})
    check = by_name(doctor.check_cloud(other))["visibility timeout"]
    assert check.level == "warn"
    assert f"IRS_VISIBILITY_TIMEOUT={complete.visibility_timeout}" in check.mend


def test_dead_letters_are_told(complete: Settings) -> None:
    Queue(complete, complete.dead_letter_queue).send("{}")
    check = by_name(doctor.check_cloud(complete))["dead letters"]
    assert (check.level, check.found) == ("warn", f"1 in {complete.dead_letter_queue}")


def test_remote_control_is_not_asked_where_it_is_off(complete: Settings) -> None:
    assert "remote control" not in by_name(doctor.check_cloud(
        complete.model_copy(update={"remote_control": False})))


def test_the_log_group_where_logs_are_shipped(moto_cloud: Any) -> None:
    complete = moto_cloud.fresh()
    group = f"/irs/{complete.input_bucket}"
    asked = complete.model_copy(update={"log_group": group})
    found = by_name(doctor.check_cloud(asked))
    assert (found[f"log group {group}"].level, "shipping of logs" in found) == ("fail", False)
    assert "correct IRS_LOG_GROUP" in found[f"log group {group}"].mend
    logs = clients.client(complete, "logs")
    logs.create_log_group(logGroupName=group)
    found = by_name(doctor.check_cloud(asked))
    assert (found[f"log group {group}"].found, found["shipping of logs"].level) == ("there", "ok")
    assert "web/…, scaler/…, workers/…" in found["shipping of logs"].found
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == [], "nothing was made"


def test_a_log_group_where_there_is_no_cloudwatch(complete: Settings) -> None:
    (check,) = doctor.check_logs(complete, "/irs/irs")
    assert (check.level, "unset IRS_LOG_GROUP" in check.mend) == ("fail", True)


def test_an_endpoint_that_does_not_answer(cloud: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # ours, and nobody listens
        silent = cloud.fresh(aws_endpoint_url=f"http://127.0.0.1:{bound.getsockname()[1]}")
        (check,) = doctor.check_cloud(silent)
    assert (check.name, check.level) == ("endpoint", "fail")
    assert check.found.endswith("Connection refused")
    assert "`irs up`" in check.mend


def test_no_credentials(cloud: Any) -> None:
    bare = cloud.fresh(aws_access_key_id=None, aws_secret_access_key=None)
    *_, check = doctor.check_cloud(bare)
    assert (check.name, check.level) == ("credentials", "fail")
    assert "IRS_AWS_ACCESS_KEY_ID" in check.mend


# -- clock, disk, model ----------------------------------------------------------------------
@pytest.mark.parametrize(("ahead", "level", "found"), [
    (0.4, "ok", "0 s ahead"), (-29.0, "ok", "29 s behind"), (31.0, "warn", "31 s ahead"),
    (-301.0, "fail", "301 s behind"), (None, "warn", "tells no time"),
])
def test_clock(ahead: float | None, level: str, found: str) -> None:
    check = doctor.check_clock(probe.Answer(url="http://x", ahead=ahead))
    assert check.level == level
    assert found in check.found
    assert bool(check.mend) == (level != "ok")


def test_the_endpoints_clock_is_read(cloud: Any) -> None:
    ahead = probe.endpoint(cloud.settings).ahead
    assert ahead is not None
    assert abs(ahead) < doctor.CLOCK_ODD  # both are this machine's


@pytest.mark.parametrize(("free", "level"), [(5e9, "ok"), (5e8, "warn"), (1e8, "fail")])
def test_disk(free: float, level: str, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=int(free)))
    # A directory that is not there yet: the one that it will be made in is asked.
    assert doctor.check_disk(cloud.fresh(state_dir=Path("not/there"))).level == level


def test_model_file(cloud: Any, tmp_path: Path) -> None:
    chosen = cloud.fresh(model_dir=tmp_path / "models")
    assert doctor.check_model(chosen).level == "warn"

    sha256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    path = exported.save(chosen, b"a graph", {
        "name": chosen.model, "weights_sha256": sha256, "origin": "package",
        "preprocess": {"resize": 256, "crop": 224}, "labels": ["tench"]})
    assert doctor.check_model(chosen).level == "ok"

    path.write_bytes(b"a grapf")
    check = doctor.check_model(chosen)
    assert check.level == "fail"
    assert "irs model export" in check.mend


def test_the_engine_that_is_asked_for(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, cloud.fresh(engine="openvino"))
    (check,) = (check for check in doctor.run() if check.name == "engine")
    assert (check.level, check.found) == ("ok", "openvino is installed")
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda name: None)
    check = doctor.check_engine(cloud.fresh(engine="torch"))
    assert (check.level, check.found) == ("warn", "IRS_ENGINE=torch is not installed here")
    assert check.mend == "nothing where no worker runs; else pip install 'irs[gpu]'"


# -- the command -----------------------------------------------------------------------------
def test_the_command(complete: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, complete)
    monkeypatch.setenv("IRS_INPUT_BUKET", "x")
    done = CliRunner().invoke(cli.cli, ["doctor"], prog_name="irs")
    assert done.exit_code == 0, done.output
    assert "warn  settings: IRS_INPUT_BUKET is no setting" in done.output
    assert "did you mean IRS_INPUT_BUCKET?" in done.output


def test_the_command_in_json(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, cloud.fresh())
    done = CliRunner().invoke(cli.cli, ["doctor", "--json"], prog_name="irs")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert {"name", "level", "found", "mend"} == report["checks"][0].keys()


def test_a_setting_that_does_not_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "IRS_PORT", "eighty")
    done = CliRunner().invoke(cli.cli, ["doctor"], prog_name="irs")
    assert done.exit_code == 1
    assert done.output.startswith("fail  settings: IRS_PORT: ")
