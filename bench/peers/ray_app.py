"""Ray Serve: one replica, `serve.batch`, decoding and the engine off the event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import numpy as np
import ray
from classifier import PARAMETERS, Classifier, decode
from ray import serve
from starlette.requests import Request


# As many at once as the load sends: the proxy's own queue backs off and asks again.
@serve.deployment(num_replicas=1, max_ongoing_requests=PARAMETERS["at_once"])
class Service:
    """``POST /upload``."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @serve.batch(max_batch_size=PARAMETERS["max_batch"], batch_wait_timeout_s=PARAMETERS["batch_wait"])
    async def predict(self, arrays: list[np.ndarray]) -> list[dict[str, Any]]:
        """One answer an image."""
        return await asyncio.to_thread(self.classifier.predict, np.stack(arrays))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """The form's file, classified."""
        async with request.form() as form:
            data = await form["myfile"].read()
        return await self.predict(await asyncio.to_thread(decode, data))


if __name__ == "__main__":
    ray.init(num_cpus=PARAMETERS["cores"], include_dashboard=False, object_store_memory=200_000_000,
             _node_ip_address=PARAMETERS["host"], _temp_dir=PARAMETERS["directory"])
    serve.start(http_options={"host": PARAMETERS["host"], "port": PARAMETERS["port"]})
    serve.run(Service.bind(), route_prefix="/upload")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()
