"""What the worker's engine makes of a GPU: its share of the bare model's rate at the same batch.

    python bench/gpu.py [PHOTO…] [--batches 8 32 128] [--rounds N] [--json FILE]
    python bench/gpu.py --device cpu --batches 2 --rounds 1 --window 0.1    # tries the script itself

A round measures, for each batch size, images a second of

- *bare*: the network alone, in the type that the engine computes in and channels-last, on
  tensors that are on the device already, one call after another, waited for at the end;
- *copied*: the same with each batch copied from pinned memory before and its answer after,
  one after the other: what somebody has who overlaps nothing;
- *predict*: the engine, from uint8 in host memory to probabilities there, one caller;
- *lanes*: the same of as many callers as it takes batches at once;
- *batcher*: the batcher, which threads hand decoded photographs one by one;
- *whole*: the same with each decoded from its JPEG first, by all cores but one; *decode* is
  what those threads do without an engine.

Printed are medians, and the medians of the rounds' shares: *lanes* and *batcher* of *bare*,
*whole* of the slower of *bare* and *decode*. Exit code 1 where `BUDGETS` are not kept on a
GPU. A machine without one says so in a line and measures nothing. `IRS_MODEL`,
`IRS_MODEL_WEIGHTS` and `IRS_PRECISION` choose another model or type.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from efficiency import photographs
from engine import batch_of, pixels
from service import verdict

from irs import log
from irs import settings as settings_module
from irs.domain import images
from irs.model import engine as engines
from irs.model.batcher import Batcher

#: What must hold on a GPU at each batch size.
BUDGETS = {"lanes_share": 0.8, "batcher_share": 0.8}
SHARES = ("lanes_share", "batcher_share", "whole_share")
RATES = ("bare", "copied", "predict", "lanes", "batcher", "decode", "whole")

Array = np.ndarray[Any, Any]


class Bench:
    """One engine and its bare network at one batch size."""

    def __init__(self, options: argparse.Namespace, files: list[bytes], size: int) -> None:
        import torch

        from irs.model import device, network, registry, running, weights
        from irs.model.engine_torch import TorchEngine

        self.torch, self.size, self.window, self.files = torch, size, options.window, files
        self.device = device.Cpu() if options.device == "cpu" else device.choose()
        settings = settings_module.build({"engine": "torch", "max_batch": size})
        self.engine = TorchEngine(settings, device=self.device)
        engines.warm(self.engine, size)
        self.dtype = getattr(torch, self.engine.precision)
        spec = registry.spec(settings.model)
        self.model = running.placed(network.build(spec, weights.obtain(settings, spec)), self.device,
                                    self.dtype)
        host = batch_of(pixels(files, self.engine.preprocess), size)
        #: in memory that the device reads fastest, one for each caller
        self.host = [self.engine.buffer(size) for _ in range(self.engine.depth)]
        for one in self.host:
            one[...] = host
        with torch.inference_mode():
            self.there = self._planes(torch.from_numpy(self.host[0]).to(self.device.torch))

    def _planes(self, there: Any) -> Any:
        return self.model.normalised(there).to(self.dtype)

    def bare(self) -> float:
        """Images a second; so are the others."""
        def one() -> None:
            with self.torch.inference_mode():
                self.model.network(self.there)

        return self._rate(one, self.device.settle)

    def copied(self) -> float:
        def one() -> None:
            with self.torch.inference_mode():
                there = self.torch.from_numpy(self.host[0]).to(self.device.torch, non_blocking=True)
                self.torch.softmax(self.model.network(self._planes(there)).float(), 1).cpu()

        return self._rate(one)

    def predict(self) -> float:
        return self._rate(lambda: self.engine.predict(self.host[0]))

    def lanes(self) -> float:
        with ThreadPoolExecutor(len(self.host)) as pool:
            began = time.perf_counter()
            return sum(pool.map(lambda mine: self._calls(lambda: self.engine.predict(mine)),
                                self.host)) * self.size / (time.perf_counter() - began)

    def batcher(self) -> float:
        photos = [photo.tobytes() for photo in self.host[0]]
        # So many wait that a full batch always does, as in a worker with more tasks than that.
        with Batcher(self.engine, max_batch=self.size, max_queue=4 * self.size) as batcher:
            return self._streamed(batcher, lambda number: photos[number % len(photos)], threads=1)

    def decode(self) -> float:
        ends = time.perf_counter() + self.window

        def work(number: int) -> int:
            done = 0
            while time.perf_counter() < ends:
                self._decoded(number + done)
                done += 1
            return done

        with ThreadPoolExecutor(_decoders()) as pool:
            began = time.perf_counter()
            return sum(pool.map(work, range(_decoders()))) / (time.perf_counter() - began)

    def whole(self) -> float:
        with Batcher(self.engine, max_batch=self.size, max_queue=4 * self.size) as batcher:
            return self._streamed(batcher, self._decoded, threads=_decoders())

    def _decoded(self, number: int) -> bytes:
        return images.decode(self.files[number % len(self.files)], images.Limits(),
                             self.engine.preprocess).pixels

    def _streamed(self, batcher: Batcher, photo: Callable[[int], bytes], threads: int) -> float:
        ends = time.perf_counter() + self.window
        answers: list[Future[Any]] = []

        def work(number: int) -> None:
            while time.perf_counter() < ends:
                answers.append(batcher.submit(photo(number)))
                number += 1

        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        for answer in answers:
            answer.result()
        return len(answers) / (time.perf_counter() - began)

    def _rate(self, run: Callable[[], object], finish: Callable[[], None] = lambda: None) -> float:
        began = time.perf_counter()
        calls = self._calls(run, finish)
        return calls * self.size / (time.perf_counter() - began)

    def _calls(self, run: Callable[[], object], finish: Callable[[], None] = lambda: None) -> int:
        """How often it was called in the window; eight times at least between two waits."""
        ends, calls = time.perf_counter() + self.window, 0
        while time.perf_counter() < ends:
            for _ in range(8 if self.device.torch.type == "cuda" else 1):
                run()
                calls += 1
            finish()
        return calls


def _decoders() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 1)


def row(bench: Bench, rounds: int) -> dict[str, float]:
    """Medians over the rounds, after one that is not counted."""
    seen: dict[str, list[float]] = {name: [] for name in (*RATES, *SHARES)}
    for number in range(-1, rounds):
        rates = {name: getattr(bench, name)() for name in RATES}
        if number < 0:
            continue
        for name, value in rates.items():
            seen[name].append(value)
        for name in ("lanes", "batcher"):
            seen[f"{name}_share"].append(rates[name] / rates["bare"])
        seen["whole_share"].append(rates["whole"] / min(rates["bare"], rates["decode"]))
    return {"batch": bench.size} | {name: statistics.median(values) for name, values in seen.items()}


def measure(options: argparse.Namespace, files: list[bytes]) -> dict[str, Any]:
    """The figures."""
    found: dict[str, Any] = {"rounds": options.rounds, "decoders": _decoders(), "rows": []}
    for size in options.batches:
        bench = Bench(options, files, size)
        found |= {"device": bench.device.label, "precision": bench.engine.precision,
                  "model": bench.engine.info.name}
        found["rows"].append(row(bench, options.rounds))
    return found


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(f"images a second on {found['device']}: {found['model']} in {found['precision']}, "
          f"{found['decoders']} decoding, median of {found['rounds']} rounds")
    print(f"{'batch':>6}" + "".join(f"{name:>10}" for name in RATES)
          + "".join(f"{name.replace('_', ' '):>15}" for name in SHARES))
    for line in found["rows"]:
        print(f"{line['batch']:>6}" + "".join(f"{line[name]:>10.0f}" for name in RATES)
              + "".join(f"{line[name]:>15.2f}" for name in SHARES))


def broken(found: dict[str, Any]) -> list[str]:
    """Budgets that are not kept, in words."""
    return [f"batch {line['batch']}: {name.removesuffix('_share')} reaches {line[name]:.2f} of the bare "
            f"model's rate; {least:g} must be"
            for line in found["rows"] for name, least in BUDGETS.items() if line[name] < least]


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=1.0, help="seconds of one measurement")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try this script")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    log.configure(level="ERROR")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no CUDA GPU on this machine: nothing is measured")
        return 0
    found = measure(options, photographs(options.photos))
    show(found)
    return verdict(found, broken(found) if options.device == "cuda" else [], options.json)


if __name__ == "__main__":
    sys.exit(main())
