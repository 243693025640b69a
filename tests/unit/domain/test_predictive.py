"""The predictive rule: properties on any input, and a row for each thing it must not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irs.domain import scaling
from irs.domain.scaling import Action, InstanceView, Launch, Observation, Policy, State, Terminate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy()


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def view(number: int, *, age: float = 3600.0, now: float = 0.0, state: str = "running",
         busy: bool | None = None) -> InstanceView:
    ready = at(now - age + 50.0) if age >= 50 else None
    return InstanceView(id=f"i-{number}", state=state, launched_at=at(now - age), ready_at=ready, busy=busy)


def change(actions: tuple[Action, ...]) -> int:
    """How many instances more there will be."""
    return sum(a.count if isinstance(a, Launch) else -len(a.ids) for a in actions)


class Play:
    """A fluid queue and a fleet that obeys; what is seen can be bent by ``lens``."""

    def __init__(self, policy: Policy = POLICY, *, fleet: int = 0, backlog: float = 0.0,
                 state: State | None = None) -> None:
        self.policy, self.state = policy, state or State()
        self.now, self.backlog, self.came = 0.0, backlog, backlog
        self.fleet = [view(n) for n in range(fleet)]
        self.log: list[tuple[float, int, tuple[Action, ...]]] = []
        self._number = fleet

    def observation(self) -> Observation:
        serving = sum(1 for i in self.fleet if i.ready_at)
        busy = min(serving, round(self.backlog))
        visible = max(0, round(self.backlog) - busy)
        return Observation(visible=visible, in_flight=busy, fleet=tuple(self.fleet), now=at(self.now),
                           arrived=round(self.came), finished=round(self.came) - visible - busy)

    def step(self, rate: float, lens: Callable[[Observation], Observation] = lambda seen: seen) -> int:
        """One tick of 3 s with ``rate`` arrivals a second; the change it asked for."""
        self.fleet = [replace(i, ready_at=at(self.now)) if i.ready_at is None
                      and at(self.now) - i.launched_at >= timedelta(seconds=50) else i for i in self.fleet]
        self.state, actions = scaling.tick(lens(self.observation()), self.state, self.policy)
        self.log.append((self.now, len(self.fleet), actions))
        for action in actions:
            if isinstance(action, Terminate):
                self.fleet = [i for i in self.fleet if i.id not in action.ids]
            else:
                for _ in range(action.count):
                    self._number += 1
                    self.fleet.append(InstanceView(id=f"i-{self._number}", state="pending",
                                                   launched_at=at(self.now)))
        serving = sum(1 for i in self.fleet if i.ready_at)
        self.came += 3 * rate
        self.backlog = max(0.0, self.backlog + 3 * (rate - serving))
        self.now += 3
        return change(actions)

    def run(self, rate: float, seconds: float) -> Play:
        for _ in range(int(seconds / 3)):
            self.step(rate)
        return self


# -- properties

instances = st.lists(
    st.builds(view, st.integers(0, 10_000), age=st.floats(0, 7200),
              busy=st.sampled_from([None, True, False]),
              state=st.sampled_from(["pending", "running", "stopping", "stopped", "shutting-down"])),
    max_size=25, unique_by=lambda i: i.id)
totals = st.none() | st.integers(0, 10**9)
estimates = st.none() | st.floats(0.01, 500)
observations = st.builds(
    Observation, visible=st.integers(-5, 10**6), in_flight=st.integers(-5, 10**4),
    fleet=instances.map(tuple),
    now=st.floats(0, 600).map(at), counted_at=st.none() | st.floats(-300, 600).map(at), arrived=totals,
    finished=totals, service_seconds=estimates, boot_seconds=estimates, billed_boot_seconds=estimates)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    least = draw(st.integers(0, 5))
    name, more = draw(st.sampled_from(scaling.NAMES)), draw(st.integers(0, 20))
    return Policy(name=name, min=least, max=least + more, target_wait=draw(st.floats(1, 900)))


@settings(max_examples=150, deadline=None)
@given(policies(), st.lists(observations, min_size=1, max_size=6))
def test_whatever_is_seen_the_limits_hold_and_only_what_exists_is_ended(
        policy: Policy, seen: list[Observation]) -> None:
    state = State()
    for observation in seen:
        state, actions = scaling.tick(observation, state, policy)
        active = {i.id for i in observation.fleet if i.active}
        assert len(actions) <= 1
        assert state.reason
        for action in actions:
            if isinstance(action, Launch):
                assert 0 < action.count <= policy.max - len(active)
            else:
                assert action.ids
                assert len(set(action.ids)) == len(action.ids)
                assert set(action.ids) <= active
                assert len(active) - len(action.ids) >= policy.min


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 15), st.integers(0, 19), st.floats(0, 800))
def test_a_constant_load_is_served_with_no_more_than_it_needs(
        rate: float, fleet: int, backlog: float) -> None:
    """Scale-in is live: whatever the start, the fleet comes down to what works."""
    play = Play(fleet=fleet, backlog=backlog).run(rate, 1800)
    had = [have for now, have, _ in play.log if now >= 900]
    assert max(had) <= int(rate) + 2
    assert sum(had) / len(had) <= rate + 1.1
    assert play.backlog <= 1.3 * 30 * max(1.0, rate) + 1


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 15))
def test_a_constant_load_does_not_flap(rate: float) -> None:
    play = Play().run(rate, 3600)
    signs = [(now, change(actions)) for now, _, actions in play.log if actions and now > 900]
    ups = [now for now, sign in signs if sign > 0]
    # Each swing of the buffer is W long each way: far more than a boot and a billed minute.
    assert all(b - a >= 60 for a, b in pairwise(ups) if b - a > 6)
    assert len(ups) <= 25


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 14), st.integers(0, 19), st.integers(20, 200), st.integers(0, 400),
       st.integers(0, 400))
def test_a_longer_queue_never_asks_for_fewer(
        rate: float, fleet: int, ticks: int, one: int, more: int) -> None:
    play = Play(fleet=fleet).run(rate, 3 * ticks)
    seen = play.observation()
    asked = []
    for extra in (one, one + more):
        state, total = play.state, 0
        for tick in range(3):
            now = seen.now + timedelta(seconds=3 * tick)
            state, actions = scaling.tick(replace(seen, visible=extra, now=now), state, POLICY)
            total = change(actions)
        asked.append(total)
    assert asked[0] <= asked[1]


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 14), st.integers(0, 19), st.integers(1, 300), st.floats(0, 500))
def test_a_restart_at_any_moment_neither_ends_nor_doubles_the_fleet(
        rate: float, fleet: int, ticks: int, backlog: float) -> None:
    play = Play(fleet=fleet, backlog=backlog).run(rate, 3 * ticks)
    play.state = State()
    assert 0 <= play.step(rate) <= 1
    for _ in range(4):
        assert play.step(rate) >= 0
    play.run(rate, 900)
    assert play.backlog <= 1.3 * 30 * max(1.0, rate) + 1


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 12), st.integers(120, 400),
       st.sampled_from(["visible", "all counts", "nothing", "fleet"]), st.integers(0, 100_000))
def test_one_odd_reading_never_launches_or_ends_a_fleet(
        rate: float, ticks: int, what: str, wild: int) -> None:
    straight = Play().run(rate, 3 * ticks)
    bent = Play().run(rate, 3 * ticks)
    lens = {"visible": lambda seen: replace(seen, visible=wild),
            "all counts": lambda seen: replace(seen, visible=wild, arrived=(seen.finished or 0) + wild),
            "nothing": lambda seen: replace(seen, visible=0, in_flight=0),
            "fleet": lambda seen: replace(seen, fleet=())}[what]
    usual = straight.step(rate)
    asked = bent.step(rate, lens)
    assert min(0, usual) <= asked <= max(1, usual + 1)
    for _ in range(3):
        usual += straight.step(rate)
        asked += bent.step(rate)
    assert abs(asked - usual) <= 1


# -- rows

def steady(rate: float = 6.5, seconds: float = 900) -> Play:
    return Play().run(rate, seconds)


def test_a_burst_launches_what_its_deadline_needs_in_two_ticks() -> None:
    play = Play(Policy(target_wait=90.0), backlog=100)
    assert [play.step(0) for _ in range(4)] == [1, 3, 0, 0]


def test_nothing_waits_and_nothing_runs_nothing_is_done() -> None:
    play = Play().run(0, 300)
    assert not play.fleet
    assert play.state.verdict == "enough"


def test_the_first_message_launches_one_instance_at_once() -> None:
    play = Play(backlog=1)
    assert play.step(0) == 1


def test_a_quiet_minute_drains_the_fleet_to_the_minimum() -> None:
    assert len(steady().run(0, 120).fleet) == 0
    kept = Play(Policy(min=2)).run(6.5, 900)
    assert len(kept.run(0, 120).fleet) == 2


def test_the_minimum_is_launched_at_once() -> None:
    assert Play(Policy(min=3)).step(0) == 3


def test_no_instance_ends_before_its_first_billed_minute() -> None:
    play = Play(backlog=60).run(0, 600)
    launched: dict[str, datetime] = {}
    number = 0
    ended = 0
    for now, _, actions in play.log:
        for action in actions:
            if isinstance(action, Launch):
                for _ in range(action.count):
                    number += 1
                    launched[f"i-{number}"] = at(now)
            else:
                for key in action.ids:
                    ended += 1
                    assert at(now) - launched[key] >= timedelta(seconds=50 - 38 + 60)
    assert ended == number > 0


def test_idle_instances_go_first() -> None:
    def seen(now: float) -> Observation:
        fleet = tuple(view(n, now=now, busy=n in (0, 1, 2)) for n in range(6))
        return Observation(visible=0, in_flight=3, fleet=fleet, now=at(now), arrived=int(3.2 * now),
                           finished=int(3.2 * now) - 3)

    state, ended = State(), ()
    for tick in range(1, 100):
        state, actions = scaling.tick(seen(3.0 * tick), state, POLICY)
        if actions:
            assert isinstance(actions[0], Terminate)
            ended = actions[0].ids
            break
    assert ended
    assert set(ended) <= {"i-3", "i-4", "i-5"}


@pytest.mark.parametrize(("says", "lens", "doubt"), [
    ("counts two minutes old", lambda s: replace(s, counted_at=s.now - timedelta(seconds=120)),
     "stale counts"),
    ("a negative count", lambda s: replace(s, in_flight=-1), "negative counts"),
    ("totals that do not fit", lambda s: replace(s, arrived=5000, finished=1000),
     "counts that contradict the totals"),
    ("more finished than came", lambda s: replace(s, arrived=10, finished=20),
     "counts that contradict the totals"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_scale_in_freezes_on(says: str, lens: Callable[[Observation], Observation], doubt: str) -> None:
    play = steady()
    have = len(play.fleet)
    assert have >= 6
    for _ in range(100):
        assert play.step(0, lens) >= 0, says
    assert play.state.verdict == f"held: {doubt}"
    assert len(play.run(0, 120).fleet) == 0, "and thaws"


def test_totals_that_fall_freeze_scale_in() -> None:
    play = steady()
    for number in range(50):
        told = 9000 - number
        assert play.step(0, lambda s, n=told: replace(s, arrived=n, finished=n)) >= 0
    assert play.state.verdict == "held: totals that fall"


def test_a_fleet_above_its_maximum_is_cut_youngest_and_booting_first() -> None:
    fleet = (view(1), view(2, age=1000), view(3, age=10, state="pending"))
    seen = Observation(visible=50, in_flight=3, fleet=fleet, now=NOW)
    _, actions = scaling.tick(seen, State(), Policy(max=1))
    assert [a.ids for a in actions if isinstance(a, Terminate)] == [("i-3", "i-2")]


def test_w_is_corrected_by_what_was_late() -> None:
    early, late = Play().run(6.5, 600), Play().run(6.5, 600)
    for play, wait in ((early, 0), (late, 600)):
        for _ in range(40):
            play.step(6.5, lambda s, w=wait: replace(s, visible=w))
    assert late.state.memory.margin > early.state.memory.margin
