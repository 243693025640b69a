"""A real worker around a stand-in for the engine: `celery worker`, but no model to load.

What is tested with it is the way of a message. ``HOLD`` names a file for whose end every
image waits; ``control break`` fails the main loop as a lost connection would; ``DEAF`` is
the silence in seconds after which it ends itself, ``SNS`` how long it waits for SNS, and for
its next try.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from celery.worker.control import control_command

from irs.aws import topics
from irs.domain.images import Preprocess
from irs.domain.jobs import ModelInfo
from irs.model import engine
from irs.worker import hearing, remote

HOLD = Path(os.environ["HOLD"])


class Engine:
    """Everything is a tench; with ``LOST`` in the environment, on a GPU that is gone."""

    name = "none"
    info = ModelInfo(name="none", version="sha256:0", engine="none")
    preprocess = Preprocess(resize=8, crop=8)
    labels = ("tench",)

    def predict(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        from irs import errors

        HOLD.with_suffix(".reached").touch()
        tick = threading.Event()
        while HOLD.exists():
            tick.wait(0.02)
        if "LOST" in os.environ:
            raise errors.DeviceLost("the GPU is lost to this process: CUDA error")
        return np.ones((len(batch), 1), np.float32)


@control_command(name="break")
def break_connection(state: Any) -> dict[str, str]:
    """The next turn of the main loop raises."""
    state.consumer.hub.call_soon(_fail)
    return {"ok": "breaking"}


def _fail() -> None:
    raise ConnectionResetError("broken on purpose")


if __name__ == "__main__":
    hearing.DEAF = float(os.environ.get("DEAF", hearing.DEAF))
    if "SNS" in os.environ:
        topics.TIMEOUT = remote.PAUSE = float(os.environ["SNS"])
    engine.load = lambda *_: Engine()  # the model is not what is tested
    from irs.celery import app

    app.worker_main(sys.argv[1:])
