"""Every fault, by area: one module an area, each with its ``FAULTS``."""

import importlib
import pkgutil

from tests.faults.catalogue.fault import Active, Fault

FAULTS: tuple[Fault, ...] = tuple(sorted(
    (fault for module in pkgutil.iter_modules(__path__)
     for fault in getattr(importlib.import_module(f"{__name__}.{module.name}"), "FAULTS", ())),
    key=str))

__all__ = ["FAULTS", "Active", "Fault"]
