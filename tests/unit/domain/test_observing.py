"""What workers report adds up: nothing twice, nothing that a late report would make a burst."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from irs.domain import observing, totals
from irs.domain.lag import Lag
from irs.domain.observing import FRESH, Report
from irs.domain.totals import AHEAD, Known, Life, fold

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def report(name: str = "i-1", *, when: float = 10, began: float = 0, done: int = 0,
           **more: Any) -> Report:
    return Report(instance=name, at=at(when), started_at=at(began), ready_at=at(began + 1), done=done,
                  **more)


def test_a_report_comes_back_as_it_was() -> None:
    full = report(done=3, running=2, service_seconds=0.5, heard_ago=1.5, draining=True, wants_to_leave=True,
                  failed=1, waits=(0, 3), infers=(1, 0, 2))
    assert Report.from_json(full.to_json()) == full
    booting = replace(full, ready_at=None, service_seconds=None)
    assert Report.from_json(booting.to_json()) == booting


def test_a_report_of_a_worker_that_is_older_than_its_histograms() -> None:
    raw = json.loads(report(done=3).to_json())
    for name in ("failed", "waits", "infers"):
        del raw[name]
    found = Report.from_json(json.dumps(raw).encode())
    assert (found.done, found.failed, found.waits, found.infers) == (3, 0, (), ())


@pytest.mark.parametrize("data", [
    report(waits=(1,)).to_json().replace(b'"waits":[1]', b'"waits":[-1]'),
    report(waits=(1,)).to_json().replace(b'"waits":[1]', b'"waits":"1"'),
    report().to_json().replace(b'"failed":0', b'"failed":-1'),
    b"", b"[]", b"{}", b"null", report().to_json().replace(b'"done":0', b'"done":-1'),
    report().to_json().replace(b'"done":0', b'"done":"x"'),
    report().to_json().replace(b"+00:00", b""),
    report(service_seconds=1.0).to_json().replace(b'"service_seconds":1.0', b'"service_seconds":0'),
    report(service_seconds=1.0).to_json().replace(b'"service_seconds":1.0', b'"service_seconds":NaN'),
])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Report.from_json(data)


#: (what it is, [(second, backlog, reports)], finished, arrived)
COUNTS = [
    ("nothing is known of the time before the first look", [(0, 5, [report(when=0, began=-60, done=90)])],
     0, 5),
    ("a worker that began after it counts whole",
     [(0, 0, []), (30, 0, [report(when=29, began=10, done=7)])], 7, 7),
    ("growth counts once", [(0, 0, [report(when=0, began=-9, done=5)]),
                            (10, 3, [report(when=10, began=-9, done=9)]),
                            (13, 3, [report(when=10, began=-9, done=9)])], 4, 7),
    ("a process that starts again counts from zero",
     [(0, 0, [report(when=0, began=-9, done=50)]), (30, 0, [report(when=30, began=20, done=4)])], 4, 4),
    ("a report that could not be read for a while is no new worker",
     [(0, 0, [report(when=0, began=-9, done=5)]), (5, 0, []),
      (10, 0, [report(when=10, began=-9, done=6)])], 1, 1),
    ("an older copy takes nothing back",
     [(0, 0, []), (20, 0, [report(when=19, began=5, done=8)]), (23, 0, [report(when=9, began=5, done=2)])],
     8, 8),
    ("two workers add up",
     [(0, 0, []), (20, 1, [report("a", when=19, began=5, done=8), report("b", when=18, began=5, done=2)])],
     10, 11),
    ("messages that wait and then are done came once",
     [(0, 10, []), (20, 4, [report(when=20, began=5, done=6)]),
      (30, 0, [report(when=30, began=5, done=10)])],
     10, 10),
    ("a queue that drains before its reports come is no fall",
     [(0, 10, [report(when=0, began=-5, done=0)]), (8, 0, [report(when=0, began=-5, done=0)])], 0, 10),
]


@pytest.mark.parametrize(("looks", "finished", "arrived"), [c[1:] for c in COUNTS],
                         ids=[c[0] for c in COUNTS])
def test_counts(looks: list[tuple[float, int, list[Report]]], finished: int, arrived: int) -> None:
    known = Known()
    for second, backlog, reports in looks:
        known = fold(known, reports, backlog=backlog, now=at(second))
    assert (known.finished, known.arrived) == (finished, arrived)


def test_a_steady_load_is_seen_as_steady() -> None:
    """10 images a second, reported every 10 s: no second has none, and none a hundred."""
    known, arrived = Known(), []
    for second in range(0, 200, 2):
        last = second - second % 10
        said = report(when=last, began=-100, done=1000 + 10 * last, running=4)
        known = fold(known, [said], backlog=5, now=at(second))
        arrived.append(known.arrived)
    steps = [b - a for a, b in itertools.pairwise(arrived[10:])]
    assert set(steps) == {20}


def test_what_is_guessed_ahead_is_bounded_and_never_comes_twice() -> None:
    known = fold(Known(), [report(when=0, began=-10, done=0)], backlog=0, now=at(0))
    known = fold(known, [report(when=10, began=-10, done=100, running=1)], backlog=0, now=at(10))
    known = fold(known, [report(when=10, began=-10, done=100, running=1)], backlog=1, now=at(60))
    assert known.probably_finished == 100 + 10 * AHEAD
    # It had stopped at once; what was guessed is used up before more is counted.
    known = fold(known, [report(when=70, began=-10, done=150)], backlog=0, now=at(70))
    assert (known.finished, known.arrived) == (150, 221)
    known = fold(known, [report(when=80, began=-10, done=230)], backlog=0, now=at(80))
    assert (known.finished, known.arrived) == (230, 230)


def test_a_guess_that_went_wrong_hides_nothing_for_long() -> None:
    """A burst's end: 20 more were guessed than there were; half a minute later all are seen."""
    known = fold(Known(), [report(when=0, began=-10, done=0)], backlog=100, now=at(0))
    for second in range(3, 14, 3):
        busy = report(when=10 * (second // 10), began=-10, done=10 * (second // 10) * 8, running=1)
        known = fold(known, [busy], backlog=100 - 8 * second, now=at(second))
    known = fold(known, [report(when=10, began=-10, done=80, running=1)], backlog=1, now=at(15))
    assert (known.arrived, known.left) == (121, 120)
    idle = report(when=20, began=-10, done=100)
    for second in range(20, 51, 3):
        known = fold(known, [idle], backlog=0, now=at(second))
        assert known.arrived == 121 >= known.left >= 120, "neither count ever falls"
    known = fold(known, [report(when=60, began=-10, done=104)], backlog=3, now=at(60))
    assert (known.arrived, known.left) == (128, 125)


def test_messages_that_leave_the_queue_undone_do_not_hide_those_that_come() -> None:
    """A purge of ten thousand: after half a minute arrivals are seen again."""
    known = fold(Known(), [], backlog=10_000, now=at(0))
    for second in range(3, 36, 3):
        known = fold(known, [], backlog=0, now=at(second))
    assert (known.arrived, known.lost) == (10_000, 10_000)
    known = fold(known, [], backlog=7, now=at(40))
    assert known.arrived == 10_007
    assert known.arrived - known.left == 7, "else the counts would contradict the totals for good"


def test_late_counts_are_dated_and_what_was_finished_since_is_not_in_them() -> None:
    late = Lag(seconds=20.0)
    known = replace(fold(Known(), [], backlog=200, now=at(0)), lag=late)
    for second in range(3, 100, 3):
        last = second - second % 5
        said = report(when=last, began=-5, done=2 * last, running=4)
        # 2/s are worked and nothing comes; the counts are of 20 s ago.
        known = fold(known, [said], backlog=200 - 2 * max(0, second - 20), now=at(second))
        assert known.counted_at == at(second - 20)
        assert abs(known.arrived - 200) <= 2, "no message of these seconds came twice"
        assert abs(known.left - 2 * max(0, second - 20)) <= 2


def test_what_was_done_while_nobody_looked_is_no_burst() -> None:
    known = fold(Known(), [report(when=0, began=-10)], backlog=0, now=at(0))
    late = [report(when=3600, began=-10, done=5000), report("i-2", when=3600, began=1000, done=900)]
    known = fold(known, late, backlog=3, now=at(3601))
    assert (known.finished, known.arrived) == (0, 3)
    known = fold(known, [report(when=3610, began=-10, done=5050)], backlog=0, now=at(3611))
    assert known.finished == 50


def test_the_service_time_eases_towards_what_is_new_and_fresh() -> None:
    known = fold(Known(), [report(when=0, service_seconds=1.0)], backlog=0, now=at(0))
    assert known.service_seconds == 1.0
    same = fold(known, [report(when=0, service_seconds=1.0)], backlog=0, now=at(3))
    assert same.service_seconds == 1.0
    known = fold(same, [report(when=10, service_seconds=2.0)], backlog=0, now=at(10))
    assert known.service_seconds == pytest.approx(1.3)
    stale = fold(known, [report(when=20, service_seconds=9.0)], backlog=0, now=at(21 + FRESH))
    assert stale.service_seconds == pytest.approx(1.3)
    assert fold(stale, [], backlog=0, now=at(100)).service_seconds == pytest.approx(1.3)


def test_boots_are_measured_once_each() -> None:
    lives = {"a": Life(launched_at=at(0), running_since=at(12)), "b": Life(launched_at=at(5))}
    known = fold(Known(), [], backlog=0, now=at(0))
    booting = replace(report("a", when=49, began=45), ready_at=None)
    known = fold(known, [booting], backlog=0, now=at(49), lives=lives)
    assert known.boot_seconds is None
    said = [report("a", when=51, began=45), report("b", when=51, began=44), report("c", began=3)]
    for second in (51, 54, 61):
        known = fold(known, said, backlog=0, now=at(second), lives=lives)
    assert known.boots == (46, 40)
    assert known.boot_seconds == 43
    assert known.billed_boot_seconds == 34


@pytest.mark.parametrize(("launched", "began"), [(0, 3600), (50, 40), (47, 45)],
                         ids=["a process's second life", "an older life", "clocks that disagree"])
def test_what_was_no_boot_is_not_measured(launched: float, began: float) -> None:
    lives = {"i-1": Life(launched_at=at(launched))}
    known = fold(Known(), [report(when=began + 5, began=began)], backlog=0, now=at(began + 5), lives=lives)
    assert known.boots == ()


def test_only_the_last_boots_count() -> None:
    known = Known(boots=tuple([100.0] * totals.BOOTS))
    for number in range(totals.BOOTS):
        name = f"i-{number}"
        known = fold(known, [report(name, when=31, began=29)], backlog=0, now=at(31),
                     lives={name: Life(launched_at=at(0))})
    assert known.boots == (30.0,) * totals.BOOTS


def test_moments_need_a_zone() -> None:
    with pytest.raises(ValueError, match="naive"):
        replace(report(), at=datetime(2026, 1, 1))  # noqa: DTZ001 - the point
    with pytest.raises(TypeError):
        observing.stamp("x")


@pytest.mark.parametrize("rate", [10, 30, 60, 150])
@pytest.mark.parametrize(("every", "phase"), [(3, 0), (3, 1), (5, 4), (10, 0), (10, 7)])
def test_a_burst_is_as_many_as_it_is(rate: int, every: int, phase: int) -> None:
    """300 images at 60 s, counted exactly and done at ``rate`` a second; what is guessed ahead of a
    report that comes ``every`` so many seconds is no arrival."""
    known, told = Known(), report()
    for second in range(180):
        done = max(0, min(300, rate * (second - 60)))
        there = 300 if second >= 60 else 0
        if second >= phase and (second - phase) % every == 0:
            told = report(when=second, began=-50, done=done, running=min(16, there - done))
        if second % 3 == 0:
            known = fold(known, [told], backlog=there - done, now=at(second))
            assert known.arrived <= 300
    assert (known.arrived, known.finished, known.lost, known.lag.seconds) == (300, 300, 0, 0.0)


def test_a_worker_whose_clock_is_set_back_is_heard_at_once() -> None:
    known = fold(Known(), [report(when=0, began=-10)], backlog=200, now=at(0))
    known = fold(known, [report(when=910, began=-10, done=50, running=1)], backlog=150, now=at(10))
    known = fold(known, [report(when=20, began=-10, done=100, running=1)], backlog=100, now=at(20))
    assert (known.finished, known.arrived) == (100, 200)
    known = fold(known, [report(when=30, began=-10, done=150, running=1, service_seconds=0.2)],
                 backlog=50, now=at(30))
    assert (known.finished, known.arrived, known.service_seconds) == (150, 200, 0.2)
