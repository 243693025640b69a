"""What the engines cost an image: torch beside onnxruntime on one thread. A GPU: `bench/gpu.py`.

    python bench/engine.py [PHOTO…] [--batches 1 8 16] [--rounds N] [--model NAME]… [--json FILE]

Both engines are loaded as a worker loads them, into one process, with one thread. A round
runs each of them once on every batch size, in turn, on the same decoded photographs; what is
printed are medians of ms an image, by the clock and of processor time, and the median of the
rounds' ratios of the latter: other work on the machine lengthens the former and not the
ratio. Each ``--model`` adds one of torchvision's with random weights. Exit code 1 where a
budget of `BUDGETS` is not kept; they are the default model's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from efficiency import photographs
from service import verdict

from irs import log
from irs import settings as settings_module
from irs.domain import images
from irs.model import engine as engines
from irs.model import registry
from irs.model.engine import Engine
from irs.settings import Settings

#: What must hold: torch's time over onnxruntime's at batch `AT`; photographs with another
#: top-1 label.
BUDGETS = {"ratio": 3.0, "labels_apart": 0}
AT = 8
ENGINES = ("torch", "onnxruntime")

Array = np.ndarray[Any, Any]


def of(name: str, scratch: Path) -> Settings:
    """One thread and the model: the default one as it is, others with random weights in a file."""
    chosen: dict[str, Any] = {"model": name, "engine_threads": 1}
    if name == registry.DEFAULT:
        # Where `irs up` in this directory keeps its own: exported once.
        return settings_module.build(chosen | {"model_dir": Path(".irs/models").absolute()})
    from irs.model import torchvision_import

    torchvision = torchvision_import.load()
    import torch

    torch.manual_seed(0)
    path = scratch / f"{name}.pth"
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
    return settings_module.build(chosen | {"model_dir": scratch, "model_weights": str(path)})


def loaded(settings: Settings) -> dict[str, Engine]:
    """Both engines, on the CPU also where there is a GPU."""
    import torch

    with mock.patch.object(torch.cuda, "is_available", return_value=False):
        return {name: engines.load(settings.model_copy(update={"engine": name})) for name in ENGINES}


def pixels(files: list[bytes], preprocess: images.Preprocess) -> Array:
    """The photographs as the model takes them."""
    shape = (preprocess.crop, preprocess.crop, 3)
    decoded = (images.decode(data, images.Limits(), preprocess) for data in files)
    return np.stack([np.frombuffer(image.pixels, np.uint8).reshape(shape) for image in decoded])


def batch_of(photos: Array, size: int) -> Array:
    """``size`` of them, over again where there are fewer."""
    return np.ascontiguousarray(photos[np.arange(size) % len(photos)])


# -- one thread of the processor --------------------------------------------------------------

def timed(run: Callable[[], object], count: int) -> tuple[float, float]:
    """ms an image by the clock, and of processor time."""
    began, cpu = time.perf_counter(), time.process_time()
    run()
    return 1e3 * (time.perf_counter() - began) / count, 1e3 * (time.process_time() - cpu) / count


def on_cpu(both: dict[str, Engine], photos: Array, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model."""
    batches = {size: batch_of(photos, size) for size in options.batches}
    took: dict[tuple[str, int], list[tuple[float, float]]] = {
        (name, size): [] for size in batches for name in ENGINES}
    for number in range(-1, options.rounds):  # the first warms both, and is not counted
        for (name, size), rows in took.items():
            row = timed(lambda n=name, s=size: both[n].predict(batches[s]), size)
            if number >= 0:
                rows.append(row)
    rows = []
    for size in batches:
        row: dict[str, Any] = {"batch": size}
        for name in ENGINES:
            for at, what in enumerate(("ms", "cpu_ms")):
                row[f"{name}_{what}"] = statistics.median(r[at] for r in took[name, size])
        row["ratio"] = statistics.median(
            t[1] / o[1] for t, o in zip(took["torch", size], took["onnxruntime", size], strict=True))
        rows.append(row)
    return {"rows": rows} | agreement(both, photos)


def agreement(both: dict[str, Engine], photos: Array) -> dict[str, Any]:
    """How far apart the two engines' answers are."""
    ours, theirs = (np.concatenate([both[name].predict(photos[start:start + AT])
                                    for start in range(0, len(photos), AT)]) for name in ENGINES)
    return {"photographs": len(photos),
            "labels_apart": int((ours.argmax(1) != theirs.argmax(1)).sum()),
            "confidence_apart": float(np.abs(ours - theirs).max())}


# -- all of it ------------------------------------------------------------------------------------

def measure(options: argparse.Namespace, files: list[bytes]) -> dict[str, Any]:
    """The figures."""
    found: dict[str, Any] = {"threads": 1, "rounds": options.rounds, "models": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for name in (registry.DEFAULT, *options.model):
            settings = of(name, Path(scratch))
            both = loaded(settings)
            photos = pixels(files, both["torch"].preprocess)
            found["models"][name] = on_cpu(both, photos, options)
    return found


def broken(found: dict[str, Any]) -> list[str]:
    """Budgets that are not kept, in words."""
    default, lines = found["models"][registry.DEFAULT], []
    for row in default["rows"]:
        if row["batch"] == AT and row["ratio"] < BUDGETS["ratio"]:
            lines.append(f"torch takes {row['ratio']:.2f} times onnxruntime's time at batch {AT}; "
                         f"{BUDGETS['ratio']:g} must be")
    if default["labels_apart"] > BUDGETS["labels_apart"]:
        lines.append(f"{default['labels_apart']} of {default['photographs']} photographs "
                     "get another label from torch than from onnxruntime")
    return lines


def show(found: dict[str, Any]) -> None:
    """The tables."""
    print(f"ms an image on one thread, median of {found['rounds']} rounds (in brackets: of processor time)")
    print(f"{'model':<20}{'batch':>6}{'torch':>18}{'onnxruntime':>18}{'ratio':>8}")
    for name, model in found["models"].items():
        for row in model["rows"]:
            cells = (f"{row[f'{e}_ms']:.1f} ({row[f'{e}_cpu_ms']:.1f})" for e in ENGINES)
            print(f"{name:<20}{row['batch']:>6}" + "".join(f"{cell:>18}" for cell in cells)
                  + f"{row['ratio']:>8.2f}")
        equal = model["photographs"] - model["labels_apart"]
        print(f"{'':<20}top-1 label equal on {equal} of {model['photographs']} photographs, "
              f"confidences at most {model['confidence_apart']:.1e} apart")


def main() -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, AT, 16])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", action="append", default=[], help="one of torchvision's as well")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    log.configure(level="ERROR")
    found = measure(options, photographs(options.photos))
    show(found)
    return verdict(found, broken(found), options.json)


if __name__ == "__main__":
    sys.exit(main())
