"""How long from the start of a process to its use: the worker, the web tier, the command.

    python bench/start.py [--rounds N] [--imports] [--json FILE]

A round starts each in turn on a cloud of its own, with the model exported and the compiled
files in place, as the round before the first, which is not counted, leaves them:

worker   with a task already in the queue, until the task's result is in the output bucket
web      until a connection is taken, and until ``/readyz`` says 200
irs      ``--help`` and ``version``, beside what an interpreter takes that does nothing

Seconds depend on the machine: beside them stand those of processor time up to that moment
and the ratio to ``python -c "import numpy"`` in the same run. ``--imports`` adds each one's
ten dearest imports in ms, by what they pull in and by a package's own share. Exit code 1
where the median breaks a budget of `BUDGETS` or the worker imported torch. Linux only.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from efficiency import Load, photographs
from service import START, STOP, Tier, Tiers, lives, ready, until, verdict

from irs import settings as settings_module
from irs.aws.objects import Objects
from irs.domain import keys
from irs.local import children
from irs.local.emulator import HOST, bind
from irs.model import export_child, exported

NUMPY, HELP = 'python -c "import numpy"', "irs --help"
RESULT, LISTENS, READY = "worker: first result stored", "web: listens", "web: /readyz 200"
#: What must hold of the medians, in seconds.
BUDGETS = {RESULT: 2.0, LISTENS: 1.0, HELP: 0.3}
#: Events in the worker's log on the way to its first result.
EVENTS = {"model.ready": "worker: model loaded", "worker.ready": "worker: takes tasks"}
IRS = Path(sys.executable).with_name("irs")
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    NUMPY: [sys.executable, "-c", "import numpy"],
    HELP: [str(IRS), "--help"],
    "irs version": [str(IRS), "version"],
}
#: Makes an interpreter print its imports, as ``-X importtime`` does, through any launcher.
TRACED = {"PYTHONPROFILEIMPORTTIME": "1"}
_IMPORT = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \|\s*(\S+)$", re.MULTILINE)

#: Seconds by the clock and, where they are known, of processor time; by what was waited for.
Times = dict[str, tuple[float, float | None]]


class Starts:
    """Starts things on one cloud; each method gives what it took and what was printed meanwhile."""

    def __init__(self, tiers: Tiers, directory: Path) -> None:
        self._settings = tiers.settings
        self._directory = directory
        self._load = Load(tiers.settings, photographs([])[:1])
        self._outputs = Objects(tiers.settings, tiers.settings.output_bucket)
        #: whether a worker was seen to have torch in it
        self.torch = False

    def command(self, name: str, **env: str) -> tuple[Times, str]:
        """One of `COMMANDS`, to its end."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(COMMANDS[name], env=children.base_env() | env, cwd=self._directory,
                              capture_output=True, text=True, check=True)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {name: (took, cpu)}, done.stderr

    def worker(self, **env: str) -> tuple[Times, str]:
        """A worker that finds one task in the queue."""
        until(self._load.empty, STOP, "the queue empty")
        job, = self._load.fill(1)
        at, began = time.time(), time.perf_counter()
        tier = self._spawn("worker_entry.py", **env)
        try:
            until(lambda: lives(tier) and self._outputs.exists(keys.output_key(job.id)), START,
                  "a result")
            took = time.perf_counter() - began, tier.cpu()
            self.torch |= "libtorch" in Path(f"/proc/{tier.pid}/maps").read_text()
            until(lambda: lives(tier) and "worker.ready" in tier.log(), START, "worker ready")
        finally:
            tier.child.stop(STOP)
        logged = tier.log()
        return {EVENTS[name]: (when - at, None) for name, when in _events(logged)} | {RESULT: took}, logged

    def web(self, **env: str) -> tuple[Times, str]:
        """A web tier."""
        with bind(0) as free:
            port = free.getsockname()[1]
        took: Times = {}
        began = time.perf_counter()
        tier = self._spawn("web_entry.py", IRS_PORT=str(port), **env)
        try:
            for name, good in ((LISTENS, lambda: _connects(port)), (READY, lambda: ready(f"http://{HOST}:{port}"))):
                until(lambda good=good: lives(tier) and good(), START, name)
                took[name] = time.perf_counter() - began, tier.cpu()
        finally:
            tier.child.stop(STOP)
        return took, tier.log()

    def _spawn(self, script: str, **env: str) -> Tier:
        given = settings_module.as_env(self._settings, *self._settings.model_fields_set)
        return Tier(children.spawn(
            script, [sys.executable, str(children.ROOT / script)], cwd=self._directory,
            log=self._directory / f"{script}.log", env=children.base_env() | given | env))


def _connects(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def _events(logged: str) -> list[tuple[str, float]]:
    """Those of `EVENTS` in a log of JSON lines, each with its time in seconds since 1970."""
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    return [(line["event"], datetime.fromisoformat(line["timestamp"]).timestamp())
            for line in lines if line.get("event") in EVENTS]


# -- imports ------------------------------------------------------------------------------------

def dearest(printed: str, count: int = 10) -> dict[str, list[tuple[str, float]]]:
    """The dearest modules with all that they pull in, and packages by their own time, ms."""
    found = [(int(own) / 1e3, int(pulled) / 1e3, name) for own, pulled, name in _IMPORT.findall(printed)]
    modules = sorted(((name, pulled) for _, pulled, name in found), key=lambda row: -row[1])
    packages: collections.Counter[str] = collections.Counter()
    for own, _, name in found:
        package = name.partition(".")[0]
        packages["(standard library)" if package in sys.stdlib_module_names else package] += own
    return {"modules": modules[:count], "packages": packages.most_common(count),
            "in all": [(f"{len(found)} modules", sum(own for own, _, _ in found))]}


# -- all of it ------------------------------------------------------------------------------------

def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures."""
    took: dict[str, list[tuple[float, float | None]]] = collections.defaultdict(list)
    found: dict[str, Any] = {"rounds": options.rounds}
    with tempfile.TemporaryDirectory() as scratch, Tiers(Path(scratch), log_format="json") as tiers:
        if exported.find(tiers.settings) is None:
            export_child.in_subprocess(tiers.settings)
        starts = Starts(tiers, Path(scratch))
        kinds: dict[str, Callable[..., tuple[Times, str]]] = {
            name: lambda name=name, **env: starts.command(name, **env) for name in COMMANDS}
        kinds |= {"web_entry.py": starts.web, "worker_entry.py": starts.worker}
        for number in range(-1, options.rounds):
            for start in kinds.values():
                times, _ = start()
                for name, row in times.items() if number >= 0 else ():
                    took[name].append(row)
        found["torch_in_worker"] = starts.torch
        if options.imports:
            found["imports"] = {name: dearest(start(**TRACED)[1]) for name, start in kinds.items()}
    return found | {"starts": summary(took)}


def summary(took: dict[str, list[tuple[float, float | None]]]) -> dict[str, dict[str, float | None]]:
    """Of each start: median and worst seconds, median processor time, ratio to `NUMPY`."""
    def middle(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    numpy = statistics.median(seconds for seconds, _ in took[NUMPY])
    return {name: {"median": middle([s for s, _ in rows]), "worst": max(s for s, _ in rows),
                   "cpu": middle([cpu for _, cpu in rows]),
                   "numpys": statistics.median(s for s, _ in rows) / numpy,
                   "budget": BUDGETS.get(name)} for name, rows in took.items()}


def broken(found: dict[str, Any]) -> list[str]:
    """Budgets that are not kept, in words."""
    lines = [f"{name}: {row['median']:.2f} s, {row['numpys']:.1f} times an import of numpy; "
             f"{row['budget']:g} s may be"
             for name, row in found["starts"].items() if row["budget"] and row["median"] > row["budget"]]
    return lines + ["the worker has torch in it"] * found["torch_in_worker"]


def show(found: dict[str, Any]) -> None:
    """The tables."""
    print(f"seconds from the start, {found['rounds']} rounds; processor time up to then; "
          "ratio to an import of numpy")
    print(f"{'':<30}{'median':>9}{'worst':>9}{'cpu':>9}{'ratio':>9}{'budget':>9}")
    for name, row in found["starts"].items():
        cells = [row["median"], row["worst"], row["cpu"], row["numpys"], row["budget"]]
        print(f"{name:<30}" + "".join(f"{'':>9}" if cell is None else f"{cell:>9.2f}" for cell in cells))
    print(f"torch in the worker: {'yes' if found['torch_in_worker'] else 'no'}")
    for name, parts in found.get("imports", {}).items():
        (modules, ms), = parts["in all"]
        print(f"\n{name}: {modules} imported in {ms:.0f} ms (traced, which slows them)")
        left = [f"{module:<40}{ms:>8.1f}" for module, ms in parts["modules"]]
        right = [f"{package:<30}{ms:>8.1f}" for package, ms in parts["packages"]]
        print(f"  {'with what it pulls in':<40}{'ms':>8}    {'own, by package':<30}{'ms':>8}")
        for number in range(max(len(left), len(right))):
            print(f"  {left[number] if number < len(left) else '':<48}    "
                  f"{right[number] if number < len(right) else ''}")


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options)
    show(found)
    return verdict(found, broken(found), options.json)


if __name__ == "__main__":
    sys.exit(main())
