"""How long the caller can still wait for the cloud: said once, by whoever answers somebody.

What takes a while and can be ended obeys it: `irs.aws.objects.Objects.put` and
`irs.aws.batching.Combiner.submit`. It holds for the calls of this thread alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("irs-hurry", default=math.inf)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is called here has so many seconds in all, or what is left of those around it."""
    before = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(before)


def left() -> float:
    """Seconds; infinity where nobody is in a hurry, 0 where the time is over."""
    return max(0.0, _end.get() - time.monotonic())
