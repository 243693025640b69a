"""Queues that belong to one process, and their subscriptions: who sweeps, and what is swept."""

from __future__ import annotations

import time

import pytest

from irs.aws import calls, clients, temporary, topics
from irs.aws.queues import Queue
from irs.settings import Settings

GONE = str(int(time.time()) - temporary.GONE_AFTER - 60)


@pytest.fixture(params=["cloud", "moto_cloud"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return request.getfixturevalue(request.param).fresh()


def make(settings: Settings, name: str, *, gone: bool = False) -> Queue:
    queue = temporary.create(settings, f"{settings.cluster}-ctl-{name}", {})
    if gone:
        clients.client(settings, "sqs").tag_queue(QueueUrl=queue.url, Tags={temporary.SEEN_TAG: GONE})
    return queue


def subscribe(settings: Settings, topic: str, queue: Queue) -> str:
    sns = clients.client(settings, "sns")
    arn = sns.create_topic(Name=f"{settings.cluster}{topic}")["TopicArn"]
    return sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.attributes("QueueArn")["QueueArn"],
                         ReturnSubscriptionArn=True)["SubscriptionArn"]


def test_of_those_that_live_the_first_by_name_sweeps(settings: Settings) -> None:
    prefix = f"{settings.cluster}-ctl-"
    dead, first, second = make(settings, "a", gone=True), make(settings, "b"), make(settings, "c")
    assert temporary.foremost(settings, prefix, {first.name})
    assert temporary.foremost(settings, prefix, {second.name, first.name})
    assert not temporary.foremost(settings, prefix, {second.name})
    # A queue may be listed late; who is alone sweeps all the same.
    assert not temporary.foremost(settings, prefix, {"not listed yet"})
    assert temporary.foremost(settings, f"{prefix}a", {"not listed yet"})
    assert temporary.sweep(settings, prefix) == [dead.name]
    assert len(temporary.urls(settings, prefix)) == 2


def test_all_are_seen_however_many_pages_they_fill(settings: Settings,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "PAGE", 2)
    made = {make(settings, name).url for name in "abc"}

    def asked() -> int:
        return calls.TALLY.read()["sqs", "ListQueues"].outcomes[calls.OK]

    temporary.urls(settings, "nobody's")
    before = asked()
    assert set(temporary.urls(settings, f"{settings.cluster}-ctl-")) == made
    assert asked() - before == 2, "two and one"


def test_subscriptions_of_queues_that_are_gone_are_dropped_and_no_others(settings: Settings) -> None:
    prefix = f"{settings.cluster}-ctl-"
    lives, gone, elsewhere = make(settings, "b"), make(settings, "c"), make(settings, "d")
    kept = subscribe(settings, "-ctl-ev", lives)
    lost = subscribe(settings, "-ctl-ev", gone)
    subscribe(settings, "-other", elsewhere)
    foreign = Queue(settings, settings.input_queue)
    foreign.create()
    theirs = subscribe(settings, "-ctl-ev", foreign)
    for queue in (gone, elsewhere, foreign):
        queue.drop()
    assert topics.sweep(settings, prefix) == [lost]
    assert sorted(arn for arn, _ in topics.subscriptions(settings, prefix)) == sorted([kept, theirs])
    assert len(list(topics.subscriptions(settings, f"{settings.cluster}-other"))) == 1, "another's topic"


def test_a_queue_that_is_listed_late_is_asked_for_by_name(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"{settings.cluster}-ctl-"
    subscribe(settings, "-ctl-ev", make(settings, "b"))
    monkeypatch.setattr(temporary, "urls", lambda *_: [])
    assert topics.sweep(settings, prefix) == []
