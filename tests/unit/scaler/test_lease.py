"""One holder at a time, whoever dies, stalls or loses an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from irs import errors
from irs.domain.journal import Journal
from irs.scaler.lease import MARGIN, RENEW, TTL, Lease, Lost
from irs.testing import FakeClock, FaultPlan, MemoryObjects

KEY = "scaler/irs.json"


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = MemoryObjects(clock=self.clock)
        self.plan = FaultPlan()

    def lease(self, holder: str, *, skew: float = 0) -> Lease:
        """``skew``: this machine's monotonic clock began elsewhere."""
        return Lease(self.plan.wrap(self.objects), KEY, holder=holder,
                     clock=lambda: self.clock.now().timestamp() + skew)

    def stored(self) -> Journal:
        return Journal.from_json(self.objects.get(KEY))


def test_the_first_comes_first() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two")
    assert one.take()
    assert not two.take()
    assert (one.held, two.held) == (True, False)
    assert (rig.stored().holder, rig.stored().epoch) == ("one", 1)


def test_a_holder_that_renews_stays() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two", skew=-1e6)
    assert one.take()
    for _ in range(30):
        rig.clock.advance(RENEW)
        assert one.due
        one.write(one.journal)
        assert not two.take()
    assert rig.stored().epoch == 1


def test_a_holder_that_dies_is_succeeded_within_30_seconds_with_the_next_epoch() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two", skew=1e6)
    one.take()
    one.write(replace(one.journal, service_seconds=0.5))
    two.take()
    waited = 0.0
    while not two.take():
        rig.clock.advance(RENEW)
        waited += RENEW
    assert TTL <= waited < 30
    assert (two.journal.epoch, two.journal.service_seconds) == (2, 0.5)
    assert not one.held


def test_a_holder_stops_before_a_successor_may_begin() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two")
    one.take()
    two.take()  # sees it at once, so its patience begins as early as it can
    rig.clock.advance(TTL - MARGIN)
    assert not one.held
    assert not two.take()
    rig.clock.advance(MARGIN)
    assert two.take()


def test_one_that_was_slow_goes_on_where_nobody_has_taken_over() -> None:
    rig = Rig()
    one = rig.lease("one")
    one.take()
    rig.clock.advance(10 * TTL)
    assert not one.held
    one.write(one.journal)
    assert one.held
    assert rig.stored().epoch == 1


def test_one_that_was_stalled_finds_out_and_writes_nothing() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two")
    one.take()
    two.take()
    rig.clock.advance(TTL)
    assert two.take()
    with pytest.raises(Lost):
        one.write(one.journal)
    assert rig.stored().holder == "two"
    assert not one.take()


def test_the_fence_holds_where_a_clock_stood_still() -> None:
    """A machine that slept: by its own clock no time has passed."""
    rig = Rig()
    stopped = rig.clock.now().timestamp()
    one = Lease(rig.objects, KEY, holder="one", clock=lambda: stopped)
    two = rig.lease("two")
    one.take()
    two.take()
    rig.clock.advance(TTL)
    assert two.take()
    assert one.held, "it thinks"
    with pytest.raises(Lost, match="two has taken over"):
        one.write(one.journal)
    assert not one.held


def test_a_lease_that_is_handed_back_is_taken_at_once() -> None:
    rig = Rig()
    one, two = rig.lease("one"), rig.lease("two")
    one.take()
    one.release()
    assert not one.held
    assert two.take()
    one.release()
    assert two.held
    assert rig.stored().holder == "two"


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_write_whose_answer_is_lost_is_ones_own(nth: int) -> None:
    rig = Rig()
    rig.plan.fail("put", nth, errors.Unreachable("timeout"), after=True)
    one = rig.lease("one")
    took = written = 0
    for number in range(4):
        try:
            if not one.held:
                took += one.take()
            else:
                one.write(replace(one.journal, service_seconds=number + 1.0))
                written += 1
        except errors.Unreachable:
            continue
    assert one.held
    assert rig.stored().holder == "one"
    assert (took, written) == (1, 2)
    assert rig.stored().service_seconds == 4.0


def test_a_write_that_did_not_arrive_is_made_again() -> None:
    rig = Rig()
    one = rig.lease("one")
    one.take()
    rig.plan.fail("put", 2, errors.Unreachable("timeout"))
    with pytest.raises(errors.Unreachable):
        one.write(one.journal)
    one.write(one.journal)
    assert one.held


def test_of_two_that_take_over_at_once_one_succeeds() -> None:
    rig = Rig()
    rig.lease("one").take()
    two, three = rig.lease("two"), rig.lease("three")
    assert not two.take()
    assert not three.take()
    rig.clock.advance(TTL)
    assert [two.take(), three.take()] == [True, False]
    assert rig.stored().epoch == 2


def test_an_object_that_is_no_journal_is_replaced_after_a_while() -> None:
    rig = Rig()
    rig.objects.put(KEY, b"{}")
    one = rig.lease("one")
    assert not one.take()
    rig.clock.advance(TTL)
    assert one.take()
    assert rig.stored().holder == "one"


def test_a_journal_that_is_deleted_is_found_out() -> None:
    rig = Rig()
    one = rig.lease("one")
    one.take()
    rig.objects.delete(KEY)
    with pytest.raises(Lost):
        one.write(one.journal)
    assert one.take()
