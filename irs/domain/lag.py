"""How late the queue's counts are, from what they and the workers' totals add up to. Pure.

SQS's counts are of a moment that it does not name ("approximate", consistent after "at least
one minute"). The workers' totals are exact and dated. What had been finished by the moment
that the counts are of, plus the messages that they show, is all that had come by then: a
curve as smooth as the arrivals are. Put together with another moment's totals it gets a bump
wherever work picks up or slackens: once with the totals, once with the counts. So of several
lags the one is right whose curve is the smoothest. Noise in the counts is the same in all of
them. While the work goes on evenly, or only follows the arrivals, all look alike, and what
was found stays; then the lag does not matter either.

Messages that came and were finished between two counts are a bump of every lag's curve, but
of a longer one's later: until then it would look the smoother. So a lag is believed only if
its curve is smoother both over the same readings and over the same work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

#: Seconds: the lags that are told apart. Reports are some seconds apart, and so are these.
LAGS = (0.0, *(float(seconds) for seconds in range(10, 61, 5)))
#: Seconds after which what was finished by a moment is known from the reports after it.
SETTLED = 15.0
#: Seconds in which old evidence loses two thirds of its weight.
MEMORY = 1200.0
#: Readings from one end of a bend to its middle: a bump is as long as what tells two lags apart.
STEP = 3
#: How much smoother than the present one's another lag's curve must be to be believed: in
#: messages squared, and as a share.
LEAST, SHARE = 1000.0, 0.2
#: Seconds of work that are remembered.
_KEPT = LAGS[-1] + 2 * SETTLED


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Messages that one worker finished between two of its reports (seconds of any clock)."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """What is known of it; a fresh one takes the counts for exact."""

    #: the lag that is believed, one of `LAGS`
    seconds: float = 0.0
    #: work of the last minutes, and messages finished before
    work: tuple[Work, ...] = ()
    before: float = 0.0
    #: (at, messages in the queue) of readings that are not settled yet
    readings: tuple[tuple[float, int], ...] = ()
    #: the last `2 * STEP` readings' sums, each by lag, the oldest first
    sums: tuple[tuple[float, ...], ...] = ()
    #: by lag, the squares of the bends of the curve that the sums make, weighed by age
    bends: tuple[float, ...] = (0.0,) * len(LAGS)
    #: (at, the same of one reading) of those that some lag's work has yet to come to
    young: tuple[tuple[float, tuple[float, ...]], ...] = ()
    #: moment of the last reading that was settled
    at: float = -math.inf

    def finished(self, moment: float) -> float:
        """Messages known to have been finished by then; evenly between two reports."""
        return self.before + sum(_part(each, moment) for each in self.work)

    def bent(self, seconds: float, *, until: float) -> float:
        """``bends`` of that lag, from the readings up to ``until``."""
        place = LAGS.index(seconds)
        return self.bends[place] - sum(
            bends[place] * _kept(self.at - at) for at, bends in self.young if at > until)


def learn(lag: Lag, now: float, inside: int, work: Iterable[Work]) -> Lag:
    """``lag`` with the counts read at ``now`` and what newer reports tell of work."""
    done, kept = lag.before, []
    for each in (*lag.work, *work):
        if each.end < now - _KEPT:
            done += each.count
        else:
            kept.append(each)
    lag = replace(lag, work=tuple(kept), before=done, readings=(*lag.readings, (now, inside)))
    while lag.readings and lag.readings[0][0] <= now - SETTLED:
        lag = _settle(lag, *lag.readings[0])
    return replace(lag, seconds=_best(lag))


def restarted(lag: Lag, finished: int = 0) -> Lag:
    """What is still true after a time in which nothing was seen; ``finished`` messages are by now."""
    bends = tuple(lag.bent(each, until=lag.at - (LAGS[-1] - each)) for each in LAGS)
    return Lag(seconds=lag.seconds, bends=bends, before=finished)


def _settle(lag: Lag, at: float, inside: int) -> Lag:
    sums = tuple(lag.finished(at - seconds) + inside for seconds in LAGS)
    bends, young = lag.bends, lag.young
    if len(lag.sums) == 2 * STEP:
        new = tuple((first - 2 * mid + last) ** 2
                    for first, mid, last in zip(lag.sums[0], lag.sums[STEP], sums, strict=True))
        keep = _kept(at - lag.at)
        bends = tuple(bend * keep + one for bend, one in zip(bends, new, strict=True))
        young = (*(each for each in young if each[0] > at - LAGS[-1] - SETTLED), (at, new))
    return replace(lag, readings=lag.readings[1:], sums=(*lag.sums, sums)[-2 * STEP:],
                   bends=bends, young=young, at=at)


def _kept(seconds: float) -> float:
    """What evidence is worth so many seconds later."""
    return math.exp(-seconds / MEMORY)


def _best(lag: Lag) -> float:
    mine, other = lag.bends[LAGS.index(lag.seconds)], min(lag.bends)
    if not _clear(mine, other):
        return lag.seconds
    best = LAGS[lag.bends.index(other)]
    # The longer one's last readings are of the work that the shorter one's of a while ago are of.
    apart = best - lag.seconds
    # Readings are seconds apart: of the present one's a reading less, so that none is of newer work.
    mine = lag.bent(lag.seconds, until=lag.at - max(0.0, apart) - _gap(lag))
    other = lag.bent(best, until=lag.at - max(0.0, -apart))
    return best if _clear(mine, other) else lag.seconds


def _gap(lag: Lag) -> float:
    """Seconds between the last two readings."""
    return lag.young[-1][0] - lag.young[-2][0] if len(lag.young) > 1 else 0.0


def _clear(mine: float, other: float) -> bool:
    return mine - other >= max(LEAST, SHARE * mine)


def _part(work: Work, moment: float) -> float:
    if moment >= work.end:
        return work.count
    if moment <= work.start:
        return 0.0
    return work.count * (moment - work.start) / (work.end - work.start)
