"""Export a model to ONNX, once; `python -m irs.model.export` is the same in a process of its own.

torch takes seconds and hundreds of MB to import, and a process never gets them back. A
worker that finds no export therefore has one made by a child (`irs.model.export_child`), and
itself stays without torch. A file lock makes many workers that start together export once.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from irs import log
from irs import settings as settings_module
from irs.errors import IRSError, ModelError
from irs.model import exported, network, registry, weights
from irs.settings import Settings

if TYPE_CHECKING:
    import torch

#: Old enough for every onnxruntime of the last years, new enough for every torchvision
#: classification model.
OPSET = 17
#: Seconds for one export. EfficientNet-Lite0 takes about 10, a ViT-H with its 2.5 GB
#: download on a slow link takes minutes.
DEADLINE = 1800.0
#: torch and the graph must agree to this much of a probability.
TOLERANCE = 1e-3

_log = log.get("model")


def export(settings: Settings, fetch: weights.Fetch | None = None) -> Path:
    """The exported model's file, made now if there is no sound one in ``IRS_MODEL_DIR``.

    Imports torch into this process when it has to export. Waits while another process
    exports the same model. Raises `ModelError`, and `CloudError` from ``fetch``.
    """
    with _locked(settings):
        found = exported.find(settings)
        if found is not None:
            return found.path
        began = time.monotonic()
        settings = weights.local(settings, fetch)
        spec = registry.spec(settings.model)
        source = weights.obtain(settings, spec)
        model = network.build(spec, source)
        graph = _convert(model, spec)
        classes = _verify(model, graph, spec)
        path = exported.save(settings, graph, _record(settings, spec, source, classes))
        exported.require(settings)
        _log.info("model.exported", model=spec.name, path=str(path), bytes=len(graph),
                  seconds=round(time.monotonic() - began, 1))
        return path


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One exporter of this model on this machine; the lock goes when its process does."""
    path = settings.model_dir / f"{settings.model}.lock"
    deadline = time.monotonic() + DEADLINE
    # Not one blocking call: that could not be given a deadline.
    while (held := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise ModelError(f"another process has held {path} for {DEADLINE:.0f} s")
        time.sleep(0.1)
    with held:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _try_lock(path: Path) -> IO[bytes] | None:
    """The lock, or None while another has it; raises `ModelError` where it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("wb")
    except OSError as exc:
        raise ModelError(f"IRS_MODEL_DIR: cannot write in {path.parent}: {exc.strerror}") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder took it away, perhaps between our open and our lock: then it locks nobody out.
        if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    handle.close()
    return None


def _example(spec: registry.ModelSpec, images: int) -> torch.Tensor:
    """Noise, the same each time: uint8 (images, H, W, 3)."""
    import torch

    size = spec.preprocess.crop
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8, generator=noise)


def _convert(model: torch.nn.Module, spec: registry.ModelSpec) -> bytes:
    import torch

    buffer = io.BytesIO()
    # The fused attention of vision transformers has no ONNX counterpart; its parts have.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated in favour of one that needs onnxscript, a
        # package more, for the same graph. Its other warnings are about paddings that it
        # leaves to onnxruntime to fold, and about shapes that it takes for constants:
        # `_verify` runs another batch size for that reason.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        try:
            torch.onnx.export(
                model, (_example(spec, 2),), buffer, dynamo=False, opset_version=OPSET,
                input_names=["pixels"], output_names=["probabilities"],
                dynamic_axes={"pixels": {0: "n"}, "probabilities": {0: "n"}},
            )
        except RuntimeError as exc:  # OnnxExporterError is one
            reason = (str(exc) or repr(exc)).splitlines()[0]
            raise ModelError(f"{spec.name} cannot be exported ({reason}): set IRS_ENGINE=torch") from exc
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
    return buffer.getvalue()


def _verify(model: torch.nn.Module, graph: bytes, spec: registry.ModelSpec) -> int:
    """The number of classes; raises `ModelError` unless onnxruntime answers as torch does."""
    import numpy as np
    import onnx
    import onnxruntime
    import torch

    # A batch size other than the traced one: a constant that should have been dynamic fails here.
    pixels = _example(spec, 3)
    try:
        onnx.checker.check_model(onnx.load_from_string(graph))
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        answer = session.run(None, {"pixels": pixels.numpy()})[0]
    except Exception as exc:  # onnxruntime's exceptions have no common base of their own
        raise ModelError(f"the exported graph of {spec.name} does not run: {exc}") from exc
    with torch.inference_mode():
        expected = model(pixels).numpy()
    apart = float(np.abs(answer - expected).max())
    if not apart <= TOLERANCE:  # also true of NaN
        raise ModelError(f"the exported graph of {spec.name} differs from torch by {apart:.2g}")
    return answer.shape[1]


def _record(settings: Settings, spec: registry.ModelSpec, source: weights.Weights,
            classes: int) -> dict[str, Any]:
    import torch

    labels = registry.labels()
    if classes != len(labels):
        raise ModelError(f"{source.path} has {classes} classes; the labels are ImageNet-1k's {len(labels)}")
    return {
        "name": spec.name, "weights_sha256": source.sha256,
        "origin": "weights" if settings.model_weights else spec.source,
        "preprocess": {"resize": spec.preprocess.resize, "crop": spec.preprocess.crop},
        "mean": spec.mean, "std": spec.std, "opset": OPSET, "torch": torch.__version__,
        "labels": labels,
    }


def _leave_with_parent() -> None:
    """End this process when its stdin does: nobody is left to use the export."""
    def watch() -> None:
        # Not sys.stdin: its lock, held by a daemon thread, aborts Python's own exit.
        while os.read(0, 1):
            continue
        os._exit(1)

    threading.Thread(target=watch, name="irs-parent-watch", daemon=True).start()


def main() -> int:
    """Exit code 0 and the path on stdout, or 1 and the reason as the last line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m irs.model.export",
                                     description="Export the model to ONNX.")
    parser.add_argument("--settings", default="{}", help="JSON object of settings, before IRS_* variables")
    parser.add_argument("--child", action="store_true", help="end when stdin does")
    arguments = parser.parse_args()
    if arguments.child:
        _leave_with_parent()
    try:
        path = export(settings_module.build(json.loads(arguments.settings)))
    except IRSError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
