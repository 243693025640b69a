"""Freeze what this version stores and sends: ``python -m tests.unit.frozen.make``, once a release.

Each document is one file of a directory named after the version, and ``facts.json`` beside
them is what was read from them then. No frozen file is ever changed: a bucket may hold one
like it for as long as results are kept.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from unittest import mock

import irs
from irs.audit.sending import celery_sender
from irs.aws.queues import Queue
from irs.broker import envelope
from irs.domain import bulk, callbacks, claims, journal, observing, pacing, reuse, tickets
from irs.domain.jobs import Failure, InputInfo, Job, ModelInfo, Prediction, Result, Status, stamp
from irs.scaler import userdata
from irs.settings import Settings, build

HERE = Path(__file__).parent
FACTS = "facts.json"
ID = "7f3c9d52-6f0e-4c43-9d0a-8f1e2b3c4d5e"
NOW = datetime(2026, 11, 25, 18, 0, 0, 123_000, UTC)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

MODEL = ModelInfo(name="efficientnet_lite0", version="sha256:579344248a93", engine="onnxruntime")
INPUT = InputInfo(format="JPEG", width=500, height=375, sha256=SHA256)
TIMES = {"received": stamp(NOW), "started": stamp(NOW), "finished": stamp(NOW + timedelta(seconds=1))}
DONE = Result(
    id=ID, image="test 0, (ü).JPEG", status=Status.DONE, attempts=2, instance="i-0abc", times=TIMES,
    model=MODEL, input=INPUT, predictions=(
        Prediction(label="tench", index=0, confidence=0.93),
        Prediction(label="goldfish", index=1, confidence=0.02)))
FAILED = Result(id=ID, image="broken.png", status=Status.FAILED, model=MODEL, times=TIMES,
                error=Failure(code="undecodable", message="cannot be decoded"))
CANCELLED = Result(id=ID, image="test_0.JPEG", status=Status.CANCELLED, attempts=0, times=TIMES)
JOB = Job(id=ID, image="test_0.JPEG", key=f"{ID}/test_0.JPEG", received=NOW)


def documents() -> dict[str, bytes]:
    """By file name, as this code writes them."""
    return {
        "result-done.json": DONE.to_json(),
        "result-failed.json": FAILED.to_json(),
        "result-cancelled.json": CANCELLED.to_json(),
        "result-reused.json": reuse.answer(JOB, DONE, NOW).to_json(),
        "announcement.json": json.dumps(DONE.announcement()).encode(),
        "reuse-index.json": reuse.to_index(DONE, NOW),
        "task.json": _task(),
        "batch.json": _batch().to_json(),
        "batch-ended.json": bulk.Batch(id=ID, created=NOW, source=bulk.FILES, total=2, sent=2, done=1,
                                       withdrawn=1, cancelled=NOW, finished=NOW).to_json(),
        "members.jsonl": bulk.chunk_bytes([
            bulk.Member(name="a.jpg"), bulk.Member(name="b.jpg", source="s3://bucket/b.jpg"),
            bulk.Member(name="c.txt", error=Failure(code="unsupported_format", message="not an image"))]),
        "backlog.json": pacing.Backlog(at=NOW, unsent=40, rate=12.5).to_json(),
        "callback.json": callbacks.Record(
            id=ID, url="https://client.example/hook", created=NOW, next_at=NOW, attempts=3,
            last_status=503, last_error="answered 503").to_json(),
        "claim.json": claims.Claim(id=ID, fingerprint=SHA256, at=NOW, begun=True).to_json(),
        "ticket.json": tickets.Ticket(id=ID, name="a.jpg", size=100, content_type="image/jpeg",
                                      expires=NOW).to_json(),
        "journal.json": _journal().to_json(),
        "report.json": observing.Report(
            instance="i-0abc", at=NOW, started_at=NOW, ready_at=NOW, done=7, running=2,
            service_seconds=0.05, heard_ago=1.5, draining=True, wants_to_leave=True).to_json(),
        "userdata.txt": userdata.build(_told()).encode(),
    }


def _task() -> bytes:
    """The message that the web tier puts on the input queue."""
    sent: list[str] = []

    def send_batch(_: Queue, entries: Sequence[tuple[str, int]]) -> list[None]:
        sent.extend(body for body, _delay in entries)
        return [None] * len(entries)

    with (mock.patch.object(Queue, "send_batch", send_batch),
          mock.patch.object(Queue, "url", "http://127.0.0.1:9/000000000000/queue")):
        celery_sender()(JOB, reply_to="cc21cprk-output-queue-web-0123456789ab")
    return sent[0].replace(f"@{socket.gethostname()}", "@web").encode()


def _batch() -> bulk.Batch:
    return bulk.Batch(
        id=ID, created=NOW, source="s3://bucket/prefix/", total=1500, listed=False, cursor="prefix/z.jpg",
        truncated=True, sent=1200, outstanding=(1198, 1199), done=1190,
        failed=bulk.Flags().with_(3).with_(1100), withdrawn=6,
        refused={1100: Failure(code="too_large", message="too large")}, rate=20.5,
        holder="host-1-abcd", serial=9)


def _journal() -> journal.Journal:
    return journal.Journal(
        epoch=4, holder="host-1-abcd", serial=12,
        intents=(journal.Intent(name="AppTier-Instance-2", origin="irs/4/9/0", type="c7i.large",
                                subnet="subnet-1", since=NOW, spare=True),),
        leaving={"i-0abc": journal.Leave(how="stop", since=NOW, itself=True, once_ready=True)},
        fleet=(journal.Member(id="i-0abc", name="AppTier-Instance-1", launched_at=NOW),),
        service_seconds=0.05, boots=(41.5, 39.0), decision={"reason": "queue 140, have 2 of 19"})


def _told() -> Settings:
    return build({"input_queue": "other-queue", "max_batch": 16, "idle_shutdown": 300.0,
                  "model": "resnet18", "log_format": "json"})


def _members(data: bytes) -> dict[str, Any]:
    return {str(number): asdict(member) for number, member in enumerate(bulk.members(data))}


def _settings(data: bytes) -> dict[str, Any]:
    """What a worker's settings are with this user data."""
    lines = dict(line.split("=", 1) for line in data.decode().splitlines())
    known = {name.removeprefix("IRS_").lower(): value for name, value in lines.items()}
    return {name: getattr(build(known), name) for name in known}


def _sent(data: bytes) -> dict[str, Any]:
    task = envelope.task(data.decode())
    return {"name": task.name, "reply_to": task.reply_to,
            **asdict(Job.from_message(*task.args, **task.kwargs))}


def _index(data: bytes) -> dict[str, Any]:
    found = reuse.from_index(data, SHA256, NOW, None)
    assert found is not None
    return asdict(found[0])


#: By the name's beginning: what reads such a document. It raises `ValueError` where it cannot.
READERS: Mapping[str, Callable[[bytes], Mapping[str, Any]]] = {
    "result": lambda data: asdict(Result.from_json(data)),
    "announcement": lambda data: asdict(Result.from_json(data)),
    "reuse-index": _index,
    "task": _sent,
    "batch": lambda data: asdict(bulk.Batch.from_json(data)),
    "members": _members,
    "backlog": lambda data: asdict(pacing.Backlog.from_json(data)),
    "callback": lambda data: asdict(callbacks.Record.from_json(data)),
    "claim": lambda data: asdict(claims.Claim.from_json(data)),
    "ticket": lambda data: asdict(tickets.Ticket.from_json(data)),
    "journal": lambda data: asdict(journal.Journal.from_json(data)),
    "report": lambda data: asdict(observing.Report.from_json(data)),
    "userdata": _settings,
}


def facts(name: str, data: bytes) -> Any:
    """What is in the document, as JSON has it."""
    longest = max((kind for kind in READERS if name.startswith(kind)), key=len)
    return json.loads(json.dumps(READERS[longest](data), default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    assert isinstance(value, Enum | os.PathLike), value
    return str(value)


def main() -> None:
    """Write this version's directory; one that is there stays as it is."""
    place = HERE / irs.__version__
    if place.exists():
        sys.exit(f"{place.name} is frozen already: raise irs.__version__ first")
    place.mkdir()
    found = documents()
    for name, data in found.items():
        (place / name).write_bytes(data)
    (place / FACTS).write_text(json.dumps({name: facts(name, data) for name, data in found.items()},
                                          indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
