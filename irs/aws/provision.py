"""Buckets and queues: made where they are missing, or found missing and said so.

`python -m irs.aws.provision` makes them, for a cloud that nothing else has filled; `irs up`
does the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from irs import errors
from irs import settings as settings_module
from irs.aws import clients, expiry
from irs.aws.faults import translated
from irs.aws.queues import Queue
from irs.settings import Settings

#: SQS's longest, 14 days: a dead letter waits for a person.
DEAD_RETENTION = 1_209_600
#: Announcements are a convenience; results stay in S3. An hour bounds what nobody reads.
ANNOUNCE_RETENTION = 3_600


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that should be there."""

    name: str
    ok: bool
    #: what was found, or what to do about it
    detail: str


def ensure(settings: Settings, *, create: bool = True) -> list[Finding]:
    """Check buckets, lifecycle rules, queues and the redrive policy; make what is missing if ``create``.

    Raises `irs.errors.CloudError` where the endpoint cannot be asked.
    """
    findings = [_bucket(settings, name, create)
                for name in (settings.input_bucket, settings.output_bucket)]
    dead = Queue(settings, settings.dead_letter_queue)
    work = Queue(settings, settings.input_queue)
    announce = Queue(settings, settings.output_queue)
    findings.append(_queue(dead, create, {"MessageRetentionPeriod": str(DEAD_RETENTION)}))
    findings.append(_queue(work, create, {
        "VisibilityTimeout": str(settings.visibility_timeout),
        "ReceiveMessageWaitTimeSeconds": str(settings.poll_wait),
    }))
    findings.append(_queue(announce, create, {"MessageRetentionPeriod": str(ANNOUNCE_RETENTION)}))
    findings.append(_redrive(settings, work, dead, create))
    return findings


def _bucket(settings: Settings, name: str, create: bool) -> Finding:
    s3 = clients.client(settings, "s3")
    label = f"bucket {name}"
    try:
        with translated(label):
            s3.head_bucket(Bucket=name)
        wrong = expiry.ensure(settings, name, create=create)
        return Finding(name=label, ok=wrong is None, detail=wrong or "there")
    except errors.NotFound:
        if not create:
            return Finding(name=label, ok=False, detail="missing: `irs up` creates it")
    request = {"Bucket": name}
    if settings.region != "us-east-1":  # which S3 refuses to be named
        request["CreateBucketConfiguration"] = {"LocationConstraint": settings.region}
    with translated(f"S3 create {name}"):
        s3.create_bucket(**request)
    wrong = expiry.ensure(settings, name, create=True)
    return Finding(name=label, ok=wrong is None, detail=wrong or "created")


def _queue(queue: Queue, create: bool, attributes: dict[str, str]) -> Finding:
    label = f"queue {queue.name}"
    queue.forget_url()  # what was there once is not what is asked
    try:
        _ = queue.url
        return Finding(name=label, ok=True, detail="there")
    except errors.NotFound:
        if not create:
            return Finding(name=label, ok=False, detail="missing: `irs up` creates it")
    queue.create(attributes)
    return Finding(name=label, ok=True, detail="created")


def _redrive(settings: Settings, work: Queue, dead: Queue, create: bool) -> Finding:
    label = "redrive policy"
    wanted = (dead.name, settings.max_receive_count)
    try:
        found = work.redrive()
        if found == wanted:
            return Finding(name=label, ok=True, detail=f"to {dead.name} after {wanted[1]} receives")
        if create:
            work.redrive_to(dead, settings.max_receive_count)
            return Finding(name=label, ok=True, detail=f"set: to {dead.name} after {wanted[1]} receives")
    except errors.NotFound:
        return Finding(name=label, ok=False, detail="no queue to have one")
    return Finding(name=label, ok=False,
                   detail=f"is {found}, should be {wanted}: `irs up` sets it; without it a "
                          "failing task is received for ever")


def main() -> int:
    """A line for each; exit code 1 where one could not be made, 2 where nothing could be asked."""
    try:
        findings = ensure(settings_module.load())
    except errors.IRSError as exc:
        sys.stderr.write(f"irs: {exc}\n")
        return 2
    sys.stdout.writelines(f"{'ok' if f.ok else 'fail'}  {f.name}: {f.detail}\n" for f in findings)
    return 0 if all(f.ok for f in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
