"""Whether images and clients cost the same when there are many.

    python bench/growth.py [PHOTO…] [--sizes N …] [--at-once N] [--waiting N …] [--json FILE]

Images: for each of ``--sizes``, so many are uploaded in one go, ``--at-once`` at a time, to a
web tier and a worker that are new, each pinned to a core of its own as far as there are two
(the cloud shares the web tier's). Told are the processor time that an image takes each of
them, in the whole and in the second half over the first, and the memory at a tenth of the
way and at the end.

Clients: for each of ``--waiting``, so many wait for an image while no worker is there. Told
are the memory and the processor time that each costs the web tier; then a worker comes, and
all of them must have their labels.

Exit code 1 where a budget of `BUDGETS` is not kept or an upload was not answered with 200.
Photographs are made small (224 pixels), so that what grows is their number.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from client import request, upload
from efficiency import photographs
from PIL import Image
from service import Tier, Tiers, until, verdict

#: What must hold, as ratios: processor time an image of the largest size over the smallest's
#: (web tier and worker together); memory at the end over that at a tenth of the way, from
#: `ENOUGH` images on; processor time of one that waits, of many over few.
BUDGETS = {"images": 1.1, "memory": 1.05, "waiting": 1.25}
#: Images after which a process has all that it will ever need.
ENOUGH = 5_000
#: Seconds for which clients wait and are looked at.
WATCHED = 10.0
#: Shares of the way at which figures are taken.
PARTS = 10


def small(photo: bytes) -> bytes:
    """The photograph as a JPEG of 224 pixels at most."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    image.thumbnail((224, 224))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


class Tally:
    """Figures of the tiers each time that a part of the images is answered. Thread-safe."""

    def __init__(self, tiers: dict[str, Tier], part: int) -> None:
        self._tiers, self._part = tiers, part
        self._lock = threading.Lock()
        self._answered = 0
        self.looks = [self._look()]

    def _look(self) -> dict[str, float]:
        found = {"at": time.perf_counter()}
        for name, tier in self._tiers.items():
            found |= {f"{name}_cpu": tier.cpu(), f"{name}_mb": tier.memory()}
        return found

    def answered(self) -> None:
        """One more."""
        with self._lock:
            self._answered += 1
            if self._answered % self._part == 0:
                self.looks.append(self._look())


def images(options: argparse.Namespace, files: list[bytes], size: int) -> dict[str, float]:
    """Figures of one size."""
    cores = {"cloud": {0}, "web": {0}, "worker": {(os.cpu_count() or 1) - 1}}
    with tempfile.TemporaryDirectory() as scratch, Tiers(
            Path(scratch), cores=cores, engine_threads=1, max_waiting=2 * options.at_once,
            max_queue_wait=None) as tiers:
        running = {"web": tiers.web(), "worker": tiers.worker(), "cloud": tiers.cloud}
        for number in range(3):  # everything lazy is built
            upload(running["web"].url, f"{number}.jpg", files[0])
        tally = Tally(running, max(1, size // PARTS))

        def one(number: int) -> int:
            status, _ = upload(running["web"].url, f"{number}.jpg", files[number % len(files)])
            tally.answered()
            return status

        with ThreadPoolExecutor(options.at_once) as pool:
            wrong = sum(status != 200 for status in pool.map(one, range(size)))
    looks, part = tally.looks, max(1, size // PARTS)
    spent = [{name: 1e3 * (after[f"{name}_cpu"] - before[f"{name}_cpu"]) / part for name in running}
             for before, after in itertools.pairwise(looks)]
    figures: dict[str, float] = {
        "images": size, "not_200": wrong, "images_per_second": size / (looks[-1]["at"] - looks[0]["at"])}
    for name in running:
        each = [row[name] for row in spent]
        half = len(each) // 2
        figures |= {f"{name}_cpu_ms": sum(each) / len(each),
                    f"{name}_second_half": sum(each[-half:]) / sum(each[:half]),
                    f"{name}_mb_early": looks[1][f"{name}_mb"], f"{name}_mb": looks[-1][f"{name}_mb"]}
    return figures


def waiting(options: argparse.Namespace, files: list[bytes], clients: int) -> dict[str, float]:
    """Figures of so many clients that wait."""
    with tempfile.TemporaryDirectory() as scratch, Tiers(
            Path(scratch), max_waiting=clients + 10, client_wait=120.0, max_queue_wait=None,
            max_client_connections=clients + 100) as tiers:
        web = tiers.web()
        base = web.memory()
        with ThreadPoolExecutor(clients) as pool:
            sent = [pool.submit(upload, web.url, f"{number}.jpg", files[number % len(files)])
                    for number in range(clients)]
            until(lambda: _inside(web.url) >= clients, 120, f"{clients} clients wait")
            memory, cpu = web.memory(), web.cpu()
            time.sleep(WATCHED)  # the measurement itself: what waiting costs
            spent = web.cpu() - cpu
            tiers.worker()
            wrong = sum(each.result()[0] != 200 for each in sent)
    return {"clients": clients, "not_200": wrong, "kb_each": 1e3 * (memory - base) / clients,
            "cpu_ms_each_second": 1e3 * spent / WATCHED / clients}


def _inside(url: str) -> int:
    text = request(url, "GET", "/metrics")[1].decode()
    return int(float(text.partition("\nirs_waiting_clients ")[2].split()[0]))


def broken(sizes: list[dict[str, float]], crowds: list[dict[str, float]]) -> list[str]:
    """Budgets that are not kept, in words."""
    lines = [f"{row['not_200']:.0f} of {row.get('images', row.get('clients')):.0f} not answered with 200"
             for row in (*sizes, *crowds) if row["not_200"]]
    if len(sizes) > 1:
        first, last = (row["web_cpu_ms"] + row["worker_cpu_ms"] for row in (sizes[0], sizes[-1]))
        if last > BUDGETS["images"] * first:
            lines.append(f"an image of many costs {last / first:.2f} of one of few")
    for row in sizes:
        lines += [f"{name} grows from {row[f'{name}_mb_early']:.0f} to {row[f'{name}_mb']:.0f} MB"
                  for name in ("web", "worker") if row["images"] >= ENOUGH
                  and row[f"{name}_mb"] > BUDGETS["memory"] * row[f"{name}_mb_early"]]
    if len(crowds) > 1:
        few, many = crowds[0]["cpu_ms_each_second"], crowds[-1]["cpu_ms_each_second"]
        if many > BUDGETS["waiting"] * few:
            lines.append(f"one of many that wait costs {many / few:.2f} of one of few")
    return lines


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1_000, 10_000, 50_000])
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--waiting", nargs="*", type=int, default=[100, 300, 1_000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = [small(photo) for photo in photographs(options.photos)]
    tables: dict[str, list[Any]] = {"sizes": [], "waiting": []}
    for name, numbers, measure in (("sizes", options.sizes, images), ("waiting", options.waiting, waiting)):
        for number in numbers:
            row = measure(options, files, number)
            tables[name].append(row)
            print("  ".join(f"{what} {value:.4g}" for what, value in row.items()), flush=True)
    return verdict(tables, broken(tables["sizes"], tables["waiting"]), options.json)


if __name__ == "__main__":
    sys.exit(main())
