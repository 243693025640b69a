"""Which engines this installation has, seen without importing them."""

from __future__ import annotations

import importlib.util
import platform

#: What brings each.
_EXTRAS = {"onnxruntime": "irs[worker]", "openvino": "irs[worker]", "torch": "irs[gpu]"}


def lacking(engine: str) -> str | None:
    """How to install ``engine`` (``onnxruntime``, ``openvino``, ``torch``); None where it is there."""
    if importlib.util.find_spec(engine) is not None:
        return None
    if engine == "openvino" and platform.machine() == "aarch64":
        return "irs[worker] leaves it out on arm64: pip install openvino, which needs glibc 2.35"
    return f"pip install '{_EXTRAS[engine]}'"
