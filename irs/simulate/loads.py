"""What a fleet has to serve: a trace's arrivals, invented ones, or those of a scaler's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from irs.simulate import history, report, traces
from irs.simulate.world import World

#: Synthetic traces by name; each is given the seed.
SYNTHETIC: dict[str, Callable[[int], traces.Trace]] = {
    "burst": lambda seed: traces.burst(),
    "diurnal": traces.diurnal,
    "coursework": traces.coursework,
}


@dataclass(frozen=True, kw_only=True)
class Load:
    """Arrivals to serve."""

    name: str
    arrivals: np.ndarray
    #: seconds
    duration: float
    world: World
    #: what really happened, for a log
    recorded: report.Row | None = None
    #: a sentence for the person who reads the table
    note: str = ""

    @property
    def peak(self) -> float:
        """Requests/s at the busiest, as `irs.simulate.traces.peak` has it, of what really arrived."""
        seconds = np.bincount(self.arrivals.astype(int), minlength=1).astype(float)
        return traces.peak(traces.Trace(name=self.name, counts=seconds))


def drawn(trace: traces.Trace, *, seed: int, peak: float | None, world: World) -> Load:
    """A trace's arrivals, scaled to ``peak`` requests/s; None: as they are."""
    # A burst is a number of messages, not a rate: scaling it would change what was asked.
    if peak is not None and not trace.exact:
        trace = traces.scaled(trace, peak)
    return Load(name=trace.name, arrivals=traces.draw(trace, seed), duration=trace.duration, world=world)


def replayed(path: Path, *, world: World, measured: bool) -> Load:
    """What a log of the running scaler tells; where it is ``measured``, its times replace the world's.

    Raises `ValueError` for a log that tells too little, `OSError` for one that cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        found = history.read(lines, service=None if measured else world.service_seconds)
    base = _measured(world, found) if measured else world
    hours = found.instance_seconds / 3600
    note = (f"from {found.began:%Y-%m-%d %H:%M} UTC, {base.service_seconds:.2f} s an image, "
            f"boot {base.boot_median:.0f} s")
    if not found.exact:
        note += "; arrivals guessed from queue counts: the log has neither arrivals nor completions"
    return Load(name=path.name, arrivals=found.arrivals, duration=found.seconds, world=base, note=note,
                recorded=report.Row(policy="as it ran", instance_hours=hours, dollars=hours * base.price,
                                    launches=found.launches))


def _measured(base: World, found: history.History) -> World:
    if found.service_seconds:
        base = replace(base, service_seconds=found.service_seconds)
    return base.booting(found.boot_seconds) if found.boot_seconds else base
