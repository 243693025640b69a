"""A torch model on a device, a batch at a time in each lane; what the device lacks or loses."""

from __future__ import annotations

import copy
import queue
import threading
from typing import Any

import numpy as np
import torch

from irs import log
from irs.errors import DeviceLost, ModelError, OutOfMemory
from irs.model.device import Device, Lane, first_line

_log = log.get("model")


def placed(model: torch.nn.Module, device: Device, dtype: torch.dtype) -> torch.nn.Module:
    """The same module (see `irs.model.network`) on the device, its network in ``dtype``.

    Normalisation and softmax stay float32, and so do batch norms, which take either: their
    averages of thousands of values are not for a type of three digits.
    """
    for module in model.network.modules():
        if not isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)
    # The batch arrives as (N, H, W, 3), which is this layout already.
    return model.to(device.torch, memory_format=torch.channels_last)


class Running:
    """As many threads as the device has lanes may call `run` at once; further ones wait.

    A network whose values are too large for float16 goes on in float32, for good.
    """

    def __init__(self, model: torch.nn.Module, device: Device, *, dtype: torch.dtype, most: int) -> None:
        """``most`` images go to the device at once. Raises `ModelError` where the model does not fit."""
        self._device = device
        try:
            #: together, as another thread may look meanwhile
            self._used = placed(model, device, dtype), dtype
            self._lanes: queue.SimpleQueue[Lane] = queue.SimpleQueue()
            device.settle()
            for _ in range(device.lanes):
                self._lanes.put(device.lane())
        except RuntimeError as exc:  # CUDA errors and out of memory are RuntimeErrors
            raise ModelError(f"the model cannot be put on the {device.label}: {first_line(exc)}") from exc
        #: images that go to the device at once; fewer after it had no memory for more
        self.most = most
        self._lost = ""
        self._widening = threading.Lock()

    def run(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Float32 probabilities (N, classes) of uint8 (N, H, W, 3).

        Where the device has no memory for so many at once, fewer go to it from then on.
        Raises `DeviceLost`, `OutOfMemory` where there is none for a single image, and
        `ModelError`.
        """
        parts: list[np.ndarray[Any, Any]] = []
        done = 0
        while done < len(batch):
            part = batch[done: done + self.most]
            used = self._used
            answer = self._once(part, *used)
            if answer is None:
                self._halve(len(part))
                continue
            if used[1] is torch.float16 and not np.isfinite(answer).all():
                self._widen()
                continue
            parts.append(answer)
            done += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _once(self, batch: np.ndarray[Any, Any], model: torch.nn.Module,
              dtype: torch.dtype) -> np.ndarray[Any, Any] | None:
        """None: not enough memory. Not an error, whose traceback would hold what is there."""
        if self._lost:
            raise DeviceLost(self._lost)
        lane = self._lanes.get()
        try:
            return lane.run(lambda: _compute(batch, model, self._device.torch, dtype)).numpy()
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as exc:
            if not self._device.alive():
                self._lost = f"the {self._device.label} is lost to this process: {first_line(exc)}"
                raise DeviceLost(self._lost) from exc
            raise ModelError(f"torch failed on a batch of {len(batch)}: {first_line(exc)}") from exc
        finally:
            self._lanes.put(lane)

    def _halve(self, images: int) -> None:
        self._device.release()
        if images == 1:
            raise OutOfMemory(f"the {self._device.label} has no memory for one image")
        self.most = min(self.most, images // 2)
        _log.warning("model.less_at_once", images=images, most=self.most, device=self._device.label)

    def _widen(self) -> None:
        """To float32. The weights keep the digits that float16 has left them, which is plenty."""
        with self._widening:
            model, dtype = self._used
            if dtype is torch.float32:
                return
            try:
                wide = placed(copy.deepcopy(model), self._device, torch.float32)
                self._device.settle()
            except RuntimeError as exc:
                raise ModelError("the network's values are too large for float16, and it cannot be had in "
                                 f"float32: {first_line(exc)}") from exc
            self._used = wide, torch.float32
        _log.warning("model.overflow", precision="float32",
                     reason="the network's values are too large for float16")


@torch.inference_mode()
def _compute(batch: np.ndarray[Any, Any], model: torch.nn.Module, device: torch.device,
             dtype: torch.dtype) -> torch.Tensor:
    # Neither copy is waited for: the lane does that. On a GPU torch gives the second one
    # pinned memory, which it keeps for the next.
    pixels = torch.from_numpy(batch).to(device, non_blocking=True)
    planes = model.normalised(pixels).to(dtype)
    probabilities = torch.softmax(model.network(planes).float(), dim=1)
    return probabilities.to("cpu", non_blocking=True)
