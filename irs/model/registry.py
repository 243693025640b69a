"""Which models there are, and what each needs to be fed.

Importing this module loads no torch, numpy or onnxruntime; asking for a torchvision
model does import torchvision, because its weights' own metadata is the record.
"""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from irs.domain.images import Preprocess
from irs.errors import ModelError

DEFAULT = "efficientnet_lite0"

#: Shown wherever a name is refused.
HOW_TO_LIST = "`python -m irs.model.registry` lists every name"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model as its authors trained it."""

    #: what ``IRS_MODEL`` says
    name: str
    #: how an image is cut before the model sees it
    preprocess: Preprocess
    #: subtracted from each of R, G, B on 0..255
    mean: tuple[float, float, float]
    #: then divided by this, also on 0..255
    std: tuple[float, float, float]
    #: who builds the network: the model's own pip package, or torchvision
    source: Literal["package", "torchvision"]
    #: digest of the source's own weights, where it is known before they are read
    sha256: str | None = None
    #: where the source's own weights are downloaded; None: they are in the package
    url: str | None = None


def spec(name: str) -> ModelSpec:
    """The model called ``name``.

    Raises `ModelError` for a name that is neither ours nor a torchvision classification
    model, and when torchvision is needed and cannot be imported.
    """
    if name == DEFAULT:
        return ModelSpec(
            name=name,
            preprocess=Preprocess(resize=256, crop=224),
            # Not ImageNet's mean and standard deviation: the network was trained on
            # (x - 127) / 128, and loses ten points of top-1 when it is fed anything else.
            mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0),
            source="package",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        )
    return _torchvision_spec(name)


def names() -> list[str]:
    """Every name that `spec` takes, sorted; raises `ModelError` without torchvision."""
    return sorted([DEFAULT, *_torchvision_names(_torchvision())])


def labels() -> tuple[str, ...]:
    """The 1000 ImageNet-1k class names, in index order."""
    text = resources.files("irs.model").joinpath("imagenet_labels.json").read_text("utf-8")
    return tuple(json.loads(text))


def _torchvision() -> Any:
    from irs.model import torchvision_import

    return torchvision_import.load()


def _torchvision_names(torchvision: Any) -> list[str]:
    # The filter leaves out detection, segmentation, video and quantized models.
    return torchvision.models.list_models(module=torchvision.models)


def _torchvision_spec(name: str) -> ModelSpec:
    torchvision = _torchvision()
    known = _torchvision_names(torchvision)
    if name not in known:
        near = difflib.get_close_matches(name, [DEFAULT, *known], n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ModelError(
            f"IRS_MODEL: {name} is neither {DEFAULT} nor a torchvision classification model"
            f"{hint} ({HOW_TO_LIST})")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    return ModelSpec(
        name=name,
        preprocess=Preprocess(resize=transforms.resize_size[0], crop=transforms.crop_size[0]),
        mean=_times_255(transforms.mean), std=_times_255(transforms.std),
        source="torchvision", url=weights.url,
    )


def _times_255(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) * 255 for value in values)
    return red, green, blue


if __name__ == "__main__":
    try:
        sys.stdout.write("\n".join(names()) + "\n")
    except ModelError as exc:
        sys.exit(str(exc))
