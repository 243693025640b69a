"""The journal comes back as it was, and nothing else passes for one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from irs.domain.journal import Intent, Journal, Leave, Member, key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FULL = Journal(
    epoch=3, holder="h-1", serial=7,
    intents=(Intent(name="n-1", origin="c/3-h/5/0", type="t", subnet="s", since=NOW),),
    leaving={"i-1": Leave(how="stop", since=NOW, itself=True)},
    fleet=(Member(id="i-1", name="n-2", launched_at=NOW),),
    service_seconds=0.25, boots=(30.0, 31.5), decision={"visible": 4, "reason": "…"})


@pytest.mark.parametrize("journal", [FULL, Journal()], ids=["full", "fresh"])
def test_there_and_back(journal: Journal) -> None:
    assert Journal.from_json(journal.to_json()) == journal


@pytest.mark.parametrize("data", [
    b"", b"x", b"[]", b"null", b"{}", b'{"epoch": "x", "holder": "", "serial": 0}',
    FULL.to_json().replace(b"2026-01-01T00:00:00+00:00", b"yesterday"),
    FULL.to_json().replace(b"+00:00", b""),
    FULL.to_json().replace(b'"origin"', b'"from"'),
])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Journal.from_json(data)


def test_what_a_newer_version_adds_is_no_obstacle() -> None:
    assert Journal.from_json(FULL.to_json()[:-1] + b',"more": 1}') == FULL


def test_each_pool_is_a_launch_of_its_own() -> None:
    (intent,) = FULL.intents
    other = Intent(name="n-1", origin="c/3-h/5/0", type="u", subnet="s", since=NOW)
    assert len(intent.token) == 64
    assert intent.token != other.token
    assert key("irs") == "scaler/irs.json"
