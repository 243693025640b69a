"""The model as every peer runs it: the same file, the same square, the same engine options.

Runs in the peers' own environments, which have onnxruntime, numpy and Pillow and not irs.
What `bench/compare.py` decides is in the JSON file that ``PEER`` names.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

PARAMETERS: dict[str, Any] = json.loads(Path(os.environ["PEER"]).read_text())


def decode(data: bytes) -> np.ndarray:
    """uint8 (crop, crop, 3) of a file."""
    with Image.open(io.BytesIO(data)) as image:
        return square(image)


def square(image: Image.Image) -> np.ndarray:
    """The centre of an opened image, upright: uint8 (crop, crop, 3), in one resampling."""
    resize, crop = PARAMETERS["resize"], PARAMETERS["crop"]
    image.draft("RGB", (resize, resize))  # libjpeg scales while it decodes
    upright = ImageOps.exif_transpose(image).convert("RGB")
    side = min(upright.size) * crop / resize
    left, top = (upright.width - side) / 2, (upright.height - side) / 2
    cut = upright.resize((crop, crop), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(cut)


class Classifier:
    """The exported model, with the session options of a worker of IRS."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = PARAMETERS["threads"]
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            PARAMETERS["model"], options, providers=["CPUExecutionProvider"])

    def predict(self, batch: np.ndarray) -> list[dict[str, Any]]:
        """A JSON-ready answer for each image of uint8 (N, crop, crop, 3): its five likeliest classes."""
        probabilities = self._session.run(None, {"pixels": batch})[0]
        return [{"predictions": [
            {"label": PARAMETERS["labels"][i], "index": int(i), "confidence": round(float(row[i]), 6)}
            for i in np.argsort(-row, kind="stable")[:5]]} for row in probabilities]
