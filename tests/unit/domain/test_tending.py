"""Who may leave, and who has not come up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from irs.domain.scaling import InstanceView
from irs.domain.tending import assume_ready, may_leave, overdue

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def view(name: str, age: float = 100, state: str = "running", *, ready: bool = True,
         **more: bool) -> InstanceView:
    launched = NOW - timedelta(seconds=age)
    return InstanceView(id=name, state=state, launched_at=launched,
                        ready_at=launched + timedelta(seconds=30) if ready else None, **more)


THREE = (view("a", 300), view("b", 200), view("c", 100))


@pytest.mark.parametrize(("fleet", "asking", "keep", "gone"), [
    (THREE, "abc", 0, "cba"), (THREE, "abc", 1, "cb"), (THREE, "abc", 3, ""), (THREE, "abc", 9, ""),
    (THREE, "ab", 1, "ba"), (THREE, "", 0, ""), (THREE, "x", 0, ""), ((), "a", 0, ""),
    ((*THREE[:2], view("c", draining=True)), "abc", 1, "b"),
    ((*THREE[:2], view("c", state="pending", ready=False)), "ab", 1, "b"),
    ((*THREE[:2], view("c", busy=True)), "abc", 1, "ba"),
    ((*THREE[:2], view("c", state="stopped")), "abc", 1, "b"),
], ids=["all", "one stays", "all stay", "more than there are", "who asks", "nobody asks", "a stranger",
        "no fleet", "one drains already", "one boots, and may never come up", "one works again",
        "one is stopped"])
def test_may_leave(fleet: tuple[InstanceView, ...], asking: str, keep: int, gone: str) -> None:
    assert may_leave(fleet, set(asking), keep=keep) == tuple(gone)


@pytest.mark.parametrize(("it", "fruitless", "late"), [
    (view("a", 301, ready=False), None, True),
    (view("a", 299, ready=False), None, False),
    (view("a", 9999), None, False),
    (view("a", 301, "pending", ready=False), None, True),
    (view("a", 9999, "stopped", ready=False), None, False),
    (view("a", 9999, ready=False, draining=True), None, False),
    (view("a", 301, ready=False), 0, True),
    (view("a", 599, ready=False), 1, False),
    (view("a", 1201, ready=False), 2, True),
    (view("a", 300 * 64 + 1, ready=False), 99, True),
])
def test_overdue(it: InstanceView, fruitless: int | None, late: bool) -> None:
    assert overdue((it,), NOW, deadline=300, fruitless=fruitless) == (("a",) if late else ())


def test_without_reports_running_instances_count_as_ready_after_a_usual_boot() -> None:
    young, old = view("a", 20, ready=False), view("b", 90, ready=False)
    pending, told = view("c", 90, "pending", ready=False), view("d", 90)
    after = assume_ready((young, old, pending, told), NOW, boot_seconds=50)
    assert [v.ready_at for v in after] == [None, NOW - timedelta(seconds=40), None, told.ready_at]
