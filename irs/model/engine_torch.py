"""torch: the engine of workers with a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from irs import log
from irs.domain.jobs import ModelInfo
from irs.errors import ModelError
from irs.model import engine, network, registry, weights
from irs.settings import Settings

if TYPE_CHECKING:
    from irs.model.device import Device

_log = log.get("model")


class TorchEngine:
    """See `irs.model.engine.Engine` and `irs.model.engine.Overlapping`."""

    name = "torch"

    def __init__(self, settings: Settings, fetch: weights.Fetch | None = None,
                 device: Device | None = None) -> None:
        """Load the model onto ``device``; without one onto the GPU, or the CPU where there is none.

        Raises `ModelError` when torch is missing, the weights cannot be used or the device
        cannot take them.
        """
        spec = registry.spec(settings.model)
        source = weights.obtain(settings, spec, fetch)
        model = network.build(spec, source)
        import torch

        from irs.model import device as devices
        from irs.model.running import Running

        self.info = ModelInfo(name=spec.name, version=f"sha256:{source.sha256[:12]}", engine=self.name)
        self.preprocess = spec.preprocess
        self.labels = registry.labels()
        self._device = device or devices.choose()
        self.depth = self._device.lanes
        self.on_cpu = self._device.torch.type == "cpu"
        if self.on_cpu:
            torch.set_num_threads(engine.threads(settings))
        self.precision = _precision(settings, self._device)
        self._running = Running(model, self._device, dtype=getattr(torch, self.precision),
                                most=settings.max_batch)
        _log.info("model.device", device=self._device.label, precision=self.precision, batches=self.depth)

    def buffer(self, images: int) -> np.ndarray[Any, Any]:
        """See `irs.model.engine.Overlapping.buffer`. Raises `ModelError`."""
        try:
            return self._device.buffer(images, self.preprocess.crop, self.preprocess.crop, 3)
        except RuntimeError as exc:
            from irs.model.device import first_line

            raise ModelError(f"no memory that the {self._device.label} reads for {images} images "
                             f"({first_line(exc)}): lower IRS_MAX_BATCH") from exc

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """See `irs.model.engine.Engine.predict`."""
        engine.check_batch(batch, self.preprocess)
        return self._running.run(batch)


def _precision(settings: Settings, device: Device) -> str:
    """The name of the type that the network computes in; torch's is the same."""
    if settings.precision == "auto":
        return device.precision
    if settings.precision not in device.precisions:
        raise ModelError(f"IRS_PRECISION={settings.precision}: the {device.label} does not compute in it; "
                         "leave it at auto")
    return settings.precision
