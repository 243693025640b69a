"""A log of decisions becomes arrivals again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from irs.simulate import history

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def line(second: float, **fields: Any) -> str:
    record = {"event": "scaler.decision", "timestamp": (START + timedelta(seconds=second)).isoformat(),
              "visible": 0, "in_flight": 0, "pending": 0, "running": 0, "dry_run": False} | fields
    return json.dumps(record)


def test_arrivals_are_the_growth_of_the_counter_and_lie_between_the_decisions() -> None:
    found = history.read([line(0, arrived=10), line(60, arrived=12), line(120, arrived=12)])
    assert found.arrivals.tolist() == [15.0, 45.0]
    assert (found.seconds, found.exact, found.began) == (120.0, True, START)


def test_what_waited_at_the_first_decision_arrived_before_it() -> None:
    found = history.read([line(0, visible=3, in_flight=1, arrived=4), line(3, arrived=4)])
    assert found.arrivals.tolist() == [0.0] * 4


def test_a_scaler_that_began_anew_counts_from_zero() -> None:
    found = history.read([line(0, arrived=90), line(10, arrived=0, visible=2), line(20, arrived=1)])
    assert len(found.arrivals) == 3


def test_completions_and_the_backlog_tell_arrivals_too() -> None:
    found = history.read([line(0, visible=5, finished=7), line(10, visible=2, finished=11)])
    assert len(found.arrivals) == 5 + 1
    assert found.exact


def test_from_counts_alone_arrivals_are_a_guess_and_called_one() -> None:
    """Two instances at work for 10 s, 2 s an image: ten finished, and the backlog fell by six."""
    found = history.read([line(0, visible=6, in_flight=2, running=2), line(10, in_flight=2, running=2)],
                         service=2.0)
    assert len(found.arrivals) == 8 + 4
    assert not found.exact


def test_the_fleet_is_billed_while_it_runs_and_its_growth_counted() -> None:
    found = history.read([line(0, running=1), line(60, running=1, pending=2), line(90, running=3),
                          line(190)])
    assert found.instance_seconds == 60 + 30 + 300
    assert found.launches == 2


def test_measured_times_are_medians() -> None:
    measured = ((0, None, None), (3, 1.0, 40.0), (6, 1.2, 44.0), (9, 9.0, 40.0))
    found = history.read([line(at, service_seconds=s, boot_seconds=b) for at, s, b in measured])
    assert (found.service_seconds, found.boot_seconds) == (1.2, 40.0)


def test_other_lines_broken_lines_and_rehearsals_are_passed_over() -> None:
    good = [line(0, arrived=0), line(9, arrived=3)]
    other = ["", "scaler.decision", '{"event": "scaler.decision"',
             '{"event": "scaler.decision", "visible": 1}', '["scaler.decision"]',
             '{"event": "job.finished", "was": "scaler.decision"}',
             line(5, arrived=99, dry_run=True),
             line(5).replace("+00:00", "")]  # which hour this means nobody knows
    assert np.array_equal(history.read([good[0], *other, good[1]]).arrivals, history.read(good).arrivals)


def test_lines_may_come_in_any_order() -> None:
    lines = [line(0, arrived=0), line(9, arrived=3), line(30, arrived=5)]
    assert np.array_equal(history.read(reversed(lines)).arrivals, history.read(lines).arrivals)


@pytest.mark.parametrize("lines", [[], ["no json"], [line(0)]])
def test_a_log_without_two_decisions_is_refused_with_a_hint(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="IRS_LOG_FORMAT=json"):
        history.read(lines)


def test_what_the_scaler_says_is_what_is_read() -> None:
    """The scaler's own decision, as it logs it, without a rewrite in between."""
    from irs.domain.scaling import Observation, Policy, State
    from irs.scaler.telling import Teller

    teller = Teller(Policy())
    lines = []
    for second, arrived in ((0, 5), (60, 9)):
        seen = Observation(visible=2, in_flight=1, fleet=(), now=START + timedelta(seconds=second),
                           arrived=arrived, finished=arrived - 3, service_seconds=0.5, boot_seconds=41.0)
        teller.decided(State(), seen, (), changed=True, waits=False,
                       done=arrived - 3)
        lines.append(json.dumps({"event": "scaler.decision", "timestamp": seen.now.isoformat(),
                                 "dry_run": False} | teller.decision))
    found = history.read(lines)
    assert (len(found.arrivals), found.exact) == (3 + 4, True)
    assert (found.service_seconds, found.boot_seconds) == (0.5, 41.0)
