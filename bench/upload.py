"""Upload to a running service and print what came back and when.

    python bench/upload.py PHOTO… [--url URL] [--at-once N] [--alone N] [--expected FILE] [--json FILE]

Posts every photograph once, ``--at-once`` at a time, each in a request of its own as the
field ``myfile``; then the first one alone, ``--alone`` times in a row, beside a request that
does nothing (``/healthz``) for the share that is HTTP. ``--expected`` is a JSON object from
file name to ``{"index": class}``: the answers are then counted right or wrong by class
index. Exit code 1 when an answer is not 200.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from client import form, request


def post(url: str, name: str, data: bytes, accept: str | None) -> tuple[int, str]:
    """One upload; the status and the body."""
    body, headers = form(name, data)
    return get(url, "POST", "/upload", body, headers | ({"Accept": accept} if accept else {}))


def get(url: str, *what: Any) -> tuple[int, str]:
    """Status and text of one request."""
    status, body = request(url, *what)
    return status, body.decode()


def timed(call: Callable[[], tuple[int, str]]) -> tuple[float, int, str]:
    """Seconds, status, body."""
    began = time.perf_counter()
    status, body = call()
    return time.perf_counter() - began, status, body


def at_once(jobs: Sequence[Callable[[], tuple[int, str]]], width: int) -> list[tuple[float, int, str]]:
    """Run the jobs, ``width`` at a time, all started together; results in the jobs' order."""
    results: list[tuple[float, int, str]] = [(0.0, 0, "")] * len(jobs)
    todo = iter(range(len(jobs)))
    lock = threading.Lock()
    gate = threading.Barrier(width)

    def run() -> None:
        gate.wait()
        while True:
            with lock:
                number = next(todo, None)
            if number is None:
                return
            results[number] = timed(jobs[number])

    threads = [threading.Thread(target=run) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--alone", type=int, default=50)
    parser.add_argument("--expected", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    photos = [(path.name, path.read_bytes()) for path in options.photos]

    width = min(options.at_once, len(photos))
    accept = "application/json" if options.expected else None
    began = time.perf_counter()
    burst = at_once([lambda n=n, d=d: post(options.url, n, d, accept) for n, d in photos], width)
    wall = time.perf_counter() - began
    good = sum(status == 200 for _, status, _ in burst)
    figures: dict[str, float] = {
        "uploads": len(burst), "at_once": width, "answered_200": good, "seconds": wall,
        "images_per_second": len(burst) / wall,
        "burst_p50_ms": 1e3 * statistics.median(s for s, _, _ in burst),
        "burst_p95_ms": 1e3 * quantile([s for s, _, _ in burst], 0.95),
    }
    if options.expected:
        expected = json.loads(options.expected.read_text())
        figures["right"] = sum(
            status == 200 and json.loads(body)["results"][0]["predictions"][0]["index"]
            == expected[name]["index"]
            for (name, _), (_, status, body) in zip(photos, burst, strict=True))
    if options.alone:
        lone = [timed(lambda: post(options.url, *photos[0], None))[0] for _ in range(options.alone)]
        nothing = [timed(lambda: get(options.url, "GET", "/healthz"))[0]
                   for _ in range(options.alone)]
        figures |= {
            "alone_p50_ms": 1e3 * statistics.median(lone), "alone_p95_ms": 1e3 * quantile(lone, 0.95),
            "healthz_p50_ms": 1e3 * statistics.median(nothing),
            "alone_over_healthz": statistics.median(lone) / statistics.median(nothing),
        }
    for name, value in figures.items():
        print(f"{name:20} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if good == len(burst) else 1


if __name__ == "__main__":
    sys.exit(main())
