"""A service of a few lines: what runs a flow in a test, with a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from irs.client.flows import Flows
from irs.client.repeats import Flow, Pause
from irs.client.wire import Answer, NoAnswer, Reply, Request

ID = "7f3c1a52-9d0e-4b7e-8a53-2f1c6f0f9a11"


def reply(status: int, body: Any = None, /, **headers: str) -> Reply:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply(status=status, content=content,
                 headers={name.replace("_", "-"): value for name, value in headers.items()})


def queued(job_id: str = ID, **more: Any) -> dict[str, Any]:
    return {"id": job_id, "status": "queued", "location": f"/v1/images/{job_id}", **more}


def done(job_id: str = ID, image: str = "a.jpg", label: str = "tench") -> dict[str, Any]:
    return {"schema": 1, "id": job_id, "image": image, "status": "done", "label": label,
            "predictions": [{"label": label, "index": 0, "confidence": 0.9}]}


def failed(job_id: str = ID, code: str = "gave_up") -> dict[str, Any]:
    return {"schema": 1, "id": job_id, "image": "a.jpg", "status": "failed",
            "error": {"code": code, "message": "five times"}}


def problem(status: int, code: str, /, *, id: str | None = None, **headers: str) -> Reply:
    body = {"status": status, "title": "No", "detail": f"because {code}", "code": code}
    return reply(status, body | ({"id": id} if id else {}), **headers)


def batch(status: str = "running", **counts: int) -> dict[str, Any]:
    every = {"queued": 0, "done": 0, "failed": 0, "cancelled": 0, **counts}
    more = ({"rate": 2.0, "estimate_seconds": 4.0} if every["queued"] or status == "listing"
            else {"finished": "2026-11-22T21:30:00.123Z"})
    return {"id": ID, "status": status, "total": sum(every.values()), "counts": every, **more}


def member(number: int, status: str = "done") -> dict[str, Any]:
    body = {"done": done, "failed": failed}.get(status, lambda: {"id": ID, "status": status})()
    return body | {"number": number, "image": f"{number}.jpg"}


LOST = NoAnswer("http://x does not answer")


class Script:
    """Answers a flow's requests one after the other; a poll takes the time that it asks for."""

    def __init__(self, *answers: Answer | Callable[[Request], Answer], retries: int = 3,
                 jitter: float = 0.0) -> None:
        self.now = 100.0
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []
        self.pauses: list[float] = []
        self._answers: Iterator[Answer | Callable[[Request], Answer]] = iter(answers)
        self.flows = Flows(retries=retries, clock=lambda: self.now, jitter=lambda: jitter)

    def play(self, flow: Flow[Any]) -> Any:
        answer: Answer | None = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                assert next(self._answers, None) is None, "not everything was asked for"
                return end.value
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.now += step.seconds
                answer = None
                continue
            self.asked.append(step)
            self.bodies.append(b"".join(step.body.chunks()) if step.body else b"")
            given = next(self._answers)
            answer = given(step) if callable(given) else given
            if isinstance(answer, Reply) and answer.object().get("status") == "queued":
                self.now += step.wait


def classify(script: Script, image: Any = b"bytes", *, name: str | None = "a.jpg", wait: float = 60) -> Any:
    """One image of a few bytes."""
    return script.play(script.flows.classify(image, name=name, wait=wait))
