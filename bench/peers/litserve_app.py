"""LitServe: one inference worker, which collects batches and decodes.

Annotations stay objects here: LitServe compares the hint of `Api.decode_request`.
"""

from typing import Any

import litserve
import numpy as np
from classifier import PARAMETERS, Classifier, decode
from fastapi import Request


class Api(litserve.LitAPI):
    """``POST /upload``; the base class stacks the arrays."""

    def setup(self, device: str) -> None:
        """Once in the worker."""
        self.classifier = Classifier()

    def decode_request(self, request: Request) -> np.ndarray:
        """The form's file as an array."""
        return decode(request["myfile"].file.read())

    def predict(self, x: np.ndarray) -> list[dict[str, Any]]:
        """One answer an image."""
        return self.classifier.predict(x)


if __name__ == "__main__":
    api = Api(max_batch_size=PARAMETERS["max_batch"], batch_timeout=PARAMETERS["batch_wait"],
              api_path="/upload")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=300).run(
        host=PARAMETERS["host"], port=PARAMETERS["port"], log_level="warning", generate_client_file=False)
