"""The fakes, shipped: what a test of IRS, or of a program built on it, runs against.

Each fake has the methods of its real port in `irs.aws`; one contract suite
(`tests/contract`) runs against both. One module a fake.
"""

from irs.testing.clock import FakeClock, SystemClock
from irs.testing.faults import FaultPlan
from irs.testing.fleet import MemoryFleet
from irs.testing.objects import MemoryForeign, MemoryObjects
from irs.testing.queue import MemoryQueue
from irs.testing.results import MemoryListener, MemoryResults

__all__ = [
    "FakeClock", "FaultPlan", "MemoryFleet", "MemoryForeign", "MemoryListener", "MemoryObjects",
    "MemoryQueue", "MemoryResults", "SystemClock",
]
