"""`irs simulate`: run policies over traces, beside a lower bound; print, write, plot.

The verb in `irs.cli` is thin: this is its body, imported only when it runs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from irs.errors import IRSError
from irs.simulate import bound, engine, loads, policies, report, traces
from irs.simulate.loads import SYNTHETIC, Load
from irs.simulate.world import World


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
    if price is not None:
        changed["price"] = price
    world = World(**changed) if boot is None else World(**changed).booting(boot)
    return Options(paths=traces, synthetic=synthetic, log=from_log, policies=policy, wait=wait, seed=seed,
                   peak=peak or None, bound=not no_bound, world=world,
                   measured=service is None and boot is None)


def simulate(asked: Options, *,
             progress: Callable[[str, float], None] | None = None) -> Iterator[Outcome]:
    """Each load in turn. ``progress`` is told a label and the share of its work done, 0 to 1.

    Raises `IRSError`, fit for a person, for a trace, log or policy that cannot be read.
    """
    said = progress or (lambda label, share: None)
    try:
        wanted = [parse_policy(text) for text in asked.policies or policies.POLICIES]
        served = list(_loads(asked))
    except ValueError as exc:
        raise IRSError(str(exc)) from exc
    for load in served:
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
    setting = policies.Setting(world=load.world, wait=asked.wait, peak=load.peak)
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
    drawn = functools.partial(loads.drawn, seed=asked.seed, peak=asked.peak, world=asked.world)
    for path in asked.paths:
        yield drawn(traces.load(path))
    for name in asked.synthetic:
        if name not in SYNTHETIC:
            raise ValueError(f"no synthetic trace {name!r}; there are {', '.join(SYNTHETIC)}")
        yield drawn(SYNTHETIC[name](asked.seed))
    if asked.log is not None:
        yield loads.replayed(asked.log, world=asked.world, measured=asked.measured)


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
