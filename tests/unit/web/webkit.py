"""A whole service in memory, with a worker that a test can hold back, and what to send it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from irs import errors
from irs.aws.queues import Depth
from irs.domain.jobs import Failure, InputInfo, Job, ModelInfo, Prediction, Result, Status
from irs.settings import Settings
from irs.testing import MemoryListener, MemoryObjects, MemoryResults
from irs.web.stats import Sight

LABELS = ("tench", "goldfish", "great white shark", "tiger shark", "hammerhead")


def picture(kind: str = "JPEG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A real image of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, (90, 140, 60)).save(out, kind)
    return out.getvalue()


def done(job: Job, label: str = "tench") -> Result:
    """A worker's answer."""
    others = [name for name in LABELS if name != label][:4]
    return Result(
        id=job.id, image=job.image, status=Status.DONE, instance="i-0abc",
        predictions=tuple(Prediction(label=name, index=i, confidence=0.9 / 4**i)
                          for i, name in enumerate([label, *others])),
        model=ModelInfo(name="efficientnet_lite0", version="sha256:0123456789ab", engine="onnxruntime"),
        input=InputInfo(format="JPEG", width=40, height=30, sha256="0" * 64))


def failed(job: Job, code: str = "undecodable", message: str = "the image is truncated") -> Result:
    """A worker's refusal."""
    return Result(id=job.id, image=job.image, status=Status.FAILED,
                  error=Failure(code=code, message=message))


@dataclass(kw_only=True)
class Service:
    """The application and everything behind it."""

    app: Flask
    settings: Settings
    objects: MemoryObjects
    results: MemoryResults
    listener: MemoryListener
    #: the output bucket, but for the results
    records: MemoryObjects
    #: jobs sent, in order
    sent: list[Job] = field(default_factory=list)
    #: what the worker makes of a job; None: it does not get to it
    work: Callable[[Job], Result | None] = done
    #: whether results are announced
    announcing: bool = True
    #: raised by the next sends
    send_fails: errors.CloudError | None = None
    #: the input queue's visible messages; an error: cannot be read
    depth: int | errors.CloudError = 0
    unready: errors.CloudError | None = None
    #: what of queue and fleet `/v1/stats` tells; an error: cannot be read
    sight: Sight | errors.CloudError = field(default_factory=lambda: Sight(
        depth=Depth(visible=0, in_flight=0, delayed=0)))
    #: times that it was looked at
    looks: int = 0
    #: set at each send
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def send(self, job: Job, *, reply_to: str) -> None:
        assert reply_to == self.listener.address
        assert job.key in self.objects.stored, "sent before it was stored"
        if self.send_fails is not None:
            raise self.send_fails
        self.sent.append(job)
        result = self.work(job)
        if result is not None:
            self.finish(result)
        self.arrived.set()

    def finish(self, result: Result) -> None:
        self.results.write(result)
        if self.announcing:
            self.listener.announce(result)

    def post(self, *files: tuple[Any, ...], client: FlaskClient | None = None, **kwargs: Any) -> Any:
        """POST /upload with (name, bytes) files under ``myfile``."""
        data = {"myfile": [(io.BytesIO(content), name) for name, content in files]}
        return (client or self.client).post("/upload", data=data, **kwargs)
