"""SNS topics of this deployment, and subscriptions whose queue is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from irs import errors, log
from irs.aws import clients, temporary
from irs.aws.faults import translated
from irs.aws.queues import Queue
from irs.settings import Settings

#: Seconds for an answer of SNS, and tries: a worker's main loop waits for what makes it reachable
#: to remote control, which is worth no more.
TIMEOUT, ATTEMPTS = 5.0, 2

_log = log.get("queues")


def client(settings: Settings) -> Any:
    """The SNS client, with a short patience."""
    return clients.client(settings, "sns", read_timeout=TIMEOUT, attempts=ATTEMPTS)


def ask(settings: Settings) -> None:
    """Return when SNS answers, whatever; raises `errors.Retryable` where it does not."""
    try:
        with translated("SNS list of topics"):
            client(settings).list_topics()
    except errors.Permanent:
        return


def subscriptions(settings: Settings, prefix: str) -> Iterator[tuple[str, str]]:
    """(ARN, queue) of each SQS subscription of the topics whose names begin with ``prefix``."""
    sns = client(settings)
    with translated(f"SNS subscriptions of {prefix}*"):
        for topic in _pages(sns, "list_topics", "Topics"):
            arn = topic["TopicArn"]
            if not arn.rpartition(":")[2].startswith(prefix):
                continue
            for found in _pages(sns, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn):
                if found["Protocol"] == "sqs":
                    yield found["SubscriptionArn"], found["Endpoint"].rpartition(":")[2]


def sweep(settings: Settings, prefix: str) -> list[str]:
    """Drop the subscriptions below ``prefix`` of queues that are not there; returns their ARNs.

    A process subscribes a queue that it has made, so one that is not there will not come. Queues
    of other names are not ours, and may be of another account.
    """
    there = {url.rsplit("/", 1)[-1] for url in temporary.urls(settings, prefix)}
    dropped = []
    for arn, queue in subscriptions(settings, prefix):
        # A queue may be listed a minute after it was made; asked for by name it is there at once.
        if queue.startswith(prefix) and queue not in there and _gone(settings, queue):
            with translated(f"SNS unsubscribe of {queue}"):
                client(settings).unsubscribe(SubscriptionArn=arn)
            dropped.append(arn)
    if dropped:
        _log.info("queues.unsubscribed", arns=dropped)
    return dropped


def _gone(settings: Settings, name: str) -> bool:
    queue = Queue(settings, name)
    queue.forget_url()
    try:
        _ = queue.url
    except errors.NotFound:
        return True
    return False


def _pages(client: Any, operation: str, field: str, **given: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(operation).paginate(**given):
        yield from page.get(field, ())
