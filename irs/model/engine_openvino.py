"""OpenVINO on the CPU, in bfloat16 where the processor has it: half of onnxruntime's time, or less.

It compiles the exported model to machine code for this processor when it loads it, and again for
each size of a batch at the first of that size (some 20 ms): it needs memory that may be written
and executed.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from irs import log
from irs.domain.jobs import ModelInfo
from irs.errors import ModelError
from irs.model import engine
from irs.model.exported import Exported

# At its import OpenVINO would tell its makers of it over the network. Without this package, which
# does that, it goes without.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

#: By what a network can compute in: OpenVINO's name, and the capability that a processor
#: which does so by itself is said to have (`properties.device.capabilities`).
PRECISIONS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}

#: The process's, kept for its life. Its CPU plugin gives the thread that loads it another stack for
#: signals, and takes that down in whichever thread lets it go: the first thread would be left with
#: the address of one, and the next signal, such as the SIGTERM of a stop, would end the process.
_CORE = openvino.Core()

_log = log.get("model")


class OpenvinoEngine:
    """See `irs.model.engine.Engine`."""

    name = "openvino"

    def __init__(self, source: Exported, *, threads: int, precision: str) -> None:
        """Load ``source``; ``precision`` is one of `PRECISIONS`, or ``auto`` for bfloat16 where it is had.

        Raises `ModelError` where this processor has no such precision, and when OpenVINO refuses
        the model.
        """
        self.info = ModelInfo(name=source.name, version=f"sha256:{source.weights_sha256[:12]}",
                              engine=self.name)
        self.preprocess = source.preprocess
        self.labels = source.labels
        self.precision = _precision(precision, _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        options = {
            "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision][0],
            # One batch at a time, on all of the threads, two of which may share a core.
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_HYPER_THREADING": True,
            # The cores are also those that fetch and decode: nobody is tied to one.
            "ENABLE_CPU_PINNING": False}
        try:
            compiled = _CORE.compile_model(str(source.path), "CPU", options)
        except Exception as exc:  # pybind's translations have no common base
            raise ModelError(f"OpenVINO cannot load {source.path}: {_told(exc)}") from exc
        self._request = compiled.create_infer_request()
        _log.info("model.device", device=_CORE.get_property("CPU", "FULL_DEVICE_NAME").strip(),
                  precision=self.precision, batches=1)

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """See `irs.model.engine.Engine.predict`."""
        engine.check_batch(batch, self.preprocess)
        try:
            return self._request.infer([batch], share_inputs=True)[0]
        except Exception as exc:  # as above
            raise ModelError(f"OpenVINO failed on a batch of {len(batch)}: {_told(exc)}") from exc


def _precision(wanted: str, capabilities: list[str]) -> str:
    able = [name for name, (_, capability) in PRECISIONS.items() if capability in capabilities]
    if wanted == "auto":
        return "bfloat16" if "bfloat16" in able else "float32"
    if wanted not in able:
        raise ModelError(f"IRS_PRECISION={wanted}: this processor computes in {' and '.join(able)}; "
                         "leave it at auto")
    return wanted


def _told(exc: Exception) -> str:
    """Its last two lines but for headings, such as the places in OpenVINO's own source."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    said = "; ".join([line for line in lines if not line.endswith(":")][-2:])
    said = said or " ".join(lines) or repr(exc)
    if said == "can't protect":  # Xbyak's words, which compiles for it
        said += ": it needs memory that is written and executed (under systemd, MemoryDenyWriteExecute=no)"
    return said
