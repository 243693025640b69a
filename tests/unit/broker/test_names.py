"""Names of control queues: legal, bounded, and the same on both sides of a conversation."""

from __future__ import annotations

import re

import pytest

from irs import settings as settings_module
from irs.broker import names
from irs.settings import Settings

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,80}")


@pytest.fixture
def settings() -> Settings:
    return settings_module.build({"cluster": "k"})


def test_the_queues_of_the_service_keep_their_names(settings: Settings) -> None:
    for name in (settings.input_queue, settings.output_queue, settings.dead_letter_queue):
        assert names.sqs_name(settings, name) == name


@pytest.mark.parametrize("name", [
    "worker@i-0abc.k.pidbox", "k.pidbox", "a-b-c.reply.k.pidbox", "celeryev.1234", "kev", "ä ö/ü",
    "worker@" + "x" * 300 + ".k.pidbox"])
def test_every_control_name_is_legal_and_begins_with_the_deployments_prefix(
        settings: Settings, name: str) -> None:
    found = names.sqs_name(settings, name)
    assert LEGAL.fullmatch(found)
    assert found.startswith(names.control_prefix(settings))


def test_long_names_that_differ_at_the_end_stay_apart(settings: Settings) -> None:
    assert names.sqs_name(settings, "x" * 100 + "a") != names.sqs_name(settings, "x" * 100 + "b")
    assert names.sqs_name(settings, "x" * 100) == names.sqs_name(settings, "x" * 100)


def test_a_workers_own_queue_differs_by_process_and_nothing_else_does(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_three() -> list[str]:
        return [names.sqs_name(settings, name)
                for name in ("worker@a.k.pidbox", "k.pidbox", "id.reply.k.pidbox")]

    here = all_three()
    monkeypatch.setattr(names, "PROCESS", "another1")
    there = all_three()
    assert here[0] != there[0]
    # The exchange, and the queue that a client made and a worker answers on.
    assert here[1:] == there[1:]


def test_two_deployments_do_not_meet(settings: Settings) -> None:
    other = settings_module.build({"cluster": "other"})
    assert names.sqs_name(settings, "k.pidbox") != names.sqs_name(other, "k.pidbox")
