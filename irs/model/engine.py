"""The engine a worker runs: which one, and what it can be asked."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from irs import log
from irs.domain.images import Preprocess
from irs.domain.jobs import ModelInfo, Prediction
from irs.errors import ModelError
from irs.model import export_child, exported, installed, weights
from irs.settings import Settings

#: What the canary's settings are called, by those of the fleet's model.
CANARY = {"IRS_MODEL": "IRS_CANARY_MODEL", "IRS_MODEL_WEIGHTS": "IRS_CANARY_WEIGHTS",
          "IRS_MODEL_SHA256": "IRS_CANARY_SHA256"}

_log = log.get("model")


class Engine(Protocol):
    """A loaded model. One thread at a time may call `predict`, unless it is `Overlapping`."""

    #: ``onnxruntime``, ``openvino`` or ``torch``
    name: str
    info: ModelInfo
    #: how an image is cut for this model
    preprocess: Preprocess
    #: the classes' names, in index order
    labels: Sequence[str]

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Softmax probabilities, float32 (N, classes), of uint8 RGB images (N, crop, crop, 3).

        Raises `ModelError`.
        """
        ...


@runtime_checkable
class Overlapping(Protocol):
    """What an engine has besides that takes the next batch while it computes one."""

    #: threads that may call `Engine.predict` at once
    depth: int

    def buffer(self, images: int) -> np.ndarray[Any, Any]:
        """Memory for a batch, uint8 (images, crop, crop, 3), from which it goes in fastest."""
        ...


def load(settings: Settings, fetch: weights.Fetch | None = None) -> Engine:
    """The engine that ``settings`` ask for, warmed by one image, on a GPU by batches of all sizes.

    ``auto`` is torch on a machine with a CUDA GPU, else onnxruntime. The engines of exported
    models never import torch into this process: a missing or damaged export is made anew by a
    child process. ``fetch`` reads weights from S3.

    Raises `ModelError`, and `CloudError` from ``fetch``.
    """
    chosen = _choose(settings)
    if how := installed.lacking(chosen):
        raise ModelError(f"IRS_ENGINE={settings.engine}: {chosen} is not installed ({how})")
    engine = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[chosen](settings, fetch)
    warm(engine, settings.max_batch)
    _log.info("model.loaded", model=engine.info.name, version=engine.info.version, engine=engine.name)
    return engine


@contextlib.contextmanager
def named(by: Mapping[str, str]) -> Iterator[None]:
    """A `ModelError` within it names what ``by`` has in place of a setting of the fleet's model."""
    try:
        yield
    except ModelError as exc:
        said = re.sub(r"\bIRS_MODEL\w*", lambda found: by.get(found[0], found[0]), str(exc))
        raise type(exc)(said) from exc


def top_k(probabilities: np.ndarray[Any, Any], labels: Sequence[str],
          k: int = 5) -> list[tuple[Prediction, ...]]:
    """Each row's ``k`` most likely classes, the likeliest first; equals in index order.

    ``probabilities`` is (N, classes). Raises `ModelError` for a row with a NaN or an
    infinity: that is no answer.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise ModelError(f"the engine answered with shape {probabilities.shape} for {len(labels)} labels")
    if not np.isfinite(probabilities).all():
        raise ModelError("the engine answered with numbers that are not finite")
    # To sort all of the classes takes more than twice as long as to find the few that matter.
    k = min(k, len(labels))
    least = np.partition(probabilities, -k, axis=1)[:, -k]
    return [_best(row, np.flatnonzero(row >= bound), labels, k)
            for row, bound in zip(probabilities, least, strict=True)]


def _best(row: np.ndarray[Any, Any], likely: np.ndarray[Any, Any], labels: Sequence[str],
          k: int) -> tuple[Prediction, ...]:
    """The first ``k`` of the classes ``likely`` (indices, rising) by their probability in ``row``."""
    order = likely[np.argsort(-row[likely], kind="stable")[:k]]
    return tuple(Prediction(label=labels[i], index=i, confidence=p)
                 for i, p in zip(order.tolist(), row[order].tolist(), strict=True))


def threads(settings: Settings) -> int:
    """``IRS_ENGINE_THREADS``, or one for each core that this process may use."""
    if settings.engine_threads:
        return settings.engine_threads
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_batch(batch: np.ndarray[Any, Any], preprocess: Preprocess) -> None:
    """Raises `ModelError` unless ``batch`` is uint8 (N >= 1, crop, crop, 3)."""
    size = preprocess.crop
    if batch.dtype != np.uint8 or not len(batch) or batch.shape[1:] != (size, size, 3):
        raise ModelError(f"the model takes uint8 (N, {size}, {size}, 3), not {batch.dtype} {batch.shape}")


def _choose(settings: Settings) -> str:
    if settings.engine != "auto":
        return settings.engine
    if not _has_nvidia_gpu() or installed.lacking("torch"):
        return "onnxruntime"
    import torch

    if torch.cuda.is_available():
        return "torch"
    _unusable("onnxruntime")
    return "onnxruntime"


def _unusable(instead: str) -> None:
    import torch

    _log.warning("model.gpu_unusable", torch=torch.__version__,
                 reason=f"this torch cannot use the GPU that is here; {instead} runs on the CPU")


def _has_nvidia_gpu() -> bool:
    """Looked for without torch: asking torch costs seconds, also where there is none."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def _torch(settings: Settings, fetch: weights.Fetch | None) -> Engine:
    from irs.model import engine_torch

    engine = engine_torch.TorchEngine(settings, fetch)
    if engine.on_cpu and _has_nvidia_gpu():
        _unusable("it")
    return engine


def _onnxruntime(settings: Settings, fetch: weights.Fetch | None) -> Engine:
    from irs.model import engine_onnx

    if settings.precision not in ("auto", "float32"):
        raise ModelError(f"IRS_PRECISION={settings.precision} needs torch or openvino, and this worker "
                         "runs onnxruntime: set IRS_ENGINE to one of them, or leave the precision at auto")
    return engine_onnx.OnnxEngine(_exported(settings, fetch), threads=threads(settings))


def _openvino(settings: Settings, fetch: weights.Fetch | None) -> Engine:
    from irs.model import engine_openvino

    return engine_openvino.OpenvinoEngine(_exported(settings, fetch), threads=threads(settings),
                                          precision=settings.precision)


def _exported(settings: Settings, fetch: weights.Fetch | None) -> exported.Exported:
    """What is in `Settings.model_dir`, or put there now."""
    if weights.in_s3(settings) and not settings.model_sha256:
        # Without a digest only the object itself says which export is the right one.
        settings = weights.local(settings, fetch)
    found = exported.find(settings)
    if found is None:
        settings = weights.local(settings, fetch)
        export_child.in_subprocess(settings)
        found = exported.require(settings)
    return found


def warm(engine: Engine, max_batch: int) -> None:
    """Images through the engine: what cannot work fails now, not at the first job.

    A GPU chooses its kernels and reserves its memory at the first batch of a size, and for
    each that is under way at once.
    """
    depth = engine.depth if isinstance(engine, Overlapping) else 1
    size = engine.preprocess.crop
    for images in _sizes(max_batch) if depth > 1 else [1]:
        for _ in range(depth):
            top_k(engine.predict(np.zeros((images, size, size, 3), np.uint8)), engine.labels)


def _sizes(most: int) -> list[int]:
    """1, 2, 4 and so on, and ``most``."""
    return [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]
