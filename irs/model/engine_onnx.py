"""onnxruntime on the CPU: the engine of workers without a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from irs.domain.jobs import ModelInfo
from irs.errors import ModelError
from irs.model import engine
from irs.model.exported import Exported


class OnnxEngine:
    """See `irs.model.engine.Engine`."""

    name = "onnxruntime"

    def __init__(self, source: Exported, *, threads: int) -> None:
        """Load ``source``; raises `ModelError` when onnxruntime refuses it."""
        self.info = ModelInfo(name=source.name, version=f"sha256:{source.weights_sha256[:12]}",
                              engine=self.name)
        self.preprocess = source.preprocess
        self.labels = source.labels
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1  # the graph is a chain: there is nothing to run beside it
        # Spinning threads gain a tenth at batch 8 on two idle cores, and lose it again:
        # the cores they burn are those that fetch and decode the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; warnings are about graph optimisations
        try:
            self._session = onnxruntime.InferenceSession(
                str(source.path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # onnxruntime's exceptions have no common base of their own
            raise ModelError(f"onnxruntime cannot load {source.path}: {exc}") from exc

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """See `irs.model.engine.Engine.predict`."""
        engine.check_batch(batch, self.preprocess)
        try:
            return self._session.run(None, {"pixels": batch})[0]
        except Exception as exc:  # as above
            raise ModelError(f"onnxruntime failed on a batch of {len(batch)}: {exc}") from exc
