"""Questions that only `irs doctor` asks: does it answer, who are we, what time is it there."""

from __future__ import annotations

import contextlib
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from irs import errors
from irs.aws import clients
from irs.aws.faults import translated
from irs.aws.logs import Group, Stream
from irs.settings import Settings

#: Seconds; the answer is a few bytes.
TIMEOUT = 5.0
#: What the names of a log group's streams begin with: each part's role has its own.
PARTS = ("web", "scaler", "workers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An endpoint's answer to a request without credentials."""

    url: str
    #: seconds that our clock is ahead of the endpoint's (negative: behind); None where it
    #: tells no time. The ``Date`` header has whole seconds.
    ahead: float | None


def endpoint(settings: Settings) -> Answer:
    """Ask the SQS endpoint anything; whatever it answers, it answers.

    Unsigned, because a signed request is refused where the clock is wrong. Raises
    `irs.errors.Unreachable`.
    """
    url = clients.endpoint(settings, "sqs")
    with translated(url):
        before = time.time()
        try:
            reply = urllib.request.urlopen(url, timeout=TIMEOUT)  # noqa: S310 - settings allow http(s) only
        except urllib.error.HTTPError as refusal:  # 400 and 403 are answers as good as 200
            reply = refusal
        except urllib.error.URLError as wrapped:
            raise OSError(errors.words(wrapped)) from wrapped
        with contextlib.closing(reply):
            date = reply.headers.get("Date")
    # Half the round trip has passed since the endpoint wrote its time, and half of the
    # second it was in, on average.
    ours = (before + time.time()) / 2
    ahead = None if date is None else ours - parsedate_to_datetime(date).timestamp() - 0.5
    return Answer(url=url, ahead=ahead)


def identity(settings: Settings) -> str:
    """The ARN that the credentials belong to; raises `irs.errors.CloudError`."""
    sts = clients.client(settings, "sts")
    with translated("STS GetCallerIdentity"):
        return str(sts.get_caller_identity()["Arn"])


def topics(settings: Settings) -> int:
    """How many SNS topics the first page of the list has; raises `irs.errors.CloudError`."""
    sns = clients.client(settings, "sns")
    with translated("SNS ListTopics"):
        return len(sns.list_topics()["Topics"])


def streams(settings: Settings, group: str) -> tuple[str, ...]:
    """Which parts' streams of a log group (``web/`` and so on) these credentials may write to.

    Asked by writing to streams that are not there, so that nothing is written. Raises
    `irs.errors.NoGroup` and other `irs.errors.CloudError`; where none may be written to, and
    reading the group is denied as well, `irs.errors.AccessDenied`.
    """
    may = tuple(part for part in PARTS if _may_write(settings, group, part))
    if not may:
        Group(settings, group).ask()
    return may


def _may_write(settings: Settings, group: str, part: str) -> bool:
    nowhere = Stream(settings, group, f"{part}/asked-{uuid.uuid4()}")
    try:
        nowhere.put([(int(time.time() * 1000), "irs doctor")])
    except errors.NoGroup:
        raise
    except errors.AccessDenied:
        return False
    except errors.NotFound:
        return True
    return True


def readable(settings: Settings, bucket: str) -> None:
    """Ask for a bucket of others; raises `irs.errors.CloudError` where it cannot be listed."""
    s3 = clients.client(settings, "s3")
    with translated(f"S3 HEAD of {bucket}"):
        s3.head_bucket(Bucket=bucket)
