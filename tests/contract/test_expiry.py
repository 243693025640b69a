"""Lifecycle rules of the buckets: ours follow the settings, those of others stay."""

from __future__ import annotations

from typing import Any

import pytest

from irs.aws import clients, provision
from irs.settings import Settings

THEIRS = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}


@pytest.fixture(params=["cloud", "moto_cloud"])
def fresh(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param).fresh


def rules(settings: Settings, bucket: str) -> dict[str, tuple[str, int]]:
    s3 = clients.client(settings, "s3")
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {rule["ID"]: (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in found}


def wrong(settings: Settings) -> list[str]:
    return [f.name for f in provision.ensure(settings, create=False) if not f.ok]


def test_what_is_needed_for_hours_goes_and_the_rest_stays(fresh: Any) -> None:
    settings = fresh()
    provision.ensure(settings)
    assert rules(settings, settings.input_bucket) == {"irs-uploads": ("uploads/", 2)}
    assert rules(settings, settings.output_bucket) == {
        "irs-requests": ("requests/", 2), "irs-reuse": ("reuse/", 2), "irs-called": ("called/", 14)}


def test_ages_of_the_settings_become_rules_and_are_looked_at(fresh: Any) -> None:
    settings = fresh()
    provision.ensure(settings)
    aged = settings.model_copy(update={"keep_inputs": 7, "keep_results": 30})
    assert wrong(aged) == [f"bucket {aged.input_bucket}", f"bucket {aged.output_bucket}"]
    provision.ensure(aged)
    assert rules(aged, aged.input_bucket)["irs-inputs"] == ("", 7)
    assert rules(aged, aged.output_bucket)["irs-results"] == ("", 30)
    assert not wrong(aged)
    provision.ensure(settings)
    assert "irs-inputs" not in rules(settings, settings.input_bucket), "off again"


def test_rules_of_others_stay(fresh: Any) -> None:
    settings = fresh()
    provision.ensure(settings)
    clients.client(settings, "s3").put_bucket_lifecycle_configuration(
        Bucket=settings.input_bucket, LifecycleConfiguration={"Rules": [THEIRS]})
    provision.ensure(settings)
    assert rules(settings, settings.input_bucket) == {"logs": ("logs/", 9), "irs-uploads": ("uploads/", 2)}
