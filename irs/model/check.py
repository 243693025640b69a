"""One image through decoder and engine, as a worker does it, with nothing else around."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from irs.domain import images
from irs.domain.jobs import Prediction
from irs.errors import ModelError
from irs.model import engine as engines
from irs.model import exported
from irs.settings import Settings


def run(settings: Settings, photo: bytes | None = None) -> tuple[engines.Engine, Prediction]:
    """The engine, and what it takes ``photo`` for; without one, for an image made here.

    With ``IRS_ENGINE=onnxruntime`` or ``openvino`` nothing is exported: on a machine that is
    to work without torch, that would hide what is missing. Raises `ModelError`, and
    `errors.Refused` for a photo that is none.
    """
    if settings.engine in ("onnxruntime", "openvino"):
        exported.require(settings)
    engine = engines.load(settings)
    limits = images.Limits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    decoded = images.decode(photo if photo is not None else _made(), limits, engine.preprocess)
    side = engine.preprocess.crop
    batch = np.frombuffer(decoded.pixels, np.uint8).reshape(1, side, side, 3)
    [[best, *_]] = engines.top_k(engine.predict(batch), engine.labels)
    if not 0 < best.confidence <= 1:
        raise ModelError(f"the engine answered with a confidence of {best.confidence}")
    return engine, best


def _made() -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((320, 240)).convert("RGB").save(out, "JPEG")
    return out.getvalue()
