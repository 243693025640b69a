"""Scaling policies side by side: ours, everybody else's at their best, and a lower bound.

    python bench/scaling.py --traces DIR     (make bench-scaling TRACES=DIR)

DIR holds the traces named in `DAYS` and `BURSTY` (``second,requests``, .csv.gz); those that
are missing, or all without ``--traces``, are left out and said to be. One run prints, for each:

- a table of our policies and the others with their documented defaults;
- for each of the others, the cheapest of its `grid` whose p95 and p99 are no longer than
  ours, and the cheapest whose p95 keeps the target;
- the list of what the service promises, each with the figure reached: "ok", "MISSED", or
  "beyond" where the lower bound says that nobody can. Exit code 1 where one is missed.

All in instance-hours and ratios of one run, so that nothing depends on this machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from irs.simulate import bound, engine, policies, report, traces  # noqa: E402 - of this tree, wherever it is run
from irs.simulate.world import World  # noqa: E402

OURS = "predictive"
#: Traces of a day: by how much ours must be cheaper than the best of `RIVALS`.
DAYS = {"twitter-day00": 0.25, "worldcup98-06-30": 0.10}
#: Bursty traces: wait target, and the ratio to the bound that ours may reach.
BURSTY = {"azure-llm-code": (60.0, 2.1)}
RIVALS = ("keda", "cortex", "idle-timeout")
WAIT = 30.0
#: Seconds that counts are late in the test of stale counts; nobody tells the scaler.
LAG = 20.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arrivals, and the wait target for them."""

    name: str
    arrivals: np.ndarray
    duration: float
    wait: float = WAIT
    world: World = field(default_factory=World)
    seed: int = 0

    def run(self, policy: str, **changed: float) -> report.Row:
        setting = policies.Setting(world=self.world, wait=self.wait)
        controller = policies.make(policy, setting, **changed)
        controller.name = " ".join([policy, *(f"{key}={value:g}" for key, value in changed.items())])
        ran = engine.simulate(self.arrivals, controller, self.world, self.seed, duration=self.duration)
        return report.row(ran, wait=self.wait, price=self.world.price)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One line of the list at the end."""

    says: str
    reached: str
    kept: bool
    #: nobody can keep it: the bound does not
    beyond: bool = False

    @property
    def verdict(self) -> str:
        return "ok" if self.kept else "beyond" if self.beyond else "MISSED"


class Bench:
    """Runs cases, prints as it goes, and gathers promises."""

    def __init__(self, *, jobs: int, tune: tuple[str, ...]) -> None:
        self._pool = ProcessPoolExecutor(jobs) if jobs > 1 else None
        self._tune = tune
        self.promises: list[Promise] = []
        self.kills = 0

    def promise(self, says: str, reached: str, *, kept: bool, beyond: bool = False) -> None:
        self.promises.append(Promise(says=says, reached=reached, kept=kept, beyond=beyond))

    def _rows(self, case: Case, policy: str, grid: list[dict[str, float]]) -> Iterator[report.Row]:
        if self._pool is None:
            yield from (case.run(policy, **changed) for changed in grid)
        else:
            yield from (each.result() for each in
                        [self._pool.submit(case.run, policy, **changed) for changed in grid])

    def ours(self, case: Case) -> report.Row:
        row = case.run(OURS)
        self.kills += row.busy_kills or 0
        return row

    def day(self, case: Case, below: float) -> None:
        least = self._bound(case)
        rows = [case.run(name) for name in policies.POLICIES]
        rows = [replace(row, ratio=row.instance_hours / least) for row in rows]
        _print(f"{case.name}, W {case.wait:g} s, as documented", [_bound_row(case, least), *rows])
        own = next(row for row in rows if row.policy == OURS)
        first = next(row for row in rows if row.policy == "original")
        self.kills += own.busy_kills or 0
        best = self._tuned(case, own, least)
        self.promise(f"{case.name}: p95 <= {case.wait:g} s", f"{own.p95:.1f} s", kept=own.p95 <= case.wait)
        self.promise(f"{case.name}: instance-hours <= 1.08 x the bound", f"{own.ratio:.3f}",
                     kept=own.ratio <= 1.08)
        share = own.instance_hours / first.instance_hours
        self.promise(f"{case.name}: <= 0.55 x the original rule", f"{share:.3f}", kept=share <= 0.55)
        for name in self._tune:
            says = f"{case.name}: {below:.0%} below the best-tuned {name} at equal p95 and p99"
            if name not in best:
                self.promise(says, "none of its settings is as quick", kept=True)
                continue
            saved = 1 - own.instance_hours / best[name].instance_hours
            possible = 1 - least / best[name].instance_hours
            self.promise(says, f"{saved:.1%} (the bound itself: {possible:.1%})",
                         kept=saved >= below, beyond=possible < below)
        late = self.ours(replace(case, world=replace(case.world, metric_lag=LAG, reports=True)))
        _print(f"{case.name}, counts {LAG:g} s late", [replace(late, ratio=late.instance_hours / least)])
        self.promise(f"{case.name}: counts {LAG:g} s late, p95 <= {case.wait:g} s", f"{late.p95:.1f} s",
                     kept=late.p95 <= case.wait)

    def _tuned(self, case: Case, own: report.Row, least: float) -> dict[str, report.Row]:
        """By policy, the cheapest setting that is as quick as ours; prints both choices."""
        equal: dict[str, report.Row] = {}
        shown = [own]
        for name in self._tune:
            rows = [replace(row, ratio=row.instance_hours / least)
                    for row in self._rows(case, name, policies.POLICIES[name].grid())]
            quick = [row for row in rows if row.p95 <= own.p95 and row.p99 <= own.p99]
            in_time = [row for row in rows if row.p95 <= case.wait]
            for found, what in ((quick, "p95, p99 as ours"), (in_time, "p95 in time")):
                if not found:
                    _say(f"{name}: none of {len(rows)} settings has {what}")
                    continue
                row = min(found, key=lambda each: each.instance_hours)
                shown.append(replace(row, policy=f"{row.policy} ({what})"))
                if found is quick:
                    equal[name] = row
        if self._tune:
            _print(f"{case.name}, the cheapest settings of each grid", shown)
        return equal

    def bursty(self, case: Case, most: float) -> None:
        least = self._bound(case)
        rows = [case.run(name) for name in policies.POLICIES]
        rows = [replace(row, ratio=row.instance_hours / least) for row in rows]
        _print(f"{case.name}, W {case.wait:g} s, as documented", [_bound_row(case, least), *rows])
        own = next(row for row in rows if row.policy == OURS)
        self.kills += own.busy_kills or 0
        self.promise(f"{case.name}: instance-hours <= {most:g} x the bound at W = {case.wait:g} s",
                     f"{own.ratio:.3f}", kept=own.ratio <= most)
        self.promise(f"{case.name}: p95 <= {case.wait:g} s", f"{own.p95:.1f} s", kept=own.p95 <= case.wait)

    def burst(self, case: Case) -> None:
        rows = [case.run(name) for name in policies.POLICIES]
        _print(f"{case.name}, W {case.wait:g} s, as documented", rows)
        # One burst is one draw of boot times: what is promised holds over many.
        runs = [self.ours(replace(case, seed=seed)) for seed in range(20)]
        most, wasted = max(row.launches for row in runs), sum(row.wasted_launches for row in runs)
        p95 = float(np.mean([row.p95 for row in runs]))
        draws = f"{len(runs)} draws"
        self.promise(f"{case.name}: <= 4 launches (most of {draws})", str(most), kept=most <= 4)
        self.promise(f"{case.name}: none wasted (in {draws})", str(wasted), kept=not wasted)
        self.promise(f"{case.name}: p95 <= 82 s (mean of {draws})", f"{p95:.1f} s", kept=p95 <= 82)

    def _bound(self, case: Case) -> float:
        """Instance-hours."""
        _say(f"{case.name}: the bound …")
        found = bound.lower(case.arrivals, case.world, wait=case.wait, duration=case.duration)
        return found.instance_seconds / 3600


def _bound_row(case: Case, least: float) -> report.Row:
    return report.Row(policy=f"lower bound (p95 <= {case.wait:g} s)", instance_hours=least,
                      dollars=least * case.world.price, ratio=1.0)


def _print(title: str, rows: list[report.Row]) -> None:
    sys.stdout.write(f"\n{title}\n{report.table(rows)}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")


def _case(folder: Path | None, name: str, *, wait: float, seed: int) -> Case | None:
    path = folder / f"{name}.csv.gz" if folder else None
    if path is None or not path.exists():
        sys.stdout.write(f"\n{name}: no such trace here, left out\n")
        return None
    trace = traces.scaled(traces.load(path))
    return Case(name=name, arrivals=traces.draw(trace, seed), duration=trace.duration, wait=wait, seed=seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, metavar="DIR", help="where the trace files are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes for the grids")
    parser.add_argument("--no-tuning", action="store_true", help="documented defaults only: minutes less")
    parser.add_argument("--tune", nargs="*", default=list(RIVALS), metavar="POLICY",
                        help=f"whose grids to search  [default: {' '.join(RIVALS)}]")
    options = parser.parse_args()
    bench = Bench(jobs=options.jobs, tune=() if options.no_tuning else tuple(options.tune))
    for name, below in DAYS.items():
        if case := _case(options.traces, name, wait=WAIT, seed=options.seed):
            bench.day(case, below)
    for name, (wait, most) in BURSTY.items():
        if case := _case(options.traces, name, wait=wait, seed=options.seed):
            bench.bursty(case, most)
    once = traces.burst()
    bench.burst(Case(name="burst 0 to 100", wait=90.0, duration=once.duration,
                     arrivals=traces.draw(once, 0)))
    bench.promise("no busy kill anywhere", str(bench.kills), kept=not bench.kills)
    sys.stdout.write("\nPromised, and reached in this run\n")
    for each in bench.promises:
        sys.stdout.write(f"{each.verdict:6}  {each.says}: {each.reached}\n")
    return int(any(each.verdict == "MISSED" for each in bench.promises))


if __name__ == "__main__":
    sys.exit(main())
