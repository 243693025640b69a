"""deploy/ without a cloud: the templates are sound, and say what the code and the docs say."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from cfnlint.api import lint

from irs import settings as settings_module
from irs.aws import expiry, provision
from irs.scaler import userdata
from irs.web import connection
from tests.integration.stackkit import ROOT, TEMPLATE, template

DEPLOY = ROOT / "deploy"
DOC = (ROOT / "docs" / "deploy.md").read_text("utf-8")
#: Bytes that CloudFormation takes in the call itself; more would need a bucket first.
MOST = 51_200
#: What a worker reads and the stack leaves at its default, unless `MoreSettings` say otherwise.
DEFAULTS = {
    "aws_endpoint_url", "poll_wait", "max_image_bytes", "max_image_pixels", "model_sha256", "engine",
    "max_batch", "engine_threads", "drain_grace", "log_level", "task_events", "traces", "trace_share",
    "canary_model", "canary_sha256", "canary_share", "precision",
}


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    return template()


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(path: Any) -> None:
    text = path.read_text("utf-8")
    assert len(text.encode()) < MOST
    assert lint(text, regions=["us-east-1"]) == []


def test_every_parameter_has_its_row_and_its_default(stack: dict[str, Any]) -> None:
    table = DOC.partition("## Parameters\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, flags=re.MULTILINE)
    told = {name: default.strip() for name, default in rows}
    assert list(told) == list(stack["Parameters"]), "in the template's order"
    for name, parameter in stack["Parameters"].items():
        assert parameter["Description"], name
        default = parameter.get("Default")
        wanted = "must be given" if default is None else "nothing" if default == "" else f"`{default}`"
        assert told[name] == wanted, name
    groups = stack["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(stack["Parameters"])


def test_every_output_is_documented(stack: dict[str, Any]) -> None:
    for name in stack["Outputs"]:
        assert f"`{name}`" in DOC, name


def test_lifecycle_rules_are_those_that_irs_up_sets(stack: dict[str, Any]) -> None:
    settings = settings_module.build({"keep_inputs": 30, "keep_results": 60})
    days = {"KeepInputs": 30, "KeepResults": 60}
    for resource, bucket in (("InputBucket", settings.input_bucket),
                             ("OutputBucket", settings.output_bucket)):
        rules = stack["Resources"][resource]["Properties"]["LifecycleConfiguration"]["Rules"]
        rules = [rule["Fn::If"][1] if "Fn::If" in rule else rule for rule in rules]
        found = {(r["Id"], r["Status"], r.get("Prefix", ""),
                  days[r["ExpirationInDays"]["Ref"]] if isinstance(r["ExpirationInDays"], dict)
                  else r["ExpirationInDays"]) for r in rules}
        wanted = {(expiry.OURS + r.name, "Enabled", r.prefix, r.days)
                  for r in expiry.rules(settings, bucket)}
        assert found == wanted, resource


def test_buckets_outlive_the_stack_and_queues_do_not(stack: dict[str, Any]) -> None:
    kept = {name for name, resource in stack["Resources"].items()
            if resource.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept == {"InputBucket", "OutputBucket"}


def test_dead_letters_outlive_the_tasks_that_they_were(stack: dict[str, Any]) -> None:
    def kept(name: str) -> int:
        return int(stack["Resources"][name]["Properties"]["MessageRetentionPeriod"])

    assert kept("InputQueue") < kept("DeadLetterQueue") == provision.DEAD_RETENTION


def test_the_load_balancer_waits_longer_than_any_client(stack: dict[str, Any]) -> None:
    found = stack["Resources"]["LoadBalancer"]["Properties"]["LoadBalancerAttributes"]
    (idle,) = (int(a["Value"]) for a in found if a["Key"] == "idle_timeout.timeout_seconds")
    longest = 300  # what `Prefer: wait` is granted at most: docs/settings.md, IRS_CLIENT_WAIT
    assert "more than the longer of this and 300 is not granted" in (ROOT / "docs/settings.md").read_text()
    assert idle > max(longest, stack["Parameters"]["ClientWait"]["MaxValue"])
    assert idle < connection.IDLE, "else it sends a request on a connection that is closing: 502"


def test_an_update_gives_a_new_web_machine_time_to_become_ready(stack: dict[str, Any]) -> None:
    """EC2 calls a machine in service when it runs: before it has booted, and before it is asked."""
    group, targets = stack["Resources"]["WebGroup"], stack["Resources"]["WebTargets"]["Properties"]
    policy = group["UpdatePolicy"]["AutoScalingRollingUpdate"]
    minutes = re.fullmatch(r"PT(\d+)M", policy["PauseTime"])
    assert minutes
    boots = 60  # up to a minute, says the page
    checks = targets["HealthCheckIntervalSeconds"] * targets["HealthyThresholdCount"]
    assert int(minutes[1]) * 60 == group["Properties"]["DefaultInstanceWarmup"] > boots + checks
    assert policy["MinInstancesInService"] >= 1
    # Else a scaling policy may end the new machine, and the update goes wrong.
    assert {"AlarmNotification", "AZRebalance", "ReplaceUnhealthy"} <= set(policy["SuspendProcesses"])


def test_a_launch_is_told_its_profile_once(stack: dict[str, Any]) -> None:
    """By the launch, as a name; EC2 refuses a name beside an ARN."""
    data = stack["Resources"]["WorkerTemplate"]["Properties"]["LaunchTemplateData"]
    assert not {"IamInstanceProfile", "InstanceType", "UserData"} & data.keys()
    assert "IRS_INSTANCE_PROFILE=${Profile}" in TEMPLATE.read_text("utf-8")


def test_no_condition_asks_an_empty_list_for_an_item(stack: dict[str, Any]) -> None:
    """What AWS says to that is not what emulators say; text that may be empty can be compared."""
    assert "Fn::Select" not in str(stack["Conditions"])


def test_prometheus_is_let_in_where_its_configuration_asks(stack: dict[str, Any]) -> None:
    """By the tags that machines have, at the ports that the documented command opens."""
    config = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yml").read_text("utf-8"))
    asked = {}
    for job in config["scrape_configs"]:
        (found,) = job["ec2_sd_configs"]
        filters = {each["name"]: each["values"] for each in found["filters"]}
        assert filters["tag:irs:cluster"] == [stack["Parameters"]["Cluster"]["Default"]]
        (role,) = filters["tag:irs:role"]
        asked[role] = found["port"]
    for role in ("web", "scaler"):
        (tags,) = (spec["Tags"] for spec in stack["Resources"][f"{role.title()}Template"]["Properties"][
            "LaunchTemplateData"]["TagSpecifications"] if spec["ResourceType"] == "instance")
        assert {"Key": "irs:role", "Value": role} in tags
    command = re.search(
        r"PrometheusSecurityGroupId=sg-\S+ WorkerMetricsPort=(\d+) ScalerMetricsPort=(\d+)", DOC)
    assert command
    assert asked == {"web": 8080, "app": int(command[1]), "scaler": int(command[2])}


def test_further_settings_take_no_secret(stack: dict[str, Any]) -> None:
    pattern = re.compile(stack["Parameters"]["MoreSettings"]["AllowedPattern"])
    secret = {name for name, field in settings_module.Settings.model_fields.items()
              if "SecretStr" in str(field.annotation)}
    assert len(secret) > 3
    for name in settings_module.Settings.model_fields:
        assert bool(pattern.search(f"IRS_{name.upper()}=x")) == (
            name not in secret and not name.startswith("aws_")), name
    assert not pattern.search("PATH=/tmp")


def test_defaults_are_those_of_the_settings(stack: dict[str, Any]) -> None:
    """A parameter whose description begins with one setting has its default."""
    fields = settings_module.Settings.model_fields
    for name, parameter in stack["Parameters"].items():
        said = re.match(r"(IRS_[A-Z_]+)[:,.]", parameter["Description"])
        if said is None or "BucketName" in name:
            continue  # a bucket's name is one for the whole world
        default = fields[said[1].removeprefix("IRS_").lower()].default
        wanted = {"None": ("off", ""), "()": ("",), "True": ("true",), "False": ("false",)}.get(
            str(default), (default,))
        assert parameter["Default"] in wanted, name


def test_what_a_worker_reads_is_said_or_left_on_purpose(stack: dict[str, Any]) -> None:
    text = TEMPLATE.read_text("utf-8")
    said = {name.lower() for name in re.findall(r"^ +IRS_([A-Z_]+)=", text, flags=re.MULTILINE)}
    assert set(userdata.WORKER) - said == DEFAULTS
    assert said <= settings_module.Settings.model_fields.keys()
