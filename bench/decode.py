"""What decoding costs a worker: photographs of two usual sizes, and the largest images taken.

``python bench/decode.py [PHOTO…]`` prints the milliseconds of processor time from a JPEG's bytes
to the model's pixels, the median over the photographs (scikit-image's without any), scaled to
each of `SIZES`; exit code 1 where that takes longer than it should.

With ``--largest`` it prints, for each format, seconds for one decode alone, the slowest of 40
in 16 threads, the time for all, and how far the process's memory rose above its start. Those
images are noise; each kind is decoded in a process of its own, set up as a worker is.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from efficiency import photographs
from service import verdict

THREADS, IMAGES = 16, 40
#: Width and height in pixels of a photograph, and the milliseconds that it may take.
SIZES = {(500, 375): 3.0, (4000, 3000): 12.0}
#: JPEG quality of the photographs, a camera's; decodes of each.
QUALITY, TIMES = 90, 5


def noise(width: int, height: int, mode: str = "RGB") -> object:
    import numpy as np
    from PIL import Image

    # Coarse noise, so that a JPEG of it stays within 20 MB.
    rows = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(rows).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def saved(width: int, height: int, kind: str, mode: str = "RGB", **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        noise(width, height, mode).save(out, kind, **options)  # type: ignore[attr-defined]
        return out.getvalue()
    return make


KINDS: dict[str, Callable[[], bytes]] = {
    "JPEG, 12 MP": saved(4000, 3000, "JPEG", quality=85),
    "JPEG, 39 MP": saved(7200, 5400, "JPEG", quality=75),
    "JPEG, 39 MP, 1000 high": saved(38_000, 1000, "JPEG", quality=75),
    "JPEG progressive, 24 MP": saved(6000, 4000, "JPEG", quality=75, progressive=True),
    "PNG, palette, 39 MP": saved(7200, 5400, "PNG", "P", compress_level=1),
    "PNG, one bit, 39 MP": saved(7200, 5400, "PNG", "1"),
    "WebP, 24 MP": saved(6000, 4000, "WEBP", quality=50, method=0),
    "TIFF LZW, grey, 18 MP": saved(4800, 3600, "TIFF", "L", compression="tiff_lzw"),
    "GIF, 18 MP": saved(4800, 3600, "GIF", "P"),
    "BMP, 5 MP": saved(2500, 2000, "BMP"),
}


def rss() -> float:
    """The process's largest resident size so far, MB. getrusage's includes its parent's."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(kind: str) -> None:
    from irs import memory
    from irs.domain.images import Limits, Preprocess, decode

    memory.frugal()  # as a worker does
    limits, preprocess = Limits(max_bytes=64_000_000), Preprocess()
    data = sys.stdin.buffer.read()
    decode(saved(64, 64, "PNG")(), limits, preprocess)
    before, took, lock = rss(), [], threading.Lock()

    def one(_: int = 0) -> None:
        began = time.perf_counter()
        decode(data, limits, preprocess)
        with lock:
            took.append(time.perf_counter() - began)

    one()
    alone, began = took.pop(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(IMAGES)))
    wall = time.perf_counter() - began
    print(f"{kind:<26}{len(data) / 1e6:>7.1f} MB{alone:>8.2f} s{max(took):>8.2f} s{wall:>8.1f} s"
          f"{rss() - before:>8.0f} MB")


def largest() -> None:
    print(f"{'':<26}{'file':>10}{'alone':>10}{'slowest':>10}{'all 40':>10}{'memory':>11}")
    for name, make in KINDS.items():
        subprocess.run([sys.executable, __file__, "--measure", name], input=make(), check=True)


def usual(photos: list[bytes]) -> dict[str, float]:
    """Milliseconds of processor time for a photograph of each of `SIZES`."""
    from PIL import Image

    from irs.domain.images import Limits, Preprocess, decode

    found = {}
    for size in SIZES:
        took = []
        for photo in photos:
            out = io.BytesIO()
            Image.open(io.BytesIO(photo)).convert("RGB").resize(size).save(out, "JPEG", quality=QUALITY)
            for _ in range(TIMES):
                data, began = out.getvalue(), time.thread_time()
                decode(data, Limits(), Preprocess())
                took.append(1e3 * (time.thread_time() - began))
        found[f"{size[0]} x {size[1]}"] = statistics.median(took)
    return found


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    parser.add_argument("--largest", action="store_true", help="the largest images that are taken")
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    if options.measure or options.largest:
        measure(options.measure) if options.measure else largest()
        return 0
    found = usual(photographs(options.photos))
    for name, value in found.items():
        print(f"JPEG {name:14} {value:6.1f} ms")
    return verdict(found, [f"{name}: {value:.1f} ms; {most:g} may be" for (name, value), most
                           in zip(found.items(), SIZES.values(), strict=True) if value > most],
                   options.json)


if __name__ == "__main__":
    sys.exit(main())
