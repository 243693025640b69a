"""torch: the engine of workers with a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from irs.domain.jobs import ModelInfo
from irs.errors import ModelError
from irs.model import engine, network, registry, weights
from irs.settings import Settings


class TorchEngine:
    """See `irs.model.engine.Engine`."""

    name = "torch"

    def __init__(self, settings: Settings, fetch: weights.Fetch | None = None) -> None:
        """Load the model onto the GPU, or onto the CPU where there is none.

        Raises `ModelError` when torch is missing or the weights cannot be used.
        """
        spec = registry.spec(settings.model)
        source = weights.obtain(settings, spec, fetch)
        model = network.build(spec, source)
        import torch

        self.info = ModelInfo(name=spec.name, version=f"sha256:{source.sha256[:12]}", engine=self.name)
        self.preprocess = spec.preprocess
        self.labels = registry.labels()
        self._torch = torch
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cpu":
            torch.set_num_threads(engine.threads(settings))
        # The batch arrives as (N, H, W, 3), which is this layout already.
        self._model = model.to(self._device, memory_format=torch.channels_last)

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """See `irs.model.engine.Engine.predict`."""
        engine.check_batch(batch, self.preprocess)
        try:
            with self._torch.inference_mode():
                pixels = self._torch.from_numpy(batch).to(self._device)
                return self._model(pixels).cpu().numpy()
        except RuntimeError as exc:  # CUDA errors and out of memory are RuntimeErrors
            raise ModelError(f"torch failed on a batch of {len(batch)}: {exc}") from exc
