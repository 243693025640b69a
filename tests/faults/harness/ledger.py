"""What the endpoint really took, whatever the tiers were told: heard by their proxies."""

from __future__ import annotations

import base64
import collections
import json
import re
import threading
from typing import Any

from irs.domain import tasks
from irs.settings import Settings
from irs.testing.proxy import Exchange

_INSTANCE = re.compile(rb"<instanceId>(i-[0-9a-f]+)</instanceId>")


class Ledger:
    """Accepted and delivered jobs, and stored results. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._queue = settings.input_queue
        self._results = f"{settings.output_bucket}/"
        self._lock = threading.Lock()
        self._accepted: dict[str, str] = {}
        self._writes: collections.Counter[str] = collections.Counter()
        self._receives: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[str] = collections.Counter()
        self._launched: set[str] = set()
        self._ended: set[str] = set()

    def hear(self, exchange: Exchange) -> None:
        """Take one answered call down."""
        call, reply = exchange.call, exchange.reply
        if reply.status == 412 and call.operation == "PutObject":
            with self._lock:
                self._refused[call.target.removeprefix(self._results).removesuffix(".json")] += 1
        if reply.status != 200:
            return
        if call.operation in ("SendMessage", "SendMessageBatch") and call.target == self._queue:
            for body in _taken(exchange):
                job = _job(body)
                if job is not None:
                    with self._lock:
                        self._accepted[job[0]] = job[1]
        elif call.operation == "ReceiveMessage" and call.target == self._queue:
            with self._lock:
                self._receives.update(
                    job[0] for message in json.loads(reply.body).get("Messages", ())
                    if (job := _job(message["Body"])) is not None)
        elif call.operation == "PutObject" and call.target.startswith(self._results):
            key = call.target.removeprefix(self._results)
            if "/" not in key and key.endswith(".json"):
                with self._lock:
                    self._writes[key.removesuffix(".json")] += 1
        elif call.operation in ("RunInstances", "TerminateInstances"):
            with self._lock:
                (self._launched if call.operation == "RunInstances" else self._ended).update(
                    found.decode() for found in _INSTANCE.findall(reply.body))

    @property
    def accepted(self) -> dict[str, str]:
        """Ids of jobs that the input queue has taken, each with its image's name."""
        with self._lock:
            return dict(self._accepted)

    @property
    def redelivered(self) -> int:
        """Jobs that the input queue has delivered more than once."""
        with self._lock:
            return sum(times > 1 for times in self._receives.values())

    @property
    def stored(self) -> frozenset[str]:
        """Ids of jobs of which a result was stored."""
        with self._lock:
            return frozenset(self._writes)

    def writes(self, job_id: str) -> int:
        """How often a result of the job was stored; a refused create does not count."""
        with self._lock:
            return self._writes[job_id]

    @property
    def refused(self) -> dict[str, int]:
        """Ids of jobs whose result somebody tried to store once more, and how often."""
        with self._lock:
            return dict(self._refused)

    @property
    def launched(self) -> set[str]:
        """Ids of the instances that RunInstances gave; a repeated token gives the same one."""
        with self._lock:
            return set(self._launched)

    @property
    def terminated(self) -> set[str]:
        """Ids of the instances that a tier ended."""
        with self._lock:
            return set(self._ended)


def _taken(exchange: Exchange) -> list[str]:
    """Bodies of the messages that a send put into the queue."""
    sent: dict[str, Any] = json.loads(exchange.request.body)
    if "Entries" not in sent:
        return [sent["MessageBody"]]
    done = {entry["Id"] for entry in json.loads(exchange.reply.body).get("Successful", ())}
    return [entry["MessageBody"] for entry in sent["Entries"] if entry["Id"] in done]


def _job(text: str) -> tuple[str, str] | None:
    """Id and image name of a task message; None for a message that is none of ours."""
    try:
        envelope = json.loads(text)
        if envelope["headers"]["task"] != tasks.CLASSIFY:
            return None
        body = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        _, kwargs, _ = json.loads(body)
        job_id, name = envelope["headers"]["id"], kwargs["name"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (job_id, name) if isinstance(job_id, str) else None
