"""What `irs doctor` looks at: each check says what it found and how to mend it.

Nothing is changed anywhere. A check that cannot be made because an earlier one failed is
left out rather than failed: one cause, one line.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from irs import errors, settings
from irs.aws import probe, provision
from irs.aws.fleet import Fleet
from irs.aws.queues import Queue
from irs.model import exported, installed
from irs.settings import Settings

Level = Literal["ok", "warn", "fail"]

#: Seconds between clocks beyond which SigV4 refuses a signature:
#: https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
CLOCK_REFUSED = 300
#: Seconds beyond which a clock is plainly not kept by NTP.
CLOCK_ODD = 30
#: Bytes: below, the embedded cloud cannot store a few hundred uploads.
DISK_FULL = 200_000_000
#: Bytes: below, a model's download and export may fail.
DISK_LOW = 1_000_000_000
_AWS_ITSELF = ("IRS_AWS_ENDPOINT_URL is unset, which means AWS itself; for the embedded cloud start "
               "`irs up` in this directory and ask again")
_MAY_LOG = "allow logs:CreateLogStream and logs:PutLogEvents on its streams (docs/settings.md)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    level: Level
    #: what was found
    found: str
    #: what to do about it; empty where nothing is to be done
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "level": self.level, "found": self.found, "mend": self.mend}


def run() -> Iterator[Check]:
    """Every check, in the order in which one depends on another."""
    try:
        loaded = settings.load()
    except errors.SettingsError as exc:
        yield Check(name="settings", level="fail", found=str(exc),
                    mend="correct the variable in the environment or .env; docs/settings.md explains it")
        return
    yield from check_names()
    yield from check_cloud(loaded)
    yield check_model(loaded)
    if loaded.engine != "auto":
        yield check_engine(loaded)
    yield check_disk(loaded)


def check_names() -> Iterator[Check]:
    """Settings parse; variables that look like settings and are none are named."""
    strays = settings.unknown()
    if not strays:
        yield Check(name="settings", level="ok", found="all parse, none is misspelt")
    for name, meant in strays:
        yield Check(name="settings", level="warn", found=f"{name} is no setting and has no effect",
                    mend=f"did you mean {meant}?" if meant else "remove it")


def check_cloud(loaded: Settings) -> Iterator[Check]:
    """The endpoint and, where it answers, all that should be there."""
    try:
        answer = probe.endpoint(loaded)
    except errors.CloudError as exc:
        yield Check(
            name="endpoint", level="fail", found=str(exc),
            mend="start the embedded cloud with `irs up`, or correct IRS_AWS_ENDPOINT_URL"
            if loaded.aws_endpoint_url else f"{_AWS_ITSELF}; otherwise check the network and IRS_REGION")
        return
    yield Check(name="endpoint", level="ok", found=f"{answer.url} answers")
    yield check_clock(answer)
    try:
        arn = probe.identity(loaded)
    except errors.CloudError as exc:
        yield Check(
            name="credentials", level="fail", found=str(exc),
            mend="set IRS_AWS_ACCESS_KEY_ID and IRS_AWS_SECRET_ACCESS_KEY, or give boto3 a profile "
                 "or an instance profile" + ("" if loaded.aws_endpoint_url else f"; {_AWS_ITSELF}"))
        return
    yield Check(name="credentials", level="ok", found=arn)
    yield from check_storage(loaded)
    for bucket in loaded.source_buckets:
        yield _asked(f"source bucket {bucket}", functools.partial(_readable, loaded, bucket),
                     "correct IRS_SOURCE_BUCKETS, or allow s3:ListBucket and s3:GetObject there")
    if loaded.remote_control:
        yield _asked("remote control", lambda: f"SNS answers, topics: {probe.topics(loaded)}",
                     "allow sns:ListTopics (docs/operations.md), or set IRS_REMOTE_CONTROL=false")
    yield _asked("instances", lambda: _fleet(loaded), "allow ec2:DescribeInstances")
    if loaded.log_group is not None:
        yield from check_logs(loaded, loaded.log_group)


def check_clock(answer: probe.Answer) -> Check:
    """Our clock against the endpoint's."""
    if answer.ahead is None:
        return Check(name="clock", level="warn", found="the endpoint tells no time",
                     mend="compare this machine's clock by hand")
    off = abs(answer.ahead)
    found = f"{off:.0f} s {'ahead of' if answer.ahead > 0 else 'behind'} the endpoint's"
    if off > CLOCK_ODD:
        return Check(name="clock", level="fail" if off > CLOCK_REFUSED else "warn", found=found,
                     mend=f"set this machine's clock by NTP: AWS refuses signatures "
                          f"{CLOCK_REFUSED} s off")
    return Check(name="clock", level="ok", found=found)


def check_storage(loaded: Settings) -> Iterator[Check]:
    """Buckets, queues, the redrive policy and the visibility timeout."""
    try:
        findings = provision.ensure(loaded, create=False)
    except errors.CloudError as exc:
        yield Check(name="buckets and queues", level="fail", found=str(exc),
                    mend="allow the call (docs/operations.md), or correct the name")
        return
    for finding in findings:
        found, _, mend = finding.detail.partition(": ")
        yield Check(name=finding.name, level="ok" if finding.ok else "fail",
                    found=finding.detail if finding.ok else found, mend="" if finding.ok else mend)
    there = {finding.name for finding in findings if finding.ok}
    for name, queue, check in (("visibility timeout", loaded.input_queue, check_visibility),
                               ("dead letters", loaded.dead_letter_queue, check_dead_letters)):
        if f"queue {queue}" in there:
            try:
                yield check(loaded)
            except errors.CloudError as exc:
                yield Check(name=name, level="fail", found=str(exc),
                            mend=f"allow sqs:GetQueueAttributes on {queue}")


def check_visibility(loaded: Settings) -> Check:
    """The queue's own visibility timeout is the one that workers renew by."""
    queue = Queue(loaded, loaded.input_queue)
    found = int(queue.attributes("VisibilityTimeout").get("VisibilityTimeout", 0))
    wanted = loaded.visibility_timeout
    if found == wanted:
        return Check(name="visibility timeout", level="ok", found=f"{found} s")
    return Check(
        name="visibility timeout", level="warn", found=f"{found} s, IRS_VISIBILITY_TIMEOUT is {wanted} s",
        mend=f"set IRS_VISIBILITY_TIMEOUT={found}, or: aws sqs set-queue-attributes --queue-url "
             f"{queue.url} --attributes VisibilityTimeout={wanted}")


def check_dead_letters(loaded: Settings) -> Check:
    """Messages that no worker could finish wait for a person."""
    count = Queue(loaded, loaded.dead_letter_queue).depth().visible
    if not count:
        return Check(name="dead letters", level="ok", found="none")
    return Check(name="dead letters", level="warn", found=f"{count} in {loaded.dead_letter_queue}",
                 mend="see docs/operations.md, “There are dead letters”")


def check_logs(loaded: Settings, group: str) -> Iterator[Check]:
    """The log group is there, and where logs are shipped by this role it may be written to."""
    try:
        parts = probe.streams(loaded, group)
    except errors.CloudError as exc:
        mend = ("the stack makes it (docs/deploy.md), or: aws logs create-log-group --log-group-name "
                f"{group}; or correct IRS_LOG_GROUP" if isinstance(exc, errors.NoGroup) else
                _MAY_LOG if isinstance(exc, errors.AccessDenied) else
                "unset IRS_LOG_GROUP where there is no CloudWatch Logs, as in the embedded cloud")
        yield Check(name=f"log group {group}", level="fail", found=str(exc), mend=mend)
        return
    yield Check(name=f"log group {group}", level="ok", found="there")
    yield Check(name="shipping of logs", level="ok" if parts else "warn",
                found=f"may be written to by this role, streams {', '.join(f'{part}/…' for part in parts)}"
                if parts else "may not be written to by this role",
                mend="" if parts else f"nothing where it only reads them; where it ships them {_MAY_LOG}")


def check_model(loaded: Settings) -> Check:
    """The exported model file against its recorded sha256; reads the file, loads no engine."""
    mend = "`irs model export` makes it now"
    try:
        found = exported.find(loaded)
    except errors.ModelError as exc:
        return Check(name="model", level="fail", found=str(exc), mend="docs/settings.md, “Model”")
    if found is not None:
        return Check(name="model", level="ok", found=f"{_short(found.path)}, sha256 as recorded")
    if any(loaded.model_dir.glob(f"{loaded.model}-*.sha256")):
        return Check(name="model", level="fail", mend=mend,
                     found=f"the export of {loaded.model} in {_short(loaded.model_dir.absolute())} is "
                           "damaged, or from other weights or another version")
    return Check(name="model", level="warn", mend=f"nothing: the first instance exports it; or {mend}",
                 found=f"{loaded.model} is not exported yet in {_short(loaded.model_dir.absolute())}")


def check_engine(loaded: Settings) -> Check:
    """The engine that is asked for is installed: workers need it, the other tiers do not."""
    how = installed.lacking(loaded.engine)
    if how is None:
        return Check(name="engine", level="ok", found=f"{loaded.engine} is installed")
    return Check(name="engine", level="warn", found=f"IRS_ENGINE={loaded.engine} is not installed here",
                 mend=f"nothing where no worker runs; else {how}")


def check_disk(loaded: Settings) -> Check:
    """Room in the state directory."""
    place = loaded.state_dir.absolute()
    existing = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free in {_short(place)}"
    if free >= DISK_LOW:
        return Check(name="disk", level="ok", found=found)
    return Check(name="disk", level="fail" if free < DISK_FULL else "warn", found=found,
                 mend="make room, or set IRS_STATE_DIR to another disk")


def _fleet(loaded: Settings) -> str:
    found = Fleet(loaded).describe()
    running = sum(instance.state == "running" for instance in found)
    return f"{running} running of at most {loaded.max_instances} in cluster {loaded.cluster}"


def _asked(name: str, ask: Callable[[], str], mend: str) -> Check:
    try:
        return Check(name=name, level="ok", found=ask())
    except errors.CloudError as exc:
        return Check(name=name, level="fail", found=str(exc), mend=mend)


def _readable(loaded: Settings, bucket: str) -> str:
    probe.readable(loaded, bucket)
    return "there"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
