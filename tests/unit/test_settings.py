"""Every setting: its default, what it refuses, and where it comes from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.settings import Settings, wording

#: The contract's names and defaults: what a deployment may rely on.
CONTRACT = {
    "IRS_REGION": "us-east-1",
    "IRS_INPUT_BUCKET": "cc21cprk-input-bucket",
    "IRS_OUTPUT_BUCKET": "cc21cprk-output-bucket",
    "IRS_INPUT_QUEUE": "cc21cprk-input-queue",
    "IRS_OUTPUT_QUEUE": "cc21cprk-output-queue",
    "IRS_DEAD_LETTER_QUEUE": "cc21cprk-input-queue-dead",
    "IRS_AMI": "ami-0ee8cf7b8a34448a6",
    "IRS_MIN_INSTANCES": 0,
    "IRS_MAX_INSTANCES": 19,
    "IRS_INSTANCE_NAME": "AppTier-Instance",
    "IRS_PORT": 8080,
    "IRS_CLIENT_WAIT": 60,
    "IRS_AWS_ENDPOINT_URL": None,
    "IRS_VISIBILITY_TIMEOUT": 30,
    "IRS_MAX_RECEIVE_COUNT": 5,
    "IRS_MAX_IMAGE_BYTES": 20_000_000,
    "IRS_MAX_IMAGE_PIXELS": 40_000_000,
    "IRS_MODEL": "efficientnet_lite0",
    "IRS_SCALER_INTERVAL": 3.0,
    "IRS_IDLE_SHUTDOWN": None,
}


def _field(variable: str) -> str:
    return variable.removeprefix("IRS_").lower()


@pytest.mark.parametrize(("variable", "default"), CONTRACT.items())
def test_contract_default(variable: str, default: Any) -> None:
    assert getattr(settings_module.load(), _field(variable)) == default


PARSES = [
    ("IRS_PORT", "9000", 9000),
    ("irs_port", "9000", 9000),
    ("IRS_PORT", "", 8080),
    ("IRS_CLIENT_WAIT", "0", 0.0),
    ("IRS_IDLE_SHUTDOWN", "off", None),
    ("IRS_IDLE_SHUTDOWN", "None", None),
    ("IRS_IDLE_SHUTDOWN", "2.5", 2.5),
    ("IRS_REMOTE_CONTROL", "no", False),
    ("IRS_SUBNET_IDS", "subnet-1, subnet-2,", ("subnet-1", "subnet-2")),
    ("IRS_SECURITY_GROUP_IDS", "sg-1", ("sg-1",)),
    ("IRS_SOURCE_BUCKETS", "photos,more.photos", ("photos", "more.photos")),
    ("IRS_CALLBACK_NETWORKS", "127.0.0.0/8, fd00::/8", ("127.0.0.0/8", "fd00::/8")),
    ("IRS_CALLBACK_SECRET", " , ", None),
    ("IRS_LOG_LEVEL", "debug", "DEBUG"),
    ("IRS_AWS_ENDPOINT_URL", "http://127.0.0.1:4566/", "http://127.0.0.1:4566"),
    ("IRS_TRACES", "http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    ("IRS_TRACES", "OFF", None),
    ("IRS_TRACE_SHARE", "0.05", 0.05),
    ("IRS_MODEL_DIR", "/var/models", Path("/var/models")),
    ("IRS_METADATA_ENDPOINT", "http://127.0.0.1:1", "http://127.0.0.1:1"),
]


@pytest.mark.parametrize(("variable", "text", "value"), PARSES)
def test_parses(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: Any) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(settings_module.load(), _field(variable.upper())) == value


REFUSED = [
    ("IRS_PORT", "eighty"),
    ("IRS_PORT", "70000"),
    ("IRS_PORT", "-1"),
    ("IRS_MAX_INSTANCES", "0"),
    ("IRS_MAX_INSTANCES", "1.5"),
    ("IRS_MIN_INSTANCES", "-1"),
    ("IRS_SOURCE_BUCKETS", "photos,s3://more"),
    ("IRS_INPUT_BUCKET", "Upper_Case"),
    ("IRS_INPUT_QUEUE", "a b"),
    ("IRS_INPUT_QUEUE", "x" * 65),
    ("IRS_VISIBILITY_TIMEOUT", "43201"),
    ("IRS_POLL_WAIT", "21"),
    ("IRS_CLIENT_WAIT", "soon"),
    ("IRS_SCALER_INTERVAL", "0"),
    ("IRS_IDLE_SHUTDOWN", "0"),
    ("IRS_IDLE_SHUTDOWN", "-5"),
    ("IRS_IDLE_SHUTDOWN", "later"),
    ("IRS_AMI", "image"),
    ("IRS_ENGINE", "abacus"),
    ("IRS_MODEL", "../resnet"),
    ("IRS_MODEL_SHA256", "abc"),
    ("IRS_CLUSTER", "a/b"),
    ("IRS_AWS_ENDPOINT_URL", "127.0.0.1:4566"),
    ("IRS_REMOTE_CONTROL", "perhaps"),
    ("IRS_LOG_LEVEL", "LOUD"),
    ("IRS_LOG_FORMAT", "xml"),
    ("IRS_CALLBACK_SECRET", "k" * 23),
    ("IRS_CALLBACK_SECRET", "whsec_no base64"),
    ("IRS_CALLBACK_NETWORKS", "127.0.0.1/8"),
    ("IRS_CALLBACK_NETWORKS", "127.0.0.0/8,localhost"),
    ("IRS_TRACES", "on"),
    ("IRS_TRACES", "127.0.0.1:4318"),
    ("IRS_TRACES", "grpc://127.0.0.1:4317"),
    ("IRS_TRACES", "http://"),
    ("IRS_TRACES", "http://127.0.0.1:nan"),
    ("IRS_TRACES", "http://name:secret@collector:4318"),
    ("IRS_TRACES", "https://collector/v1/traces?key=secret"),
    ("IRS_TRACE_SHARE", "1.1"),
    ("IRS_TRACE_SHARE", "-0.1"),
    ("IRS_TRACE_SHARE", "nan"),
]


@pytest.mark.parametrize(("variable", "text"), REFUSED)
def test_refuses_in_one_line_that_names_the_variable(
        monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as caught:
        settings_module.load()
    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert "\n" not in message
    assert not re.search("[Ii]nput|[Ss]tring|valid|pattern", message.removeprefix(variable)), message


@pytest.mark.parametrize(("variable", "text", "words"), [
    ("IRS_PORT", "eighty", "'eighty' is not a whole number from 0 to 65535"),
    ("IRS_MAX_BATCH_IMAGES", "1000001", "'1000001' is not a whole number from 1 to 1000000"),
    ("IRS_MAX_INSTANCES", "1.5", "'1.5' is not a whole number from 1 up"),
    ("IRS_SCALER_INTERVAL", "0", "'0' is not a number above 0"),
    ("IRS_BUDGET", "lots", "'lots' is not a number above 0, or off"),
    ("IRS_REMOTE_CONTROL", "perhaps", "'perhaps' is not true or false"),
    ("IRS_ENGINE", "abacus", "'abacus' is not auto, onnxruntime, openvino or torch"),
    ("IRS_SOURCE_BUCKETS", "photos,s3://more",
     "'s3://more' is not a bucket's name (3 to 63 small letters, digits, dots and dashes)"),
    ("IRS_MODEL_SHA256", "x" * 100, f"'{'x' * 59}… is not a SHA-256 (64 small hex digits)"),
])
def test_says_what_is_wrong_and_what_would_be_right(
        monkeypatch: pytest.MonkeyPatch, variable: str, text: str, words: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as caught:
        settings_module.load()
    assert str(caught.value) == f"{variable}: {words}"


def test_a_secret_of_a_wrong_kind_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_module.build({"api_key": 7_654_321})
    assert str(caught.value) == "IRS_API_KEY: its value is not a text"


def test_what_is_said_of_a_setting_is_so() -> None:
    for name, schema in Settings.model_json_schema()["properties"].items():
        said = wording.takes(schema)
        assert "pattern" not in schema or "description" in schema, name
        if said.endswith(", or off"):
            assert getattr(settings_module.build({name: "off"}), name) is None, name


CONTRADICTIONS = [
    ({"IRS_OUTPUT_BUCKET": "results", "IRS_SOURCE_BUCKETS": "photos,results"},
     ("IRS_SOURCE_BUCKETS", "results")),
    ({"IRS_MIN_INSTANCES": "5", "IRS_MAX_INSTANCES": "4"},
     ("IRS_MIN_INSTANCES (5)", "IRS_MAX_INSTANCES (4)")),
    ({"IRS_INPUT_QUEUE": "same", "IRS_OUTPUT_QUEUE": "same"}, ("IRS_INPUT_QUEUE", "IRS_OUTPUT_QUEUE")),
    ({"IRS_DEAD_LETTER_QUEUE": "cc21cprk-input-queue"}, ("IRS_DEAD_LETTER_QUEUE",)),
    ({"IRS_OUTPUT_BUCKET": "cc21cprk-input-bucket"}, ("IRS_INPUT_BUCKET", "IRS_OUTPUT_BUCKET")),
    ({"IRS_TASK_EVENTS": "true", "IRS_REMOTE_CONTROL": "false"},
     ("IRS_TASK_EVENTS", "IRS_REMOTE_CONTROL")),
    ({"IRS_AWS_ACCESS_KEY_ID": "key"}, ("IRS_AWS_ACCESS_KEY_ID", "IRS_AWS_SECRET_ACCESS_KEY")),
    ({"IRS_AWS_SECRET_ACCESS_KEY": "geheim"}, ("IRS_AWS_ACCESS_KEY_ID", "IRS_AWS_SECRET_ACCESS_KEY")),
]


@pytest.mark.parametrize(("env", "named"), CONTRADICTIONS, ids="-".join)
def test_contradictions_name_both_sides(
        monkeypatch: pytest.MonkeyPatch, env: dict[str, str], named: tuple[str, ...]) -> None:
    for variable, text in env.items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as caught:
        settings_module.load()
    message = str(caught.value)
    assert all(name in message for name in named)
    assert "\n" not in message
    assert "geheim" not in message


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"IRS_PORT: .*; IRS_MAX_BATCH: "):
        settings_module.build({"port": "x", "max_batch": "y"})


def test_secrets_are_not_printed() -> None:
    settings = settings_module.build({"aws_access_key_id": "key", "aws_secret_access_key": "geheim"})
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)


def test_settings_do_not_change_and_can_be_a_key() -> None:
    settings = settings_module.build()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    assert hash(settings) == hash(settings_module.build())
    assert settings != settings_module.build({"port": 1})


def test_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Caller, environment, .env, .irs/cloud.env, default: strongest first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".irs").mkdir()
    (tmp_path / ".irs/cloud.env").write_text(
        "IRS_PORT=1001\nIRS_HOST=cloud\nIRS_REGION=eu-cloud-1\nIRS_CLUSTER=cloud\n")
    (tmp_path / ".env").write_text("IRS_PORT=1002\nIRS_HOST=file\nIRS_REGION=eu-file-1\n# note\nOTHER=1\n")
    monkeypatch.setenv("IRS_PORT", "1003")
    monkeypatch.setenv("IRS_HOST", "environment")
    settings = settings_module.build({"port": 1004})
    assert (settings.port, settings.host, settings.region, settings.cluster, settings.model) == (
        1004, "environment", "eu-file-1", "cloud", "efficientnet_lite0")


def test_a_mistake_in_a_file_names_the_variable(tmp_path: Path) -> None:
    Path(".env").write_text("IRS_PORT=eighty\n")
    with pytest.raises(SettingsError, match=r"^IRS_PORT: "):
        settings_module.load()


def test_load_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings_module.load()
    monkeypatch.setenv("IRS_PORT", "9000")
    assert settings_module.load() is first


def test_the_metadata_endpoint_has_botocores_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:2")
    assert settings_module.build().metadata_endpoint == "http://127.0.0.1:2"


@pytest.fixture
def own_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """User data changes the process's environment; this test's only."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("own_environ")
def test_user_data_becomes_the_settings_of_the_process() -> None:
    assert settings_module.load().max_batch == 8
    settings_module.apply_user_data("# from the scaler\n\n IRS_MAX_BATCH=4 \nIRS_MODEL_WEIGHTS=s3://b/a=b\n")
    assert settings_module.load().max_batch == 4
    assert settings_module.load().model_weights == "s3://b/a=b"


@pytest.mark.usefixtures("own_environ")
@pytest.mark.parametrize(
    "line", ["IRS_PORT", "PATH=/tmp", "#!/bin/sh\nrm -rf /", "=1", "export IRS_PORT=1"])
def test_user_data_that_is_not_settings_changes_nothing(line: str) -> None:
    with pytest.raises(SettingsError, match=r"user data line \d is not IRS_NAME=value"):
        settings_module.apply_user_data(f"IRS_MAX_BATCH=4\n{line}\n")
    assert settings_module.load().max_batch == 8
    assert "IRS_MAX_BATCH" not in os.environ


@pytest.mark.usefixtures("own_environ")
def test_as_env_and_back() -> None:
    given = settings_module.build({
        "aws_access_key_id": "key", "aws_secret_access_key": "geheim", "remote_control": False,
        "subnet_ids": "a,b", "idle_shutdown": 9, "model_dir": "/m", "port": 1})
    names = ("aws_access_key_id", "aws_secret_access_key", "remote_control", "subnet_ids",
             "idle_shutdown", "model_dir", "port", "model_weights")
    env = settings_module.as_env(given, *names)
    assert env["IRS_AWS_SECRET_ACCESS_KEY"] == "geheim"
    assert "IRS_MODEL_WEIGHTS" not in env, "what is unset stays unset"
    os.environ.update(env)
    assert settings_module.load() == given


def test_every_setting_has_a_value_that_passes_its_own_rules() -> None:
    defaults = settings_module.build()
    assert settings_module.build(dict(defaults)) == defaults
    assert all(name == name.lower() for name in Settings.model_fields)


@pytest.mark.parametrize(("name", "value"), [
    ("region", "us east 1"), ("region", "nowhere"), ("aws_endpoint_url", "http://a b"),
    ("aws_endpoint_url", "http://"), ("aws_endpoint_url", "http://[::1"),
    ("aws_endpoint_url", "http://127.0.0.1:4566/ä"),
    ("scaler_interval", "inf"), ("drain_grace", "nan"), ("boot_delay", "inf"), ("idle_shutdown", "inf"),
    ("client_wait", "nan"),
])
def test_what_would_only_fail_later_is_refused_now(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^IRS_{name.upper()}: [^\n]+$"):
        settings_module.build({name: value})


def test_an_env_file_that_is_no_text_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(b"IRS_PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"^\.env is not UTF-8"):
        settings_module.build()


@pytest.mark.parametrize(("inputs", "results"), [("8", "7"), ("off", "7"), (None, "7")])
def test_results_outlive_their_uploads(monkeypatch: pytest.MonkeyPatch, inputs: str | None,
                                       results: str) -> None:
    if inputs is not None:
        monkeypatch.setenv("IRS_KEEP_INPUTS", inputs)
    monkeypatch.setenv("IRS_KEEP_RESULTS", results)
    with pytest.raises(SettingsError, match="IRS_KEEP_INPUTS must be set, and at most IRS_KEEP_RESULTS"):
        settings_module.load()
