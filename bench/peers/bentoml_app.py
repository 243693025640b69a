"""BentoML: one worker, adaptive batching, images that the framework opens."""

from __future__ import annotations

from typing import Any

import bentoml
import numpy as np
from classifier import PARAMETERS, Classifier, square
from PIL.Image import Image


@bentoml.service(workers=1, traffic={"timeout": 300})
class Service:
    """``POST /upload``."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    # The window is the dispatcher's own to find, below the default latency goal of a minute.
    @bentoml.api(route="/upload", batchable=True, max_batch_size=PARAMETERS["max_batch"])
    def upload(self, myfile: list[Image]) -> list[dict[str, Any]]:
        """One answer an image."""
        return self.classifier.predict(np.stack([square(image) for image in myfile]))
