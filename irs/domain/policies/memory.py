"""What the predictive rule remembers from tick to tick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Empty at the start and after a restart. Moments are seconds of the Unix epoch."""

    #: moment of the last tick
    at: float | None = None
    #: (counted at, visible, messages that had come) of the last three readings, oldest first
    readings: tuple[tuple[float, float, float], ...] = ()
    #: in flight at the last reading; messages finished by then where nobody counts them
    in_flight: float = 0.0
    done: float = 0.0
    #: (counted at, messages that had come) that the curve has come to
    level: tuple[float, float] = (0.0, 0.0)
    #: (counted at, messages that had come since the first reading), oldest first
    curve: tuple[tuple[float, float], ...] = ()
    #: counted at: the last reading in which something had come
    came_at: float = 0.0
    #: arrivals a second of the last five readings
    rates: tuple[float, ...] = ()
    #: moving averages of the arrivals a second, and the weight that each has gathered
    fast: tuple[float, float] = (0.0, 0.0)
    slow: tuple[float, float] = (0.0, 0.0)
    #: (since, instances that served), oldest first
    served: tuple[tuple[float, int], ...] = ()
    #: (at, instances worth keeping then), oldest first
    keeps: tuple[tuple[float, int], ...] = ()
    #: seconds taken off the wait target, learnt from the messages that were late
    margin: float = 0.0
    #: the counts of arrivals and completions last told
    arrived: int | None = None
    finished: int | None = None
    #: ids that should be active now: the last tick's fleet without what it ended
    expected: frozenset[str] = frozenset()
