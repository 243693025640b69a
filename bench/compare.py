"""The whole service beside three model servers and the original's design, over HTTP.

    python bench/compare.py [PHOTO…] [--images N] [--concurrency N…] [--only NAME…] [--json FILE]

    irs           emulated cloud, web tier and one worker
    irs-openvino  the same with IRS_ENGINE=openvino: bfloat16 where the processor computes in it
    litserve      LitServe, one worker; `bench/peers/litserve_app.py`
    bentoml       BentoML, one worker; `bench/peers/bentoml_app.py`
    ray           Ray Serve, one replica; `bench/peers/ray_app.py`
    original      one message at a time, for each a process that loads torch and the network

All get the same requests (``POST /upload``, a form with the field ``myfile``) and the same
cores. All but the last run the same exported model and batch up to ``--batch`` images, and all
but irs-openvino run it in onnxruntime with the same options. The peers are installed once, at
`systems.PINS`, into environments of their own below ``.irs/peers``. One system runs at a time;
rounds alternate.

The load is a closed loop of threads with kept-alive connections. Its CPU comes out of the same
cores, alike for all: the column ``client``. CPU per image is that of a system's whole process
tree; ``bound`` is cores over it, the rate if nothing else used the cores and none were idle.
The rows ``- cloud`` leave out the emulator's CPU, which AWS would spend. Without
photographs, those of scikit-image are taken. Linux only.

Exit code 1 where an answer is wrong (not 200, or not the label that onnxruntime finds likeliest,
or as likely but for `TIE`) or a stopped system left processes; else 3 where a system could not be
installed or started.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from client import form
from efficiency import photographs
from peers import systems
from service import in_memory, until
from upload import quantile

from irs import settings as settings_module
from irs.domain import images
from irs.local.emulator import HOST
from irs.model import engine as engines

#: Seconds for one answer, and for the last processes of a stopped system to go.
ANSWER, GONE = 300.0, 15.0
#: Of a probability: bfloat16 has three digits, and may take the one for the other.
TIE = 0.05
COLUMNS = {"system": "system", "at_once": "at once", "rate": "images/s", "p50_ms": "p50 ms",
           "p95_ms": "p95 ms", "p99_ms": "p99 ms", "cpu_ms": "CPU ms/image", "bound": "bound/s",
           "client_ms": "client ms/image", "wrong": "wrong", "left": "left"}
_LABEL = re.compile(rb'"label": ?("(?:[^"\\]|\\.)*")')
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


# -- processes ----------------------------------------------------------------------------------

def adopt_orphans() -> None:
    """Keep each started process below this one, whatever becomes of those in between."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def below(root: int) -> dict[int, float]:
    """The living processes below ``root``, each with its seconds of CPU so far.

    The CPU of children that it has waited for is its own.
    """
    cpu: dict[int, float] = {}
    offspring: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since the listing
        if fields[0] not in "ZX":
            cpu[int(path.parent.name)] = sum(map(int, fields[11:15])) / _TICKS
            offspring.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        these = offspring.get(todo.pop(), [])
        found += these
        todo += these
    return {pid: cpu[pid] for pid in found}


def end_leftovers() -> int:
    """Kill what a stopped system has left; how many those were."""
    with contextlib.suppress(TimeoutError):
        until(lambda: not below(os.getpid()), GONE, "all processes gone")
    left: set[int] = set()
    while alive := below(os.getpid()):
        left |= set(alive)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    with contextlib.suppress(ChildProcessError):  # none to wait for
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return len(left)


# -- the load -----------------------------------------------------------------------------------

def requests(options: argparse.Namespace) -> list[tuple[bytes, dict[str, str], set[str]]]:
    """Each photograph as a request's body and headers, and its labels by the engine alone."""
    engine = engines.load(options.settings, None)
    size, found = engine.preprocess.crop, []
    for data in photographs(options.photos):
        pixels = images.decode(data, images.Limits(), engine.preprocess).pixels
        batch = np.frombuffer(pixels, np.uint8).reshape(1, size, size, 3)
        body, headers = form("a.jpg", data)
        [likely] = engines.top_k(engine.predict(batch), engine.labels)
        found.append((body, headers | {"Accept": "application/json"},
                      {one.label for one in likely if one.confidence > likely[0].confidence - TIE}))
    return found


def drive(port: int, options: argparse.Namespace, count: int, width: int) -> dict[str, Any]:
    """Send ``count`` images, ``width`` at a time: rate of right answers, latencies, what was wrong."""
    latencies: list[float] = []
    wrong: list[str] = []
    numbers = itertools.count()
    gate = threading.Barrier(width + 1)

    def run() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER)
        gate.wait()
        while (number := next(numbers)) < count:
            body, headers, expected = options.requests[number % len(options.requests)]
            began = time.perf_counter()
            try:
                connection.request("POST", "/upload", body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except TimeoutError as exc:
                wrong.append(repr(exc))
                break  # of a system that hangs, each further image would take as long
            except (OSError, http.client.HTTPException) as exc:
                wrong.append(repr(exc))
                connection.close()  # the next request opens it again
                continue
            latencies.append(1e3 * (time.perf_counter() - began))
            label = _LABEL.search(text)
            if answer.status != 200 or label is None or json.loads(label[1]) not in expected:
                wrong.append(f"{answer.status} {text[:300]!r}, not {' or '.join(expected)}")
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(width)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    right = len(latencies) - sum(text.startswith(tuple("12345")) for text in wrong)
    return {"rate": right / (time.perf_counter() - began), "wrong": count - right,
            "latencies": latencies, "first_wrong": next(iter(wrong), None)}


def measure(name: str, options: argparse.Namespace, directory: Path) -> list[dict[str, Any]]:
    """One system, started for this and stopped: a row of figures for each concurrency."""
    count, warm = (options.originals, 0) if name == "original" else (options.images, options.warm)
    rows = []

    def fault(port: int) -> str | None:
        wrong = drive(port, options, 1, 1)["first_wrong"]
        return None if wrong and wrong.startswith("200 ") else wrong  # a wrong label is counted below

    with systems.started(name, options, directory, fault) as (port, cloud):

        def used() -> np.ndarray:
            """Milliseconds of CPU so far: the system's, its emulator's and ours."""
            cpu = below(os.getpid())
            return 1e3 * np.array([sum(cpu.values()), cpu[cloud] if cloud else 0, time.process_time()])

        warmed = drive(port, options, warm, options.batch)
        for width in sorted({min(width, count) for width in options.concurrency}):
            before = used()
            figures = drive(port, options, count, width)
            cpu, cloud_cpu, client = ((used() - before) / count).tolist()
            latencies = figures.pop("latencies") or [0.0]
            rows.append({"system": name, "at_once": width, **figures,
                         **{f"p{p}_ms": quantile(latencies, p / 100) for p in (50, 95, 99)},
                         "cpu_ms": cpu, "cloud_cpu_ms": cloud_cpu, "client_ms": client})
    rows[0]["wrong"] += warmed["wrong"]
    rows[0]["first_wrong"] = warmed["first_wrong"] or rows[0]["first_wrong"]
    return rows


# -- the table ----------------------------------------------------------------------------------

def summary(rows: list[dict[str, Any]], left: dict[str, int], cores: int) -> list[dict[str, Any]]:
    """The medians of the rounds, and for ours a row without the emulator's CPU."""
    found = []
    for system, width in dict.fromkeys((row["system"], row["at_once"]) for row in rows):
        same = [row for row in rows if (row["system"], row["at_once"]) == (system, width)]
        row = same[0] | {what: statistics.median(r[what] for r in same)
                         for what in same[0] if what == "rate" or what.endswith("_ms")}
        found.append(row | {"bound": 1e3 * cores / row["cpu_ms"], "left": left[system],
                            "wrong": sum(r["wrong"] for r in same)})
        if system in systems.OURS:
            rest = row["cpu_ms"] - row["cloud_cpu_ms"]
            found.append({"system": f"{system} - cloud", "at_once": width, "cpu_ms": rest,
                          "bound": 1e3 * cores / rest})
    return found


def table(rows: list[dict[str, Any]]) -> None:
    """Print the rows."""
    for row in [COLUMNS, *rows]:
        cells = []
        for key, title in COLUMNS.items():
            value = row.get(key, "")
            text = f"{value:.1f}" if isinstance(value, float) else str(value)
            cells.append(text.ljust(20) if key == "system" else text.rjust(max(7, len(title))))
        print("  ".join(cells))


def main() -> int:
    """Print the table; the exit code."""
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=400, help="for each concurrency")
    parser.add_argument("--originals", type=int, default=8, help="the same for the original's design")
    parser.add_argument("--warm", type=int, default=64, help="images before the first that counts")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 100])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cores", type=int, nargs="+", default=cores, help="their numbers; all by default")
    parser.add_argument("--threads", type=int, help="of the engine; one a core by default")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=systems.NAMES, default=systems.NAMES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, options.cores)
    adopt_orphans()
    options.threads = options.threads or len(options.cores)
    options.settings = settings_module.build({
        "engine": "onnxruntime", "engine_threads": options.threads, "max_batch": options.batch,
        "model_dir": Path(".irs/models").absolute()})
    options.requests = requests(options)

    rows: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    left = dict.fromkeys(options.only, 0)
    for name in [*options.only] * options.rounds:
        if name in absent:
            continue
        with in_memory() as scratch:
            try:
                rows += measure(name, options, Path(scratch))
            except (subprocess.SubprocessError, RuntimeError, TimeoutError) as exc:
                pip = isinstance(exc, subprocess.CalledProcessError)
                absent[name] = exc.stderr.strip().rpartition("\n")[2] if pip else str(exc)
                print(f"{name}: not measured: {absent[name]}", flush=True)
            finally:
                left[name] += end_leftovers()
        print(f"{name} has ended; left {left[name]} processes", flush=True)
    for row in filter(lambda row: row["wrong"], rows):
        print(f"{row['system']}, {row['at_once']} at once: the first wrong answer: {row['first_wrong']}")
    found = summary(rows, left, len(options.cores))
    table(found)
    if options.json:
        chosen = {key: getattr(options, key) for key in (
            "images", "originals", "warm", "batch", "cores", "threads", "rounds")}
        options.json.write_text(json.dumps({
            **chosen, "pins": {name: systems.pins(name) for name in systems.PINS},
            "rows": found, "each_round": rows, "absent": absent, "left": left}, indent=1))
    if any(row["wrong"] for row in rows) or any(left.values()):
        return 1
    return 3 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
