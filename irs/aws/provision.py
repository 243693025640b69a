"""Buckets and queues: made where they are missing, or found missing and said so.

`python -m irs.aws.provision` makes them, for a cloud that nothing else has filled; `irs up`
does the same.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
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
_REDRIVE = "redrive policy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that should be there."""

    name: str
    ok: bool
    #: what was found, or what to do about it
    detail: str


def ensure(settings: Settings, *, create: bool = True) -> list[Finding]:
    """Check buckets, lifecycle rules, queues and the redrive policy; make what is missing if ``create``.

    Where nothing is to be made, a call that is denied is a finding, which names the permission.
    Raises `irs.errors.CloudError` where the endpoint cannot be asked.
    """
    dead = Queue(settings, settings.dead_letter_queue)
    work = Queue(settings, settings.input_queue)
    announce = Queue(settings, settings.output_queue)
    looks: list[tuple[str, str, Callable[[], Finding]]] = [
        (f"bucket {name}", f"s3:ListBucket on arn:aws:s3:::{name}",
         functools.partial(_bucket, settings, name, create))
        for name in (settings.input_bucket, settings.output_bucket)]
    looks += [
        (f"queue {queue.name}", f"sqs:GetQueueUrl on {queue.name}",
         functools.partial(_queue, queue, create, attributes))
        for queue, attributes in (
            (dead, {"MessageRetentionPeriod": str(DEAD_RETENTION)}),
            (work, {"VisibilityTimeout": str(settings.visibility_timeout),
                    "ReceiveMessageWaitTimeSeconds": str(settings.poll_wait)}),
            (announce, {"MessageRetentionPeriod": str(ANNOUNCE_RETENTION)}))]
    looks.append((_REDRIVE, f"sqs:GetQueueAttributes on {work.name}",
                  functools.partial(_redrive, settings, work, dead, create)))
    return [_looked(name, permission, look, create) for name, permission, look in looks]


def _looked(name: str, permission: str, look: Callable[[], Finding], create: bool) -> Finding:
    try:
        return look()
    except errors.AccessDenied:
        if create:
            raise
        return Finding(name=name, ok=False, detail=f"denied: allow {permission}")


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
    label = _REDRIVE
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
