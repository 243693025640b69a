"""deploy/stack.yaml made and deleted on an emulator: what it makes is what the service expects."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from irs import doctor, errors
from irs import settings as settings_module
from irs.aws import clients, provision
from irs.aws.faults import translated
from irs.aws.fleet import Fleet
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import jobs
from irs.settings import Settings
from irs.testing.proxy import Proxy
from tests.integration import stackkit
from tests.integration.conftest import Process, environment, form, until
from tests.integration.stackkit import Stack
from tests.journals import Written

pytestmark = pytest.mark.integration

#: What a proxy that ends TLS says of a request.
OVER_TLS = (("X-Forwarded-Proto", "https"),)
#: Calls that list what an account has, with the part of the answer.
LISTS = {
    "sqs": {"list_queues": "QueueUrls"},
    "sns": {"list_topics": "Topics", "list_subscriptions": "Subscriptions"},
    "iam": {"list_roles": "Roles", "list_instance_profiles": "InstanceProfiles"},
    "ec2": {"describe_launch_templates": "LaunchTemplates", "describe_security_groups": "SecurityGroups"},
    "autoscaling": {"describe_auto_scaling_groups": "AutoScalingGroups",
                    "describe_policies": "ScalingPolicies"},
    "elbv2": {"describe_load_balancers": "LoadBalancers", "describe_target_groups": "TargetGroups"},
    "cloudwatch": {"describe_alarms": "MetricAlarms"},
    "logs": {"describe_log_groups": "logGroups"},
    "ssm": {"describe_parameters": "Parameters"},
}


@pytest.fixture(scope="module")
def stack(strict: str) -> Stack:
    return Stack(strict, "irs", AlarmEmail="ops@photos.example")


def account(endpoint: str) -> dict[str, int]:
    """How many there are of everything that a stack makes and takes away."""
    root = stackkit.root(endpoint)
    found = {call: len(getattr(clients.client(root, service), call)().get(part, ()))
             for service, calls in LISTS.items() for call, part in calls.items()}
    policies = clients.client(root, "iam").list_policies(Scope="Local")["Policies"]
    return found | {"list_policies": len(policies)}


def test_the_emulator_makes_all_but_two_resources(stack: Stack) -> None:
    assert stack.left_out == {"NothingReceived", "Spending"}
    assert stack.resources().keys() == stackkit.template()["Resources"].keys() - stack.left_out


def test_it_is_what_irs_up_would_make(stack: Stack, strict: str) -> None:
    settings = stackkit.root(strict, **stack.values())
    assert [f for f in provision.ensure(settings, create=False) if not f.ok] == []
    assert [c for c in doctor.check_storage(settings) if c.level != "ok"] == []
    for name, seconds in ((settings.dead_letter_queue, provision.DEAD_RETENTION),
                          (settings.output_queue, provision.ANNOUNCE_RETENTION)):
        found = Queue(settings, name).attributes("MessageRetentionPeriod", "SqsManagedSseEnabled")
        assert found == {"MessageRetentionPeriod": str(seconds), "SqsManagedSseEnabled": "true"}


def test_buckets_are_closed_encrypted_and_want_tls(stack: Stack, strict: str) -> None:
    s3 = clients.client(stackkit.root(strict), "s3")
    for name in (stack.values()["input_bucket"], stack.values()["output_bucket"]):
        blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert len(blocked) == 4
        assert all(blocked.values())
        (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    # Whose policy allows it, but this way is without TLS.
    with stack.person("Web", endpoint=strict) as web, pytest.raises(errors.AccessDenied):
        Objects(web, web.input_bucket).exists("uploads/x")


def test_machines_are_told_the_outputs_settings(stack: Stack, strict: str) -> None:
    ec2 = clients.client(stackkit.root(strict), "ec2")
    found = stack.resources()

    def told(template: str) -> str:
        (version,) = ec2.describe_launch_template_versions(
            LaunchTemplateId=found[template])["LaunchTemplateVersions"]
        data: dict[str, Any] = version["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        return base64.b64decode(data.get("UserData", "")).decode()

    text = stack.outputs["Settings"]
    assert told("ScalerTemplate") == text
    assert told("WebTemplate") == f"{text}\nIRS_HOST=0.0.0.0\nIRS_PORT=8080\n"
    assert told("WorkerTemplate") == "", "the scaler tells it"
    settings_module.apply_user_data(told("WebTemplate"))  # as an instance does
    assert settings_module.load().launch_template == found["WorkerTemplate"]
    assert settings_module.unknown() == []


def test_parameters_change_what_is_made(strict: str) -> None:
    made = Stack(strict, "three", Cluster="three", InputQueueName="three-in", OutputQueueName="three-out",
                 DeadLetterQueueName="three-dead", InputBucketName="three-images", RemoteControl="false",
                 Spot="true", ModelWeights="s3://models/resnet/a.pt", SourceBuckets="photos-a,photos-b",
                 UploadOrigins="https://photos.example", InstanceTypes="c7i.large,c6i.large",
                 RequireApiKeys="true", CanaryWeights="s3://models/resnet/b.pt",
                 MoreSettings="IRS_CANARY_MODEL=resnet18,IRS_CANARY_SHARE=0.2",
                 PrometheusSecurityGroupId="sg-00000001", WorkerMetricsPort="9101",
                 ScalerMetricsPort="9102")
    values = made.values()
    assert (values["input_bucket"], values["instance_types"]) == ("three-images", "c7i.large,c6i.large")
    # As the scaler has them, who is told no API keys.
    told = settings_module.build(values)
    assert (told.canary_model, told.canary_share) == ("resnet18", 0.2)
    assert (told.metrics_host, told.worker_metrics_port, told.scaler_metrics_port) == (
        "0.0.0.0", 9101, 9102)
    statements = {tier: {s["Sid"]: s for s in made.policy(tier)["Statement"]} for tier in stackkit.TIERS}
    assert statements["Worker"]["Weights"]["Resource"] == "arn:aws:s3:::models/resnet/a.pt"
    assert statements["Worker"]["CanaryWeights"]["Resource"] == "arn:aws:s3:::models/resnet/b.pt"
    assert not {"ControlQueues", "ControlTopics", "FindControl", "End"} & statements["Worker"].keys()
    assert statements["Web"]["SourceImages"]["Resource"] == [
        "arn:aws:s3:::photos-a/*", "arn:aws:s3:::photos-b/*"]
    assert "LaunchSpot" in statements["Scaler"]
    cors = clients.client(stackkit.root(strict), "s3").get_bucket_cors(Bucket="three-images")
    assert cors["CORSRules"][0]["AllowedOrigins"] == ["https://photos.example"]
    assert let_in(made, "WebSecurityGroup", strict) == {
        (8080, made.resources()["LoadBalancerSecurityGroup"]), (8080, "sg-00000001")}
    assert let_in(made, "WorkerSecurityGroup", strict) == {(9101, "sg-00000001"), (9102, "sg-00000001")}
    made.delete()


def let_in(made: Stack, group: str, strict: str) -> set[tuple[int, str]]:
    """(port, security group) of whoever may reach a group's machines; fails for a range or a network."""
    (found,) = clients.client(stackkit.root(strict), "ec2").describe_security_groups(
        GroupIds=[made.resources()[group]])["SecurityGroups"]
    rules = found["IpPermissions"]
    assert all(rule["FromPort"] == rule["ToPort"] and not rule.get("IpRanges") for rule in rules)
    return {(rule["FromPort"], pair["GroupId"]) for rule in rules for pair in rule["UserIdGroupPairs"]}


def test_without_prometheus_nobody_reaches_a_metrics_port(stack: Stack, strict: str) -> None:
    assert let_in(stack, "WorkerSecurityGroup", strict) == set()
    assert let_in(stack, "WebSecurityGroup", strict) == {
        (8080, stack.resources()["LoadBalancerSecurityGroup"])}
    told = settings_module.build(stack.values())
    assert (told.metrics_host, told.worker_metrics_port, told.scaler_metrics_port) == (None, None, None)


@pytest.mark.parametrize("tier", [*stackkit.TIERS, "AmiBuild"])
def test_each_permission_is_for_things_that_it_can_be_for(stack: Stack, builder: Stack, tier: str) -> None:
    """As cfn-lint knows them from AWS's service authorization reference, of the policies as made."""
    policy = (builder if tier == "AmiBuild" else stack).policy(tier)
    resource = {"Type": "AWS::IAM::Policy", "Properties": {
        "PolicyName": "p", "Roles": ["r"], "PolicyDocument": policy}}
    assert lint(json.dumps({"Resources": {"P": resource}}),
                config=ManualArgs(include_checks=["I3510"], regions=["us-east-1"])) == []
    assert len(json.dumps(policy, separators=(",", ":"))) <= 6_144, "what IAM takes"
    known = load_resource(AdditionalSpecs, "Policies.json")
    for statement in policy["Statement"]:
        if statement["Resource"] == "*":
            for action in stackkit.actions({"Statement": [statement]}):
                service, _, name = action.lower().partition(":")
                assert not known[service]["Actions"][name].get("Resources"), f"{action} can be narrower"


@pytest.fixture(scope="module")
def builder(strict: str, stack: Stack) -> Stack:
    return Stack(strict, "ami", path=stackkit.ROOT / "deploy" / "ami-build.yaml",
                 Bucket=stack.values()["output_bucket"])


def test_who_builds_the_image_may_do_that_alone(builder: Stack, stack: Stack, strict: str) -> None:
    with builder.person("AmiBuild", endpoint=strict) as person:
        ec2 = clients.client(person, "ec2")

        def launch(role: str) -> str:
            found = ec2.run_instances(
                ImageId="ami-00000000", InstanceType="c7i.large", MinCount=1, MaxCount=1,
                MetadataOptions={"HttpTokens": "required"}, TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": "irs:role", "Value": role}]}])
            return str(found["Instances"][0]["InstanceId"])

        mine = launch("ami-build")
        assert ec2.describe_instances(InstanceIds=[mine])["Reservations"]
        with pytest.raises(errors.AccessDenied), translated("RunInstances"):
            launch("app")
        owner = Fleet(stackkit.root(strict, **stack.values()))
        theirs = owner.launch("x", token="t", user_data="")
        with pytest.raises(errors.AccessDenied):
            Fleet(person).terminate([theirs.id])
        with pytest.raises(errors.AccessDenied):
            list(Objects(person, stack.values()["input_bucket"]).keys())
        Fleet(person).terminate([mine])
        owner.terminate([theirs.id])


def test_a_second_one_goes_and_leaves_its_two_buckets_alone(stack: Stack, strict: str) -> None:
    before = account(strict)
    two = Stack(strict, "two", Cluster="two", InputQueueName="two-in", OutputQueueName="two-out",
                DeadLetterQueueName="two-dead", PrometheusSecurityGroupId="sg-00000001",
                WorkerMetricsPort="9100", ScalerMetricsPort="9100")
    assert let_in(two, "WorkerSecurityGroup", strict) == {(9100, "sg-00000001")}, "one rule for one port"
    settings = stackkit.root(strict, **two.values())
    grown = {name for name, count in account(strict).items() if count > before[name]}
    assert before.keys() - grown == {"list_subscriptions"}, "nobody's address was given"
    Objects(settings, settings.output_bucket).put("kept.json", b"{}")
    two.delete()
    assert account(strict) == before
    assert Objects(settings, settings.output_bucket).get("kept.json") == b"{}"
    s3 = clients.client(settings, "s3")  # as docs/deploy.md says
    Objects(settings, settings.output_bucket).delete("kept.json")
    for name in (settings.input_bucket, settings.output_bucket):
        s3.delete_bucket(Bucket=name)
    kept = {stack.values()["input_bucket"], stack.values()["output_bucket"]}
    assert kept <= {b["Name"] for b in s3.list_buckets()["Buckets"]}


def test_irs_logs_reads_what_the_tiers_have_shipped(stack: Stack, strict: str, tmp_path: Path) -> None:
    """Each tier's journal by its role, into its own streams and no other's."""
    group = stack.values()["log_group"]
    with Written(tmp_path / "journal") as journal:
        journal.raw(json.dumps({"timestamp": jobs.stamp(datetime.now(UTC)), "level": "info",
                                "event": "it.said"}), unit="irs-web")

        def ship(tier: str, service: str) -> subprocess.CompletedProcess[str]:
            with stack.person(tier, endpoint=strict) as s:
                return subprocess.run(
                    [sys.executable, "-m", "irs", "logs", "ship", "--once", "--service", service,
                     "--machine", f"of-{tier}", "--journal", str(journal.directory), "--cursor",
                     str(tmp_path / f"{tier}-{service}")],
                    env=environment(s, IRS_LOG_GROUP=group), cwd=tmp_path, capture_output=True, text=True,
                    timeout=60, check=False)

        for tier, service in (("Web", "web"), ("Worker", "workers"), ("Scaler", "scaler")):
            done = ship(tier, service)
            assert done.stdout == f"1 lines in {group}, stream {service}/of-{tier}\n", done.stderr
        refused = ship("Worker", "web")
    assert refused.returncode == 2
    (line,) = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith(f"irs: CloudWatch Logs group {group}, stream web/of-Worker: ")
    assert "not authorized to perform: logs:CreateLogStream" in line
    with stack.person("Worker", endpoint=strict) as s:
        assert [check.found for check in doctor.check_logs(s, group)] == [
            "there", "may be written to by this role, streams workers/…"]
        (check,) = doctor.check_logs(s, group + "-no")
        assert (check.level, "logs:PutLogEvents" in check.mend) == ("fail", True)
    (allowed,) = stackkit.documented("`irs logs`")
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    with stack.person(endpoint=strict, allowed=[{"Action": allowed, "Resource": arn}]) as reader:
        there, shipping = doctor.check_logs(reader, group)
        assert (there.level, shipping.level) == ("ok", "warn"), "who reads need not write"
        done = subprocess.run([sys.executable, "-m", "irs", "logs", "--json"], env=environment(reader),
                              cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(line["service"], line["source"], line["text"]) for line in found} == {
        (service, f"of-{tier}", "it.said")
        for tier, service in (("Web", "web"), ("Worker", "workers"), ("Scaler", "scaler"))}


@pytest.mark.timeout(120)
def test_irs_up_runs_on_what_the_stack_made_and_makes_nothing(
        stack: Stack, strict: str, model_dir: Path, photos: dict[str, bytes], tmp_path: Path) -> None:
    """The output `Settings` as .env, with the policies of those whose part `irs up` plays."""
    base, directory = stackkit.root(strict, model_dir=model_dir), tmp_path / "hosts"
    directory.mkdir()
    hosts = base.model_copy(update={"state_dir": directory, "cluster": "irs", "instance_profile": "x"})
    with ExitStack() as running:
        proxy = running.enter_context(Proxy(strict, adds=OVER_TLS))
        person = running.enter_context(stack.person("Web", "Scaler", endpoint=proxy.endpoint))
        (tmp_path / ".env").write_text("\n".join([
            stack.outputs["Settings"], f"IRS_AWS_ENDPOINT_URL={proxy.endpoint}",
            "IRS_POLL_WAIT=1",
            f"IRS_AWS_ACCESS_KEY_ID={person.aws_access_key_id}",
            f"IRS_AWS_SECRET_ACCESS_KEY={person.aws_secret_access_key.get_secret_value()}"]))
        running.callback(ended, stackkit.root(strict, **stack.values()))
        # EC2's part.
        running.callback(Process([sys.executable, "-m", "irs.local.instances"],
                                 environment(hosts), directory).stop)
        up = Process([sys.executable, "-m", "irs", "up", "--no-create"], environment(
            settings_module.build({"port": 0, "model_dir": model_dir, "engine_threads": 1})), tmp_path)
        running.callback(up.stop)
        url = until(lambda: up.said("/upload") and re.search(r"(http://\S+)/upload", up.output))[1]
        body, kind = form(("coffee.jpg", photos["coffee"]))
        with urllib.request.urlopen(urllib.request.Request(
                f"{url}/upload", body, {"Content-Type": kind}), timeout=90) as answer:
            assert answer.read() == b"(coffee, espresso)\n"
        assert up.stop() == 0, up.output


def ended(person: Settings) -> None:
    """The cluster's instances are to end: those of `irs up` on a cloud that is not its own stay."""
    fleet = Fleet(person)
    fleet.terminate([instance.id for instance in fleet.describe()])
