"""What torch computes on: the CPU, or a CUDA GPU. All that needs CUDA is in this module.

A device is asked for host memory that it reads fastest, and for lanes. A lane takes one
batch at a time; what two lanes are given overlaps, so that one batch is copied while another
is computed. The CPU has one lane, as its cores are busy with a batch already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from irs.errors import ModelError

T = TypeVar("T")

PRECISIONS = ("float32", "float16", "bfloat16")
#: Batches under way on a GPU: one that is computed, one that is copied.
CUDA_LANES = 2


class Lane(Protocol):
    """One thread at a time may use it."""

    def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, once all that it began on the device is done."""
        ...


class Device(Protocol):
    """Thread-safe."""

    #: as torch knows it
    torch: torch.device
    #: as its maker calls it
    label: str
    #: batches that may be under way at once
    lanes: int
    #: what it computes in: names of torch's types
    precisions: Sequence[str]
    #: the one for a network that was trained in float32
    precision: str

    def buffer(self, *shape: int) -> np.ndarray[Any, Any]:
        """Uint8 memory of this host, from which a batch goes to the device fastest."""
        ...

    def lane(self) -> Lane:
        """A new one; as many as ``lanes`` are of use."""
        ...

    def settle(self) -> None:
        """Return when all that was begun is done: a lane does not wait for what is begun outside of it."""
        ...

    def release(self) -> None:
        """Give back memory that is kept for later batches, after there was too little."""
        ...

    def alive(self) -> bool:
        """Whether it still answers. After some faults it never does in this process."""
        ...


def choose() -> Device:
    """The GPU that torch takes by itself (the first of ``CUDA_VISIBLE_DEVICES``), else the CPU.

    Raises `ModelError` for a GPU that torch sees and cannot use.
    """
    if not torch.cuda.is_available():
        return Cpu()
    try:
        return Cuda()
    except RuntimeError as exc:
        raise ModelError(f"torch cannot use the GPU that it sees: {first_line(exc)}") from exc


def first_line(exc: BaseException) -> str:
    """CUDA's errors have many lines, of which the first says what it is."""
    return (str(exc).strip() or repr(exc)).splitlines()[0]


class Cpu:
    """See `Device`. The lane is the caller's own thread."""

    lanes = 1
    precisions = PRECISIONS
    precision = "float32"  # most have no instructions for the others

    def __init__(self) -> None:
        self.torch = torch.device("cpu")
        self.label = "CPU"

    def buffer(self, *shape: int) -> np.ndarray[Any, Any]:
        """See `Device.buffer`."""
        return np.empty(shape, np.uint8)

    def lane(self) -> Lane:
        """See `Device.lane`."""
        return _Caller()

    def settle(self) -> None:
        """Nothing is begun that is not done."""

    def release(self) -> None:
        """Nothing is kept."""

    def alive(self) -> bool:
        """See `Device.alive`."""
        return True


class _Caller:
    def run(self, work: Callable[[], T]) -> T:
        return work()


class Cuda:
    """See `Device`. A lane is a stream."""

    lanes = CUDA_LANES

    def __init__(self, number: int = 0) -> None:
        """Raises RuntimeError where torch cannot use a GPU of that number."""
        self.torch = torch.device("cuda", number)
        self.label = torch.cuda.get_device_name(self.torch)
        generation = torch.cuda.get_device_capability(self.torch)
        # Tensor cores have float16 from Volta on, bfloat16 from Ampere on, at one speed;
        # float16 is eight times as exact (docs/decisions/0031-gpu.md).
        self.precision = "float16" if generation >= (7, 0) else "float32"
        self.precisions = PRECISIONS if generation >= (8, 0) else ("float32", "float16")

    def buffer(self, *shape: int) -> np.ndarray[Any, Any]:
        """Pinned: the GPU reads it by itself, while this process does something else."""
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()

    def lane(self) -> Lane:
        """See `Device.lane`."""
        return _Stream(self.torch)

    def settle(self) -> None:
        """See `Device.settle`."""
        torch.cuda.synchronize(self.torch)

    def release(self) -> None:
        """See `Device.release`."""
        torch.cuda.empty_cache()

    def alive(self) -> bool:
        """See `Device.alive`."""
        # Any call fails after a fault that has ended the context, and no other one does.
        try:
            self.settle()
        except RuntimeError:
            return False
        return True


class _Stream:
    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        # Blocking: by default a thread that waits for the GPU burns a core that decodes.
        with torch.cuda.device(device):
            self._done = torch.cuda.Event(blocking=True)

    def run(self, work: Callable[[], T]) -> T:
        with torch.cuda.stream(self._stream):
            value = work()
            self._done.record(self._stream)
        self._done.synchronize()
        return value
