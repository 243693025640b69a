"""Import torchvision also where its wheel does not match torch's.

PyPI's torchvision is built for CUDA. Beside a CPU-only torch its compiled operators do
not load, and ``import torchvision`` fails with ``operator torchvision::nms does not
exist``: it registers a shape function for an operator that nobody has declared. The two
operators serve object detection only. Declaring their schemas is all that the models,
their weights' metadata and their transforms need. With matching wheels nothing is done.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

from irs.errors import ModelError

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")

_lock = threading.Lock()
#: A library's declarations live as long as this object does.
_library: Any = None


def load() -> Any:
    """The ``torchvision`` module; raises `ModelError` when it cannot be imported."""
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as exc:
            if "operator torchvision::" not in str(exc):
                raise ModelError(f"torchvision cannot be imported: {_first_line(exc)}") from exc
        except ImportError as exc:
            raise ModelError(
                f"this needs torch and torchvision ({exc}): pip install them, or set IRS_MODEL_DIR "
                "to a directory that already has the exported model") from exc
        _forget_half_imported()
        _declare()
        try:
            return importlib.import_module("torchvision")
        except (ImportError, RuntimeError) as exc:
            raise ModelError(f"torchvision cannot be imported: {_first_line(exc)}") from exc


def _declare() -> None:
    global _library  # noqa: PLW0603  the declarations belong to the process, as torch's registry does
    import torch

    if _library is None:
        _library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            _library.define(operator + _SIGNATURE)


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def _first_line(exc: BaseException) -> str:
    return (str(exc) or repr(exc)).splitlines()[0]
