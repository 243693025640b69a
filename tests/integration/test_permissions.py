"""Each tier under its own role, on an emulator that refuses: what it needs it has, and no more."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from irs import doctor, errors
from irs import settings as settings_module
from irs.aws import clients
from irs.aws.faults import translated
from irs.aws.fleet import Fleet
from irs.aws.logs import Group
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.domain import chronicle, keys, observing
from irs.settings import Settings
from irs.testing.proxy import Proxy
from tests.integration import stackkit
from tests.integration.conftest import Process, Web, environment, form, until
from tests.integration.stackkit import TIERS, Record, Stack
from tests.receiver import receiving
from tests.unit.audit import auditkit

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PHOTOS = "photos-of-others"
#: An operator's key, and an hour of the history that is over for long.
OPERATOR, OLD = "an-operator-has-a-key", "2020-01-01T00.json"
#: What a proxy that ends TLS says of a request.
OVER_TLS = (("X-Forwarded-Proto", "https"),)
_LOGS = {"logs:CreateLogStream": "irs logs ship (test_stack.py)", "logs:PutLogEvents": "irs logs ship"}
#: Allowed, and not (or not always) seen in use below: why it is there all the same.
UNSEEN = {
    "Web": _LOGS | {
        "sqs:TagQueue": "CreateQueue with tags, and a sign of life every ten minutes",
        "ssm:GetParameter": "the image's boot: IRS_API_KEYS, IRS_OPERATOR_KEYS, IRS_CALLBACK_SECRET",
    },
    "Worker": _LOGS | {
        "s3:DeleteObject": "suspects/: an image that may have killed its worker",
        "s3:ListBucket": "S3 tells who has it that an object is not there, others that it is denied",
        "sns:TagResource": "CreateTopic with tags",
        "sqs:ChangeMessageVisibility": "an image that takes long; what a drain hands back",
        "sqs:TagQueue": "CreateQueue with tags, and a sign of life every ten minutes",
        "ec2:DescribeInstances": "IRS_IDLE_SHUTDOWN without a scaler",
        "ec2:StopInstances": "IRS_IDLE_SHUTDOWN into a warm pool",
        "ec2:TerminateInstances": "IRS_IDLE_SHUTDOWN",
    },
    "Scaler": _LOGS | {
        "ec2:CreateTags": "RunInstances with tags",
        "ec2:StartInstances": "IRS_WARM_POOL",
        "ec2:StopInstances": "IRS_WARM_POOL",
        "ec2:TerminateInstances": "an instance that is not needed, after its first billed minute",
        "iam:PassRole": "RunInstances with a profile",
    },
}


@dataclass
class Deployment:
    """Web tier, scaler and hosts on what the stack made."""

    settings: Settings
    record: Record
    web: Web
    running: ExitStack
    #: the job whose message is a dead letter
    dead: str
    #: who may ask workers and see their events, as is documented
    watcher: Settings

    def end(self) -> None:
        """SIGTERM to all, and their ends."""
        self.running.close()

    def post(self, path: str, document: Any, **headers: str) -> Any:
        return self.web.call("POST", path, json.dumps(document).encode(), {
            "Content-Type": "application/json", "Prefer": "wait=60",
            **{name.replace("_", "-"): value for name, value in headers.items()}})


@pytest.fixture(scope="module")
def stack(strict: str) -> Stack:
    return Stack(strict, "irs", SourceBuckets=PHOTOS, IdleShutdown="600", MaxInstances="1",
                 MoreSettings="IRS_TASK_EVENTS=true")


@pytest.fixture(scope="module")
def other(strict: str) -> Stack:
    """Another cluster in the same account."""
    return Stack(strict, "two", Cluster="two", InputQueueName="two-in", OutputQueueName="two-out",
                 DeadLetterQueueName="two-dead")


@pytest.fixture(scope="module")
def deployment(strict: str, stack: Stack, model_dir: Path, photos: dict[str, bytes],
               tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    roles = {tier: stack.role(tier) for tier in ("Web", "Scaler")}
    record = Record({role["AWS_ACCESS_KEY_ID"]: tier for tier, role in roles.items()})
    with ExitStack() as running:
        proxy = running.enter_context(Proxy(strict, adds=OVER_TLS, heard=record.hear))
        settings = settings_module.build(stack.values() | {
            "aws_endpoint_url": proxy.endpoint, "poll_wait": 1, "engine_threads": 1, "reuse": "shared",
            "callback_secret": "s" * 24, "callback_networks": "127.0.0.0/8",
            "operator_keys": f"ops:{OPERATOR}", "worker_metrics_port": 0})
        person = owner(strict, settings)
        leave(person)
        # Whoever owns the hosts is no tier of ours.
        hosts = stackkit.root(strict, model_dir=model_dir, state_dir=directory, cluster=settings.cluster,
                              instance_profile=settings.instance_profile)
        web = Web(settings, directory, **roles["Web"])
        running.callback(web.stop)
        until(web.ready, what="web ready")
        dead = bury(person, web, photos["rocket"])
        watcher = running.enter_context(stack.person(endpoint=strict, allowed=watching()))
        scaler = str(stackkit.ROOT / "tests/integration/quick_scaler.py")
        for command, env in ((["-m", "irs.local.instances"], environment(hosts)),
                             ([scaler], environment(settings, **roles["Scaler"]))):
            running.callback(Process([sys.executable, *command], env, directory).stop)
        yield Deployment(settings, record, web, running, dead, watcher)


def watching() -> list[dict[str, Any]]:
    narrow, wide = stackkit.documented("`celery inspect`, `control`, `events`")
    ours = [f"arn:aws:{service}:us-east-1:000000000000:irs-ctl-*" for service in ("sqs", "sns")]
    return [{"Action": narrow, "Resource": ours}, {"Action": wide, "Resource": "*"}]


def leave(root: Settings) -> None:
    """What was there before: a letter of nobody's, an old hour of the history, secrets."""
    Queue(root, root.dead_letter_queue).send("no task of ours")
    Objects(root, root.output_bucket).put(chronicle.folder(root.cluster) + OLD, b"{}")
    clients.client(root, "ssm").put_parameter(
        Name=f"/irs/{root.cluster}/web", Type="SecureString", Value=f"IRS_OPERATOR_KEYS=ops:{OPERATOR}")


def bury(root: Settings, web: Web, photo: bytes) -> str:
    """A job whose receives are spent, one after the other, by nobody who does it; its id."""
    work, dead = Queue(root, root.input_queue), Queue(root, root.dead_letter_queue)
    job = web.call("POST", "/v1/images?name=rocket.jpg", photo, {"Content-Type": "image/jpeg"})

    def spent() -> bool:
        work.receive(wait=0, visibility=0)
        depth = dead.depth()
        return depth.visible + depth.in_flight == 2

    until(spent, 30, "a dead letter")
    return str(job.json["id"])


# -- the service ------------------------------------------------------------------------------
def test_an_upload_gets_its_label_from_an_instance_that_was_launched_for_it(
        deployment: Deployment, photos: dict[str, bytes]) -> None:
    answer = deployment.web.upload(("coffee.jpg", photos["coffee"]))
    assert (answer.status, answer.text) == (200, "(coffee, espresso)\n"), deployment.record.refused()
    assert "ec2:RunInstances" in deployment.record.actions("Scaler")


def test_workers_answer_celery(deployment: Deployment, strict: str) -> None:
    """A person asks, with the rights that are documented; the worker's own are what its answer needs."""
    instance = next(i for i in Fleet(owner(strict, deployment.settings)).describe() if i.active)
    command = [sys.executable, "-m", "celery", "-A", "irs", "inspect", "ping", "--timeout", "20",
               "--destination", f"worker@{instance.id}"]
    done = subprocess.run(command, env=environment(deployment.watcher), cwd=stackkit.ROOT,
                          capture_output=True, text=True, timeout=60, check=False)
    assert "1 node online" in done.stdout, done.stdout + done.stderr
    assert deployment.record.refused() == []


def test_celery_shows_their_events(
        deployment: Deployment, photos: dict[str, bytes], tmp_path: Path) -> None:
    with ExitStack() as running:
        events = Process([sys.executable, "-m", "celery", "-A", "irs", "events", "--dump"],
                         environment(deployment.watcher), tmp_path)
        running.callback(events.stop)

        def seen() -> bool:
            # Bytes of their own, so that they are classified; the monitor may not listen yet.
            deployment.web.upload(("new.jpg", photos["rocket"] + secrets.token_bytes(4)))
            return events.said("task succeeded: irs.classify")

        until(seen, 45)
    assert deployment.record.refused() == []


def test_images_from_elsewhere(deployment: Deployment, strict: str, photos: dict[str, bytes]) -> None:
    s3 = clients.client(stackkit.root(strict), "s3")
    s3.create_bucket(Bucket=PHOTOS)
    s3.put_bucket_versioning(Bucket=PHOTOS, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=PHOTOS, Key="a/rocket.jpg", Body=photos["rocket"])["VersionId"]
    named = {"S3Object": {"Bucket": PHOTOS, "Name": "a/rocket.jpg", "Version": version}}
    found = deployment.post("/", {"Image": named}, X_Amz_Target="RekognitionService.DetectLabels",
                            Content_Type="application/x-amz-json-1.1")
    assert (found.status, "Labels" in found.json) == (200, True), found.text

    ticket = deployment.post("/v1/uploads", {
        "name": "cat.jpg", "size": len(photos["chelsea"]), "content_type": "image/jpeg"}).json
    urllib.request.urlopen(urllib.request.Request(
        ticket["url"], photos["chelsea"], {"Content-Type": "image/jpeg"}, method="PUT")).close()
    assert deployment.post("/v1/images", {"upload": ticket["id"]}).json["status"] == "done"
    assert deployment.record.refused() == []


def test_batches_repeats_callbacks_and_cancelled_jobs(
        deployment: Deployment, photos: dict[str, bytes]) -> None:
    web = deployment.web
    same = [deployment.post("/v1/images", {"s3": f"s3://{PHOTOS}/a/rocket.jpg"}, Idempotency_Key="k").json
            for _ in range(2)]
    assert same[0]["id"] == same[1]["id"]
    batch = deployment.post("/v1/batches", {"s3": f"s3://{PHOTOS}/a/"}).json
    until(lambda: web.call("GET", f"/v1/batches/{batch['id']}").json["status"] == "done", 30)
    body, kind = form(("astronaut.jpg", photos["astronaut"]))
    with receiving() as receiver:
        field = (f'--{kind.partition("boundary=")[2]}\r\nContent-Disposition: form-data; '
                 f'name="callback_url"\r\n\r\n{receiver.url()}\r\n').encode()
        sent = web.call("POST", "/v1/images", field + body, {"Content-Type": kind})
        assert sent.status in (200, 202), sent.text
        until(lambda: receiver.calls, 30)
    # It moves from callbacks/ to called/.
    until(lambda: ("s3:DeleteObject", deployment.settings.output_bucket) in {
        (call.action, call.target) for call in deployment.record.calls("Web")}, 10)
    assert web.call("GET", "/v1/stats").status == 200
    assert deployment.record.refused() == []


def test_an_operator_sends_a_dead_letter_back(deployment: Deployment, strict: str) -> None:
    web, dead, key = deployment.web, deployment.dead, {"Authorization": f"Bearer {OPERATOR}"}
    assert [web.call("GET", path).status for path in ("/dashboard", "/v1/dead-letters")] == [401, 401]
    assert web.call("GET", "/dashboard", headers=key).status == 200
    failed = web.call("GET", f"/v1/images/{dead}", headers={"Prefer": "wait=60"}).json
    assert failed["error"]["code"] == "dead_letter"
    # Another look, the web tier's own, may hide one of them for a moment.
    until(lambda: {row["id"] for row in web.call("GET", "/v1/dead-letters", headers=key).json["letters"]
                   if row["job"]} == {dead}, 60)
    picture = web.call("GET", f"/v1/dead-letters/{dead}/thumbnail", headers=key)
    assert (picture.status, picture.headers["Content-Type"]) == (200, "image/jpeg")
    body = json.dumps({"ids": [dead]}).encode()

    def sent() -> bool:
        answer = web.call("POST", "/v1/dead-letters/redrive", body,
                          key | {"Content-Type": "application/json"})
        return answer.status == 200 and answer.json["counts"]["sent"] == 1

    until(sent, 60)
    until(lambda: web.call("GET", f"/v1/images/{dead}").json["status"] == "done", 30)
    depth = Queue(owner(strict, deployment.settings), deployment.settings.dead_letter_queue).depth()
    assert depth.visible + depth.in_flight == 1, "what is no task of ours stays"
    assert deployment.record.refused() == []


def test_the_fleet_is_seen_through_the_web_tier(deployment: Deployment, strict: str) -> None:
    web, person = deployment.web, owner(strict, deployment.settings)
    instance = next(i for i in Fleet(person).describe() if i.active)
    (target,) = until(lambda: web.call("GET", "/v1/targets").json, 30)
    assert target["labels"] == {"cluster": "irs", "instance": instance.id}
    # An hour's object is written, old ones are deleted, dead letters are counted.
    shelf, folder = Objects(person, person.output_bucket), chronicle.folder(person.cluster)
    kept = until(lambda: (now := list(shelf.keys(folder))) and folder + OLD not in now and now, 90)
    assert kept
    points = until(lambda: web.call("GET", "/v1/stats/history").json["points"], 90)
    assert points[-1]["dead"] is not None
    assert web.call("GET", "/v1/stats").json["queue"]["dead"] == 1
    assert deployment.record.refused() == []


def owner(strict: str, settings: Settings) -> Settings:
    """The account's owner, who asks for this deployment."""
    names = ("cluster", "input_bucket", "output_bucket", "input_queue", "output_queue", "dead_letter_queue")
    return stackkit.root(strict, **{name: getattr(settings, name) for name in names})


# -- no more than that ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def people(strict: str, stack: Stack, deployment: Deployment) -> Iterator[dict[str, Settings]]:
    """Settings of a user for each tier, who has its policy alone."""
    deployment.end()  # nobody is to boot what is launched from here on
    with ExitStack() as made:
        proxy = made.enter_context(Proxy(strict, adds=OVER_TLS))
        yield {tier: made.enter_context(stack.person(tier, endpoint=proxy.endpoint)) for tier in TIERS}


IMAGE, RESULT = f"{uuid.UUID(int=1)}/x.jpg", f"{uuid.UUID(int=1)}.json"
CHANGED = {
    "another image": {"ami": "ami-00000000"},
    "another type": {"instance_type": "p5.48xlarge"},
    "another cluster's tag": {"cluster": "two"},
    "no template, so no encrypted disk": {"launch_template": None},
    "no profile": {"instance_profile": None},
    "another subnet": {"subnet_ids": ("subnet-00000003",)},
    "another security group": {"security_group_ids": ("sg-00000001",)},
    "a stronger role": {"instance_profile": "WebProfile"},
}


def attempts(s: Settings, other: dict[str, str]) -> dict[str, Callable[[], object]]:
    """What one may try, by name."""
    inputs, outputs = Objects(s, s.input_bucket), Objects(s, s.output_bucket)
    theirs = Objects(s, other["input_bucket"])
    work, dead = Queue(s, s.input_queue), Queue(s, s.dead_letter_queue)
    report, hour = observing.folder(s.cluster) + "i-0.json", chronicle.folder(s.cluster) + OLD
    sns, logs = clients.client(s, "sns"), clients.client(s, "logs")
    ssm = clients.client(s, "ssm")

    def log(stream: str) -> None:
        with translated("PutLogEvents"):
            logs.put_log_events(logGroupName=s.log_group, logStreamName=stream,
                                logEvents=[{"timestamp": 1, "message": "x"}])

    def secret(name: str) -> None:
        with translated("GetParameter"):
            ssm.get_parameter(Name=name)

    def unsubscribe(topic: str) -> None:
        with translated("Unsubscribe"):
            sns.unsubscribe(SubscriptionArn=f"arn:aws:sns:{s.region}:000000000000:{topic}:{uuid.uuid4()}")

    return {
        "read an image": lambda: inputs.get(IMAGE), "list images": lambda: list(inputs.keys()),
        "store an image": lambda: inputs.put(IMAGE, b""), "delete an image": lambda: inputs.delete(IMAGE),
        "read a result": lambda: outputs.get(RESULT), "write a result": lambda: outputs.put(RESULT, b"{}"),
        "delete a result": lambda: outputs.delete(RESULT),
        "write the journal": lambda: outputs.put(f"scaler/{s.cluster}.json", b"{}"),
        "write another cluster's journal": lambda: outputs.put("scaler/two.json", b"{}"),
        "read the journal": lambda: outputs.get(f"scaler/{s.cluster}.json"),
        "delete the journal": lambda: outputs.delete(f"scaler/{s.cluster}.json"),
        "read an hour of the history": lambda: outputs.get(hour),
        "write an hour of the history": lambda: outputs.put(hour, b"{}"),
        "delete an hour of the history": lambda: outputs.delete(hour),
        "read a report": lambda: outputs.get(report), "write a report": lambda: outputs.put(report, b"{}"),
        "delete a report": lambda: outputs.delete(report),
        "mark a suspect": lambda: outputs.put("suspects/x", b""),
        "receive a task": lambda: work.receive(wait=0), "send a task": lambda: work.send("x"),
        "purge the tasks": work.purge, "delete the queue": work.drop,
        "count the dead letters": dead.depth, "look at a dead letter": lambda: dead.receive(wait=0),
        "take a dead letter out": lambda: dead.delete_batch(["AQEB"]),
        "bury a message": lambda: dead.send("x"),
        "read another cluster's queue": lambda: Queue(s, other["input_queue"]).receive(wait=0),
        "read another cluster's images": lambda: theirs.get(IMAGE),
        "unsubscribe a queue of ours": lambda: unsubscribe(f"{s.cluster}-ctl-x"),
        "unsubscribe another cluster's queue": lambda: unsubscribe("two-ctl-x"),
        "log as the web tier": lambda: log("web/i-0"), "log as a worker": lambda: log("workers/i-0"),
        "log as the scaler": lambda: log("scaler/i-0"),
        "read the logs": lambda: list(Group(s, s.log_group or "").events(datetime.now(UTC))),
        "read the secrets": lambda: secret(f"/irs/{s.cluster}/web"),
        "read another cluster's secrets": lambda: secret("/irs/two/web"),
        "make a queue": lambda: Queue(s, "two-ctl-mine").create(),
        "see the fleet": Fleet(s).describe,
        "launch": lambda: Fleet(s).launch("x", token=secrets.token_hex(16), user_data=""),
    }


#: Attempts that are allowed; every other one must be refused.
ALLOWED = {
    "Web": {"read an image", "list images", "store an image", "delete an image", "read a result",
            "write a result", "delete a result", "read the journal", "read an hour of the history",
            "read a report", "send a task", "count the dead letters", "look at a dead letter",
            "take a dead letter out", "log as the web tier", "read the secrets"},
    # It reads the journal as it may end itself: IdleShutdown.
    "Worker": {"read an image", "list images", "read a result", "write a result", "read the journal",
               "write a report", "mark a suspect", "receive a task", "unsubscribe a queue of ours",
               "log as a worker", "see the fleet"},
    "Scaler": {"write the journal", "read the journal", "read an hour of the history",
               "write an hour of the history", "delete an hour of the history", "read a report",
               "delete a report", "count the dead letters", "log as the scaler", "see the fleet", "launch"},
}


@pytest.mark.parametrize("tier", TIERS)
def test_what_a_tier_may_not_is_refused(people: dict[str, Settings], other: Stack, tier: str) -> None:
    found = set()
    for name, attempt in attempts(people[tier], other.values()).items():
        try:
            attempt()
        except errors.AccessDenied:
            continue
        except errors.NotFound:
            pass  # it was looked for
        found.add(name)
    assert found == ALLOWED[tier]


def test_the_scaler_launches_nothing_but_app_instances(
        people: dict[str, Settings], stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(people["Scaler"])

    def launched(**how: Any) -> bool:
        try:
            return fleet.launch("x", token=secrets.token_hex(16), user_data="", **how).active
        except errors.AccessDenied:
            return False

    assert launched()
    assert not launched(spot=True), "the stack was not told of any"
    for what, fields in CHANGED.items():
        profile = stack.resources().get(str(fields.get("instance_profile")), "").rpartition("/")[2]
        changed = fields | ({"instance_profile": profile} if profile else {})
        # The same client for all: to make one takes longer than all of its calls.
        monkeypatch.setattr(fleet, "_settings", people["Scaler"].model_copy(update=changed))
        assert not launched(), what


def test_doctor_names_each_permission_that_is_missing(people: dict[str, Settings]) -> None:
    s = people["Scaler"]
    wrong = {check.name: check.mend for check in doctor.check_cloud(s) if check.level == "fail"}
    assert wrong == {
        f"bucket {s.input_bucket}": f"allow s3:ListBucket on arn:aws:s3:::{s.input_bucket}",
        f"queue {s.output_queue}": f"allow sqs:GetQueueUrl on {s.output_queue}",
        f"source bucket {PHOTOS}":
            "correct IRS_SOURCE_BUCKETS, or allow s3:ListBucket and s3:GetObject there",
        "remote control": "allow sns:ListTopics (docs/operations.md), or set IRS_REMOTE_CONTROL=false",
    }


def test_a_person_audits_and_redrives_with_what_is_documented(
        people: dict[str, Settings], stack: Stack, strict: str) -> None:
    endpoint, root = people["Web"].aws_endpoint_url or "", stackkit.root(strict, **stack.values())
    job, stray, dead = auditkit.job(), auditkit.job(), Queue(root, root.dead_letter_queue)
    Objects(root, root.input_bucket).put(job.key, b"no matter")
    Objects(root, root.output_bucket).delete(RESULT)  # which was tried above
    for each in (job, stray):
        Objects(root, root.output_bucket).put(keys.output_key(each.id), auditkit.failed(each).to_json())
    dead.send(auditkit.message(job))
    found = {action for who in ("`irs audit`", "`irs redrive`")
             for part in stackkit.documented(who) for action in part}
    buckets = [f"arn:aws:s3:::{name}{rest}" for name in (root.input_bucket, root.output_bucket)
               for rest in ("", "/*")]
    queues = [f"arn:aws:sqs:us-east-1:000000000000:{name}" for name in (root.input_queue, dead.name)]
    allowed = [{"Action": sorted(a for a in found if a.startswith(service)), "Resource": those}
               for service, those in (("s3:", buckets), ("sqs:", queues))]
    with stack.person(endpoint=endpoint, allowed=allowed) as person:
        for command, says, code in ((["audit"], f"result without upload:\n  {stray.id}", 1),
                                    (["redrive", job.id], f"{job.id}  sent", 0)):
            done = subprocess.run([sys.executable, "-m", "irs", *command], env=environment(person),
                                  capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (code, "")
            assert says in done.stdout
    assert list(Objects(root, root.output_bucket).keys(job.id)) == []


def test_only_app_instances_of_the_cluster_can_be_ended(people: dict[str, Settings], strict: str) -> None:
    ec2 = clients.client(stackkit.root(strict), "ec2")

    def made(cluster: str, role: str) -> str:
        tags = [{"Key": "irs:cluster", "Value": cluster}, {"Key": "irs:role", "Value": role}]
        (instance,) = ec2.run_instances(
            ImageId="ami-00000000", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])["Instances"]
        return str(instance["InstanceId"])

    ours, web, theirs = made("irs", "app"), made("irs", "web"), made("two", "app")
    for tier in ("Scaler", "Worker"):
        for target in ([web], [theirs], [ours, theirs]):
            with pytest.raises(errors.AccessDenied):
                Fleet(people[tier]).terminate(target)
    with pytest.raises(errors.AccessDenied):
        Fleet(people["Web"]).terminate([ours])
    Fleet(people["Scaler"]).terminate([ours])
    assert Fleet(people["Scaler"]).ended([ours]) == {ours}


@pytest.mark.parametrize("tier", TIERS)
def test_a_policy_allows_what_was_used_and_what_is_accounted_for(
        deployment: Deployment, stack: Stack, tier: str) -> None:
    deployment.end()  # which uses some as well
    assert deployment.record.refused() == []
    allowed, used = stackkit.actions(stack.policy(tier)), deployment.record.actions(tier)
    for call in deployment.record.calls(tier):  # to be read with `pytest -s`
        print(f"{tier:7} {call.action:30} {call.target}")
    assert used <= allowed
    assert allowed - used <= UNSEEN[tier].keys() <= allowed


def test_what_processes_made_for_themselves_went_with_them(deployment: Deployment, strict: str) -> None:
    deployment.end()
    root = stackkit.root(strict)
    names = {url.rpartition("/")[2] for url in clients.client(root, "sqs").list_queues()["QueueUrls"]}
    s = deployment.settings
    assert names - {"two-in", "two-out", "two-dead"} == {s.input_queue, s.output_queue, s.dead_letter_queue}
    assert clients.client(root, "sns").list_subscriptions()["Subscriptions"] == []
