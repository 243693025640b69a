"""An instance is told what differs from the defaults, and no secret."""

from __future__ import annotations

import os

import pytest

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.scaler import userdata


def test_defaults_need_no_words() -> None:
    assert userdata.build(settings_module.build()) == ""


def test_only_what_differs_and_only_what_a_worker_reads() -> None:
    settings = settings_module.build({
        "aws_endpoint_url": "http://127.0.0.1:4566", "aws_access_key_id": "key",
        "aws_secret_access_key": "geheim", "max_batch": 16, "max_instances": 3, "port": 9000,
        "model_dir": "/var/models", "idle_shutdown": 30, "remote_control": False,
    })
    assert userdata.build(settings).splitlines() == [
        "IRS_AWS_ENDPOINT_URL=http://127.0.0.1:4566", "IRS_REMOTE_CONTROL=False",
        "IRS_MAX_BATCH=16", "IRS_IDLE_SHUTDOWN=30.0",
    ]


def test_the_instance_reads_back_what_the_scaler_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"region": "eu-central-1", "aws_endpoint_url": "https://example.test:4566",
              "model": "resnet18", "model_weights": "s3://bucket/a b=c.pth",
              "model_sha256": "0" * 64, "visibility_timeout": 90, "drain_grace": 12.5,
              "cluster": "other", "log_format": "json", "log_level": "DEBUG",
              "traces": "http://10.0.0.7:4318", "trace_share": 0.1,
              "input_queue": "in", "output_queue": "out", "dead_letter_queue": "dead"}
    meant = settings_module.build(values)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    settings_module.apply_user_data(userdata.build(meant))
    assert settings_module.load() == meant


def test_every_named_field_is_a_setting() -> None:
    assert set(userdata.WORKER) <= set(settings_module.Settings.model_fields)
    assert not {name for name in userdata.WORKER if "key" in name or "secret" in name}


@pytest.mark.parametrize("value", ["two\nlines", "line\u2028separator", " space"])
def test_a_value_that_is_not_one_line_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="IRS_MODEL_WEIGHTS"):
        userdata.build(settings_module.build({"model_weights": value}))
