"""The original rule (`seed`) and the records that all rules share: a sentence a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from irs.domain import scaling
from irs.domain.scaling import InstanceView, Launch, Observation, Policy, State, Terminate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def view(number: int, state: str = "running") -> InstanceView:
    """Instance ``number``; a higher number was launched later."""
    return InstanceView(id=f"i-{number}", state=state, name=f"AppTier-Instance-{number}",
                        launched_at=NOW - timedelta(hours=1) + timedelta(seconds=number))


def fleet(**states: int) -> tuple[InstanceView, ...]:
    names = [state.replace("_", "-") for state, count in states.items() for _ in range(count)]
    return tuple(view(number, state) for number, state in enumerate(names, 1))


def decide(*, visible: int = 0, in_flight: int = 0, instances: tuple[InstanceView, ...] = (),
           least: int = 0, most: int = 19) -> tuple[State, tuple[scaling.Action, ...]]:
    seen = Observation(visible=visible, in_flight=in_flight, fleet=instances, now=NOW)
    return scaling.tick(seen, State(tick=7), Policy(name="seed", min=least, max=most))


@dataclass(frozen=True, kw_only=True)
class Row:
    says: str
    visible: int = 0
    in_flight: int = 0
    instances: tuple[InstanceView, ...] = ()
    least: int = 0
    most: int = 19
    launches: int = 0
    terminates: tuple[str, ...] = ()
    reason: str


ROWS = [
    Row(says="nothing waits and nothing runs: nothing is done",
        reason="queue 0, have 0 of 19: enough"),
    Row(says="the first message launches the first instance",
        visible=1, launches=1, reason="queue 1, have 0 of 19: launching 1"),
    Row(says="however long the queue, one instance a tick",
        visible=140, instances=fleet(running=2), launches=1, reason="queue 140, have 2 of 19: launching 1"),
    Row(says="as many messages as instances is enough",
        visible=3, instances=fleet(running=3), reason="queue 3, have 3 of 19: enough"),
    Row(says="an instance that boots counts as one",
        visible=2, instances=fleet(running=1, pending=1), reason="queue 2, have 2 of 19: enough"),
    Row(says="messages in flight are somebody's already",
        visible=0, in_flight=50, reason="queue 0, have 0 of 19: enough"),
    Row(says="instances that stop, have stopped or end do not count",
        visible=1, instances=fleet(shutting_down=1, stopping=1, stopped=1, terminated=1),
        launches=1, reason="queue 1, have 0 of 19: launching 1"),
    Row(says="the maximum holds",
        visible=500, instances=fleet(running=19), reason="queue 500, have 19 of 19: at the maximum"),
    Row(says="the maximum counts those that boot",
        visible=500, instances=fleet(running=18, pending=1),
        reason="queue 500, have 19 of 19: at the maximum"),
    Row(says="one below the maximum launches the last one",
        visible=500, instances=fleet(running=18), launches=1,
        reason="queue 500, have 18 of 19: launching 1"),
    Row(says="the minimum is launched at once, without a message",
        least=3, launches=3, reason="queue 0, have 0 of 19: below the minimum of 3, launching 3"),
    Row(says="what the minimum lacks is launched, no more",
        least=3, instances=fleet(running=1, pending=1), launches=1,
        reason="queue 0, have 2 of 19: below the minimum of 3, launching 1"),
    Row(says="a minimum that equals the maximum is a fixed fleet",
        visible=100, least=2, most=2, instances=fleet(running=2),
        reason="queue 100, have 2 of 2: at the maximum"),
    Row(says="an idle fleet is left alone: its instances end themselves",
        instances=fleet(running=5), reason="queue 0, have 5 of 19: enough"),
    Row(says="above the maximum the youngest go first",
        visible=9, most=2, instances=fleet(running=4), terminates=("i-4", "i-3"),
        reason="queue 9, have 4 of 2: above the maximum, terminating 2"),
    Row(says="above the maximum those that boot go before those that work",
        most=2, instances=(view(1, "pending"), view(2), view(3)), terminates=("i-1",),
        reason="queue 0, have 3 of 2: above the maximum, terminating 1"),
    Row(says="a maximum of none empties the fleet",
        most=0, instances=fleet(running=1), terminates=("i-1",),
        reason="queue 0, have 1 of 0: above the maximum, terminating 1"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_decision(row: Row) -> None:
    state, actions = decide(visible=row.visible, in_flight=row.in_flight, instances=row.instances,
                            least=row.least, most=row.most)
    expected: list[scaling.Action] = []
    if row.launches:
        expected.append(Launch(count=row.launches, reason=row.reason))
    if row.terminates:
        expected.append(Terminate(ids=row.terminates, reason=row.reason))
    assert list(actions) == expected
    assert state.reason == row.reason
    assert row.reason.endswith(f": {state.verdict}")
    assert state.tick == 8


def test_the_fleet_never_leaves_its_limits_whatever_is_seen() -> None:
    for visible in (0, 1, 5, 1000):
        for have in range(8):
            for least in range(5):
                for most in range(least, 6):
                    _, actions = decide(visible=visible, instances=fleet(running=have),
                                        least=least, most=most)
                    after = have
                    for action in actions:
                        match action:
                            case Launch():
                                after += action.count
                            case Terminate():
                                after -= len(action.ids)
                    assert least <= after <= most


def test_the_same_input_gives_the_same_decision() -> None:
    assert decide(visible=4, instances=fleet(running=1)) == decide(visible=4, instances=fleet(running=1))


@pytest.mark.parametrize(("least", "most"), [(-1, 3), (4, 3)])
def test_limits_that_contradict_each_other_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="want 0 <= min <= max"):
        Policy(min=least, max=most)


@pytest.mark.parametrize("wrong", [{"name": "guess"}, {"target_wait": 0.0}, {"interval": -1.0},
                                   {"service_seconds": 0.0}, {"boot_seconds": 0.0}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + "|policy 'guess'"):
        Policy(**wrong)  # type: ignore[arg-type]


def test_the_target_rule_keeps_an_acceptable_backlog_per_instance() -> None:
    policy = Policy(name="target", target_wait=30.0)
    state = State()
    seen = Observation(visible=95, in_flight=5, fleet=(), now=NOW, service_seconds=2.0)
    state, actions = scaling.tick(seen, state, policy)
    assert actions == (Launch(count=7, reason="queue 100, 15 an instance, have 0 of 19: launching 7"),)
    for seconds in (3, 30, 63, 66):
        seen = Observation(visible=0, in_flight=0, fleet=fleet(running=7),
                           now=NOW + timedelta(seconds=seconds))
        state, actions = scaling.tick(seen, state, policy)
        assert bool(actions) == (seconds >= 63), "shrinks only after a minute of too many"


def test_naive_times_are_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="naive"):
        Observation(visible=0, in_flight=0, fleet=(), now=naive)
    with pytest.raises(ValueError, match="naive"):
        InstanceView(id="i-1", state="running", launched_at=naive)
