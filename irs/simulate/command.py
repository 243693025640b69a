"""`irs simulate`: run policies over traces, beside a lower bound; print, write, plot.

The verb in `irs.cli` is thin: this is its body, imported only when it runs.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from irs.errors import IRSError
from irs.simulate import bound, engine, history, policies, report, traces
from irs.simulate.world import World

#: Synthetic traces by name; each is given the seed.
SYNTHETIC: dict[str, Callable[[int], traces.Trace]] = {
    "burst": lambda seed: traces.burst(),
    "diurnal": traces.diurnal,
    "coursework": traces.coursework,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for."""

    #: trace files, synthetic names, a log of the running scaler
    paths: Sequence[Path] = ()
    synthetic: Sequence[str] = ()
    log: Path | None = None
    #: ``name`` or ``name:parameter=value,…``; none: every policy with its defaults
    policies: Sequence[str] = ()
    #: W, seconds
    wait: float = 30.0
    seed: int = 0
    #: requests/s that traces are scaled to; None: as they are
    peak: float | None = traces.PEAK
    world: World = field(default_factory=World)
    #: measured service and boot times of a log replace the world's
    measured: bool = True
    bound: bool = True


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One load under each policy."""

    load: Load
    #: first the bound and what was recorded, where there are such
    rows: tuple[report.Row, ...]
    runs: tuple[engine.Run, ...]


def options(*, traces: Sequence[Path], synthetic: Sequence[str], from_log: Path | None,
            policy: Sequence[str], wait: float, seed: int, peak: float, no_bound: bool,
            service: float | None, boot: float | None, price: float | None, cap: int, lag: float,
            noise: float, outage: Sequence[tuple[float, float]], crashes: float) -> Options:
    """The command line's words as `Options`; None, and a peak of 0, stand for a default."""
    changed: dict[str, Any] = {"cap": cap, "metric_lag": lag, "metric_noise": noise,
                               "reports": lag > 0, "outages": tuple(outage), "crash_seconds": crashes}
    if service is not None:
        changed["service_seconds"] = service
    if boot is not None:
        changed |= _boot(World(), boot)
    if price is not None:
        changed["price"] = price
    return Options(paths=traces, synthetic=synthetic, log=from_log, policies=policy, wait=wait, seed=seed,
                   peak=peak or None, bound=not no_bound, world=World(**changed),
                   measured=service is None and boot is None)


def _boot(base: World, median: float) -> dict[str, float]:
    # The share of a boot that is billed is EC2's, whatever the boot takes.
    return {"boot_median": median, "boot_billed": base.boot_billed * median / base.boot_median}


def simulate(asked: Options, *,
             progress: Callable[[str, float], None] | None = None) -> Iterator[Outcome]:
    """Each load in turn. ``progress`` is told a label and the share of its work done, 0 to 1.

    Raises `IRSError`, fit for a person, for a trace, log or policy that cannot be read.
    """
    said = progress or (lambda label, share: None)
    try:
        wanted = [parse_policy(text) for text in asked.policies or policies.POLICIES]
        loads = list(_loads(asked))
    except ValueError as exc:
        raise IRSError(str(exc)) from exc
    for load in loads:
        yield _one(load, wanted, asked, said)


def _one(load: Load, wanted: Sequence[tuple[str, dict[str, float]]], asked: Options,
         said: Callable[[str, float], None]) -> Outcome:
    rows: list[report.Row] = []
    least: float | None = None
    if asked.bound and len(load.arrivals):
        said(f"{load.name}: lower bound", 0.0)
        found = bound.lower(load.arrivals, load.world, wait=asked.wait, duration=load.duration)
        least = found.instance_seconds
        rows.append(report.Row(policy=f"lower bound (p95 <= {asked.wait:g} s)", ratio=1.0,
                               instance_hours=least / 3600, dollars=least / 3600 * load.world.price))
    if load.recorded:
        rows.append(load.recorded)
    setting = policies.Setting(world=load.world, wait=asked.wait, peak=_peak(load))
    runs = []
    for name, changed in wanted:
        label = f"{load.name}: {name}"
        try:
            controller = policies.make(name, setting, **changed)
        except TypeError as exc:
            raise IRSError(f"policy {name}: no such parameter among {', '.join(changed)}") from exc
        controller.name = ":".join([name, ",".join(f"{k}={v:g}" for k, v in changed.items())]).rstrip(":")
        said(label, 0.0)
        run = engine.simulate(load.arrivals, controller, load.world, asked.seed, duration=load.duration,
                              progress=lambda share, label=label: said(label, share))
        runs.append(run)
        rows.append(report.row(run, wait=asked.wait, price=load.world.price, bound=least))
    return Outcome(load=load, rows=tuple(rows), runs=tuple(runs))


def parse_policy(text: str) -> tuple[str, dict[str, float]]:
    """``keda:queue_length=10,polling=5`` as a name and parameters; raises `ValueError`."""
    name, _, rest = text.partition(":")
    if name not in policies.POLICIES:
        raise ValueError(f"no policy {name!r}; there are {', '.join(policies.POLICIES)}")
    changed: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        try:
            changed[key.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"policy {text!r}: want name:parameter=number,…")
    return name, changed


def _loads(asked: Options) -> Iterator[Load]:
    for path in asked.paths:
        yield _drawn(traces.load(path), asked)
    for name in asked.synthetic:
        if name not in SYNTHETIC:
            raise ValueError(f"no synthetic trace {name!r}; there are {', '.join(SYNTHETIC)}")
        yield _drawn(SYNTHETIC[name](asked.seed), asked)
    if asked.log is not None:
        yield _replay(asked.log, asked)


def _drawn(trace: traces.Trace, asked: Options) -> Load:
    # A burst is a number of messages, not a rate: scaling it would change what was asked.
    if asked.peak is not None and not trace.exact:
        trace = traces.scaled(trace, asked.peak)
    return Load(name=trace.name, arrivals=traces.draw(trace, asked.seed), duration=trace.duration,
                world=asked.world)


def _replay(path: Path, asked: Options) -> Load:
    with path.open(encoding="utf-8", errors="replace") as lines:
        found = history.read(lines, service=None if asked.measured else asked.world.service_seconds)
    base = _measured(asked.world, found) if asked.measured else asked.world
    hours = found.instance_seconds / 3600
    note = (f"from {found.began:%Y-%m-%d %H:%M} UTC, {base.service_seconds:.2f} s an image, "
            f"boot {base.boot_median:.0f} s")
    if not found.exact:
        note += "; arrivals guessed from queue counts: the log has neither arrivals nor completions"
    return Load(name=path.name, arrivals=found.arrivals, duration=found.seconds, world=base, note=note,
                recorded=report.Row(policy="as it ran", instance_hours=hours, dollars=hours * base.price,
                                    launches=found.launches))


def _measured(base: World, found: history.History) -> World:
    changed: dict[str, Any] = {}
    if found.service_seconds:
        changed["service_seconds"] = found.service_seconds
    if found.boot_seconds:
        changed |= _boot(base, found.boot_seconds)
    return replace(base, **changed)


def _peak(load: Load) -> float:
    """Requests/s at the busiest, as `irs.simulate.traces.peak` has it, of what really arrived."""
    seconds = np.bincount(load.arrivals.astype(int), minlength=1).astype(float)
    return traces.peak(traces.Trace(name=load.name, counts=seconds))


def run(asked: Options, *, say: Callable[[str], None], json_path: Path | None = None,
        plot_path: Path | None = None) -> None:
    """The whole verb: ``say`` is given a table a load, and the files that were asked for are written.

    Raises `IRSError` for what cannot be read and `OSError` for what cannot be written.
    """
    outcomes = []
    with _bar() as progress:
        for outcome in simulate(asked, progress=progress):
            outcomes.append(outcome)
            load = outcome.load
            say(f"{load.name}: {len(load.arrivals)} messages, {load.duration / 3600:.2f} h, W "
                f"{asked.wait:g} s, seed {asked.seed}, ${load.world.price:g} an instance-hour")
            if load.note:
                say(load.note)
            say(f"{report.table(outcome.rows)}\n")
    if json_path is not None:
        json_path.write_text(json.dumps(as_dict(asked, outcomes), indent=2) + "\n", encoding="utf-8")
    if plot_path is not None:
        columns = [(o.load.name, [(each, o.load.arrivals) for each in o.runs]) for o in outcomes]
        try:
            report.plot(plot_path, columns, wait=asked.wait)
        except ValueError as exc:
            raise IRSError(f"{plot_path}: {exc}") from exc


def as_dict(asked: Options, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What ``--json`` writes."""
    return {"wait": asked.wait, "seed": asked.seed, "peak": asked.peak, "traces": [
        {"name": o.load.name, "messages": len(o.load.arrivals), "seconds": o.load.duration,
         "world": asdict(o.load.world), "policies": [report.as_dict(row) for row in o.rows]}
        for o in outcomes]}


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr at a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda label, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True,
                  console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=1.0)

        def said(label: str, share: float) -> None:
            # Nothing is known of the bound's progress: the bar pulses.
            bar.update(task, description=label, completed=share,
                       total=None if label.endswith("bound") else 1.0)
        yield said
