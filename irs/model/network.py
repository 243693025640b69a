"""The torch module that both engines are made from: pixels in, probabilities out.

Imports torch when called, not when imported.
"""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING

from irs.errors import ModelError
from irs.model import registry
from irs.model.weights import Weights

if TYPE_CHECKING:
    import torch


def build(spec: registry.ModelSpec, weights: Weights) -> torch.nn.Module:
    """The model with its normalisation before it and a softmax after it, in eval mode.

    Its ``forward`` takes uint8 RGB, shape (N, H, W, 3), and gives float32
    probabilities, shape (N, classes), each row adding up to 1; `irs.model.running` its parts.

    Raises `ModelError` when torch is missing or the weights do not fit the network.
    """
    try:
        import torch
    except ImportError as exc:
        raise ModelError(
            f"this needs torch ({exc}): pip install it, or set IRS_MODEL_DIR to a directory that "
            "already has the exported model") from exc

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = _network(spec)
            self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1))
            # A multiplication costs less than a division, on every engine.
            self.register_buffer("scale", 1 / torch.tensor(spec.std).view(1, 3, 1, 1))

        def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
            planes = pixels.permute(0, 3, 1, 2).float()
            return (planes - self.mean) * self.scale

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.network(self.normalised(pixels)), dim=1)

    model = Classifier()
    try:
        # weights_only: a pickle may run any code, and this file may have come from anywhere.
        state = torch.load(weights.path, map_location="cpu", weights_only=True)
        model.network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError, KeyError, EOFError, OSError,
            pickle.UnpicklingError) as exc:
        reason = (str(exc) or repr(exc)).splitlines()[0]
        raise ModelError(f"{weights.path} does not hold weights for {spec.name}: {reason}") from exc
    return model.eval().requires_grad_(False)


def _network(spec: registry.ModelSpec) -> torch.nn.Module:
    if spec.source == "package":
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as exc:
            raise ModelError(f"the default model's network is in a missing pip package: {exc}") from exc
        return EfficientNet.from_name("efficientnet-lite0")
    from irs.model import torchvision_import

    torchvision = torchvision_import.load()
    with warnings.catch_warnings():
        # googlenet and inception_v3 announce that their initialisation will change; the
        # weights replace it in the next moment.
        warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
        network = torchvision.models.get_model(spec.name, weights=None)
    if hasattr(network, "transform_input"):
        # The same two were trained on other scales than their metadata says, and convert
        # by themselves when torchvision itself loads their weights.
        network.transform_input = True
    return network
