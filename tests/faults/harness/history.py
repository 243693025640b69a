"""What every client saw: each request's invocation, and its answer, failure or silence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.faults.harness.pictures import Picture

#: ``ok``: an answer that is final; ``later``: 202; ``refused``: an HTTP error; ``unknown``:
#: the connection ended without an answer; ``open``: no end so far.
Outcome = Literal["ok", "later", "refused", "unknown", "open"]


@dataclass(kw_only=True, slots=True)
class Request:
    """One client's request: written by its own thread, read by the oracle afterwards."""

    picture: Picture
    #: `time.monotonic`
    invoked: float
    ended: float | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: the file's object in the answer; empty where the answer has none
    result: Mapping[str, Any] = field(default_factory=dict)
    #: why there is no answer, or an answer that is not JSON
    error: str = ""

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if self.ended is None:
            return "open"
        if self.status is None:
            return "unknown"
        if self.status == 202:
            return "later"
        return "ok" if self.result.get("status") in ("done", "failed") else "refused"

    @property
    def job_id(self) -> str | None:
        """The job's id, as far as the client was told."""
        return self.result.get("id")

    @property
    def seconds(self) -> float:
        """How long it took, so far."""
        return (self.ended or time.monotonic()) - self.invoked


class History:
    """All requests of one run. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def invoke(self, picture: Picture) -> Request:
        """A request begins."""
        request = Request(picture=picture, invoked=time.monotonic())
        with self._lock:
            self._requests.append(request)
        return request

    @property
    def requests(self) -> list[Request]:
        """All so far, in the order of their invocation."""
        with self._lock:
            return list(self._requests)

    def dump(self, path: Path) -> None:
        """One JSON line a request, without the image's bytes."""
        with path.open("w") as out:
            for request in self.requests:
                line = asdict(request)
                del line["picture"]["data"]
                out.write(json.dumps({"outcome": request.outcome, **line}) + "\n")
