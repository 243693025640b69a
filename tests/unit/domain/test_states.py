"""One word for each instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from irs.domain import states
from irs.domain.observing import Report
from irs.domain.policies.records import InstanceView

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def report(name: str = "i-1", *, said: float = 5, ready: bool = True, **more: Any) -> Report:
    return Report(instance=name, at=ago(said), started_at=ago(90),
                  ready_at=ago(80) if ready else None, **more)


#: (what it is, EC2's state, ours draining, the report, the word)
ROWS = [
    ("launched", "pending", False, None, "booting"),
    ("runs, nothing heard", "running", False, None, "booting"),
    ("reports that it is not ready", "running", False, report(ready=False), "booting"),
    ("prepared for the warm pool", "running", True, None, "booting"),
    ("without work", "running", False, report(), "idle"),
    ("with work", "running", False, report(running=3), "busy"),
    ("silent with work", "running", False, report(said=300, running=3), "busy"),
    ("told to end", "running", True, report(running=3), "draining"),
    ("ends by itself", "running", False, report(draining=True), "draining"),
    ("EC2 ends it", "shutting-down", False, report(), "draining"),
    ("EC2 stops it before it was up", "stopping", False, None, "draining"),
    ("in the pool", "stopped", False, report(), "stopped"),
]


@pytest.mark.parametrize(("state", "draining", "said", "word"), [row[1:] for row in ROWS],
                         ids=[row[0] for row in ROWS])
def test_the_word(state: str, draining: bool, said: Report | None, word: str) -> None:
    view = InstanceView(id="i-1", name="n", state=state, launched_at=ago(600), draining=draining)
    (found,) = states.doings([view], {"i-1": said} if said else {}, NOW)
    assert found.state == word
    assert found.state in states.STATES


def test_a_report_from_before_the_start_says_nothing() -> None:
    view = InstanceView(id="i-1", name="n", state="running", launched_at=ago(2))
    (found,) = states.doings([view], {"i-1": report(done=9)}, NOW)
    assert (found.state, found.images, found.reported_at) == ("booting", 0, None)


def test_intents_and_terminated_ones_are_none_and_workers_elsewhere_are() -> None:
    views = [InstanceView(id="intent:n", state="pending", launched_at=NOW),
             InstanceView(id="i-2", state="terminated", launched_at=ago(9))]
    said = {r.instance: r for r in (report("i-2"), report("host-7", running=1, done=4),
                                    report("host-8", said=300))}
    (found,) = states.doings(views, said, NOW)
    assert (found.id, found.state, found.images, found.running) == ("host-7", "busy", 4, 1)
