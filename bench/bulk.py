"""What a single upload waits for beside a batch, and what a batch costs.

    python bench/bulk.py [PHOTO…] [--images N] [--singles N] [--small] [--json FILE]

Starts a cloud, a web tier and a worker. Uploads ``--singles`` photographs one after the other
while there is nothing else to do, then puts ``--images`` into a zip, makes a batch of it, and
uploads as many again while it runs. Prints the single uploads' p50 and p95 in ms alone and
beside the batch, how long the batch took to be stored and to be done, the bytes a second at
which its results are read, and the most memory of web tier and worker before and after.
``--small`` makes the photographs 224 pixels wide at most: tens of thousands fit into a batch.
Exit code 1 where a single upload's p95 beside the batch is more than the window and `ABOVE`
seconds above its p95 alone, the web tier took more than `MEMORY` MB for the batch, or a result is missing.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client import call, request, upload
from efficiency import photographs
from growth import small
from service import Tier, Tiers, until, verdict

from irs.domain import pacing

#: What must hold: seconds beside the window that a batch adds to a single upload's p95 (a batch
#: of the engine's that is computed, and two busy tiers); and MB that a batch adds to the web
#: tier's most.
ABOVE, MEMORY = 1.0, 150.0
#: Uploads before the first that counts, and seconds between two.
WARM, APART = 5, 0.1
#: Seconds for a batch to be done, and more of them for each of its images.
PATIENCE, EACH = 600.0, 0.1


def singles(url: str, files: Sequence[bytes], count: int) -> list[float]:
    """Milliseconds of uploads one after the other."""
    taken = []
    for number in range(-WARM, count):
        began = time.perf_counter()
        status, answer = upload(url, "a.jpg", files[number % len(files)])
        if status != 200:
            raise RuntimeError(f"an upload answered {status}: {answer}")
        if number >= 0:
            taken.append(1e3 * (time.perf_counter() - began))
        time.sleep(APART)
    return taken


def zipped(files: Sequence[bytes], count: int) -> bytes:
    """So many images in a zip; photographs do not shrink."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number in range(count):
            archive.writestr(f"{number:06}.jpg", files[number % len(files)])
    return out.getvalue()


def counts(web: Tier, location: str) -> dict[str, Any]:
    """The batch as it is told of now."""
    found: dict[str, Any] = call(web.url, "GET", location)[1]
    return found


def measure(options: argparse.Namespace, web: Tier, worker: Tier, files: Sequence[bytes]) -> dict[str, Any]:
    """The figures."""
    alone = singles(web.url, files, options.singles)
    memory = {"web MB before": web.memory("VmHWM"), "worker MB before": worker.memory("VmHWM")}
    body = zipped(files, options.images)
    began = time.perf_counter()
    status, batch = call(web.url, "POST", "/v1/batches", body, {"Content-Type": "application/zip"})
    stored = time.perf_counter() - began
    if status != 202:
        raise RuntimeError(f"the batch answered {status}: {batch}")
    beside = singles(web.url, files, options.singles)
    during = counts(web, batch["location"])
    until(lambda: "finished" in counts(web, batch["location"]), PATIENCE + EACH * options.images,
          "the batch is done")
    done = time.perf_counter() - began - stored
    rate = options.images / done
    began = time.perf_counter()
    lines = request(web.url, "GET", batch["results"])[1]
    read = time.perf_counter() - began
    figures: dict[str, Any] = {}
    for name, taken in (("alone", alone), ("beside", beside)):
        figures[f"{name} p50 ms"] = statistics.median(taken)
        figures[f"{name} p95 ms"] = statistics.quantiles(taken, n=20)[-1]
    return figures | memory | {
        "web MB after": web.memory("VmHWM"), "worker MB after": worker.memory("VmHWM"),
        "zip MB": len(body) / 1e6, "stored s": stored, "done s": done,
        "images a second": rate, "window s": pacing.window(rate, 1, options.batch) / rate,
        "left when measured": during["counts"]["queued"], "results read s": read,
        "results": lines.count(b'"status":"done"')}


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=2_500)
    parser.add_argument("--singles", type=int, default=25)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = photographs(options.photos)
    files = [small(photo) for photo in files] if options.small else files
    with tempfile.TemporaryDirectory() as scratch, Tiers(Path(scratch)) as tiers:
        options.batch = tiers.settings.max_batch
        figures = measure(options, tiers.web(), tiers.worker(), files)
    for name, value in figures.items():
        print(f"{name:20} {value:10.1f}")
    broken = []
    if figures["beside p95 ms"] - figures["alone p95 ms"] > 1e3 * (figures["window s"] + ABOVE):
        broken.append(f"a batch adds more than its window and {ABOVE:g} s to a single upload's p95")
    if figures["web MB after"] - figures["web MB before"] > MEMORY:
        broken.append(f"a batch adds more than {MEMORY:g} MB to the web tier")
    if figures["results"] != options.images:
        broken.append(f"{options.images - figures['results']} results are missing")
    if not figures["left when measured"]:
        broken.append("the batch was done before the single uploads beside it: take more --images")
    return verdict(figures, broken, options.json)


if __name__ == "__main__":
    sys.exit(main())
