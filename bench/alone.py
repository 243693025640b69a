"""What a lone image waits for beside its own decode and inference.

    python bench/alone.py [PHOTO…] [--images N] [--json FILE]

Starts a cloud, a web tier and a worker, and uploads ``--images`` photographs one after the
other; between two of them the same photograph is decoded and classified here by the same
engine. Prints the medians in ms: of the upload, of its parts (by the times in the result:
until the job is made, until a worker has it, until its result is made, until the client has
it), and of decode and inference alone. Exit code 1 where the upload takes more than `ABOVE`
ms on top of these.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from client import upload
from efficiency import photographs
from service import Tiers, verdict

from irs.domain import images
from irs.model import engine as engines

#: What must hold: ms that an upload may take beside decode and inference, at the median.
ABOVE = 60.0
#: Uploads before the first that counts: connections, caches, threads.
WARM = 5


def classified(url: str, data: bytes) -> dict[str, Any]:
    """One upload's result."""
    status, answer = upload(url, "a.jpg", data)
    if status != 200:
        raise RuntimeError(f"an upload answered {status}: {answer}")
    result: dict[str, Any] = answer["results"][0]
    return result


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = photographs(options.photos)
    taken: dict[str, list[float]] = {name: [] for name in (
        "upload", "until the job", "until a worker", "until the result", "until the answer", "bare")}
    with tempfile.TemporaryDirectory() as scratch, Tiers(Path(scratch)) as tiers:
        web = tiers.web()
        tiers.worker()
        engine = engines.load(tiers.settings, None)
        limits = images.Limits(max_bytes=tiers.settings.max_image_bytes,
                               max_pixels=tiers.settings.max_image_pixels)
        size = engine.preprocess.crop
        for number in range(-WARM, options.images):
            data = files[number % len(files)]
            began, at = time.perf_counter(), time.time()
            result = classified(web.url, data)
            whole, end = time.perf_counter() - began, time.time()
            moments = [at, *(datetime.fromisoformat(result["times"][name]).timestamp()
                             for name in ("received", "started", "finished")), end]
            began = time.perf_counter()
            pixels = images.decode(data, limits, engine.preprocess).pixels
            engine.predict(np.frombuffer(pixels, np.uint8).reshape(1, size, size, 3))
            bare = time.perf_counter() - began
            if number < 0:
                continue
            parts = [after - before for before, after in itertools.pairwise(moments)]
            for name, seconds in zip(taken, [whole, *parts, bare], strict=True):
                taken[name].append(1e3 * seconds)
    figures = {name: statistics.median(values) for name, values in taken.items()}
    figures["above"] = figures["upload"] - figures["bare"]
    figures["upload p95"] = statistics.quantiles(taken["upload"], n=20)[-1]
    for name, value in figures.items():
        print(f"{name:18} {value:8.1f} ms")
    return verdict(figures, [f"{figures['above']:.0f} ms above decode and inference; {ABOVE:g} may be"]
                   * (figures["above"] > ABOVE), options.json)


if __name__ == "__main__":
    sys.exit(main())
