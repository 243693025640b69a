"""Every fault, by area. Add one to its module's ``FAULTS``."""

from tests.faults.catalogue import network
from tests.faults.catalogue.fault import Active, Fault

FAULTS: tuple[Fault, ...] = tuple(sorted((*network.FAULTS,), key=lambda fault: (fault.number, fault.name)))

__all__ = ["FAULTS", "Active", "Fault"]
