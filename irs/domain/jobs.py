"""What travels and what is stored: frozen records, JSON in and out.

The JSON of a `Result` is the S3 output object, every API answer, and (shortened by
`Result.announcement`) the output-queue message.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from irs import __version__
from irs.domain import keys, reading

#: Version of the result's JSON; a reader accepts this one and those before it. Raised when a
#: field changes its meaning, not when one is added: readers pass over what they do not know.
SCHEMA = 1
#: Codes of failures that the service is to blame for; those of images are in `irs.errors`.
INPUT_MISSING, GAVE_UP, DEAD_LETTER = OWN_FAULT = ("input_missing", "gave_up", "dead_letter")


class Status(enum.StrEnum):
    """Where a job stands, as a client sees it."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """True when nothing will change any more."""
        return self in (Status.DONE, Status.FAILED, Status.CANCELLED)


def stamp(moment: datetime) -> str:
    """UTC time with milliseconds, ``2026-11-22T21:30:00.123Z``.

    Raises `ValueError` for a naive datetime.
    """
    if moment.tzinfo is None:
        raise ValueError("naive datetime: give it a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One class of the model's top-k."""

    #: the class's name
    label: str
    #: its index in the model's output
    index: int
    #: softmax probability, 0..1
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """Which model answered."""

    #: name in the registry, e.g. ``efficientnet_lite0``
    name: str
    #: ``sha256:`` and the first 12 hex digits of the model file's digest
    version: str
    #: ``onnxruntime``, ``openvino`` or ``torch``
    engine: str
    #: on trial for a share of the images, see `irs.domain.canary`
    canary: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class InputInfo:
    """What was uploaded."""

    #: Pillow's format name: JPEG, PNG, …
    format: str
    #: pixels, after EXIF orientation
    width: int
    #: pixels, after EXIF orientation
    height: int
    #: hex digest of the uploaded bytes
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a job has no label."""

    #: stable, from `irs.errors`: undecodable, too_large, …; or one of `OWN_FAULT`
    code: str
    #: one line for a person
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One image accepted for classification."""

    #: random UUID (version 4)
    id: str
    #: the file's display name
    image: str
    #: key of the uploaded bytes in the input bucket
    key: str
    #: when the web tier took it
    received: datetime

    @classmethod
    def from_message(cls, job_id: str, key: str, *, name: str, received: str, **_newer: object) -> Job:
        """A job from a task's arguments; raises `ValueError` for what we did not send.

        The key must lie below the job's own id: a message cannot name another's upload.
        Keyword arguments that a newer web tier may add are none of this version's.
        """
        canonical = keys.parse_id(job_id)
        if (not isinstance(key, str) or not key.startswith(f"{canonical}/")
                or not {"", ".", ".."}.isdisjoint(key.split("/"))):
            raise ValueError(f"key is not below {canonical}/")
        moment = datetime.fromisoformat(received)
        if moment.tzinfo is None:
            raise ValueError("received has no time zone")
        return cls(id=canonical, image=keys.display_name(name), key=key, received=moment)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The one final outcome of a job."""

    id: str
    image: str
    status: Status
    #: receives of the job's message, this one included; 0: it is no worker's doing
    attempts: int = 1
    #: EC2 instance id, or a host name where there is none
    instance: str = ""
    #: highest confidence first; empty when failed or cancelled
    predictions: tuple[Prediction, ...] = ()
    model: ModelInfo | None = None
    input: InputInfo | None = None
    error: Failure | None = None
    #: received, started, finished: see `stamp`
    times: Mapping[str, str] = field(default_factory=dict)
    #: the same bytes had been classified before, and this is what was said then
    reused: bool = False
    #: of the service that made it; empty: one before results told it
    service_version: str = __version__

    def __post_init__(self) -> None:
        if not self.status.final:
            raise ValueError(f"a result is final, not {self.status}")
        if self.status is Status.DONE and not self.predictions:
            raise ValueError("a done result has predictions")
        if self.status is Status.FAILED and self.error is None:
            raise ValueError("a failed result has an error")
        if self.status is Status.CANCELLED and (self.predictions or self.error):
            raise ValueError("a cancelled result has neither predictions nor an error")

    @property
    def label(self) -> str | None:
        """The most likely class's name."""
        return self.predictions[0].label if self.predictions else None

    @property
    def line(self) -> str:
        """``(test_0, tench)``, ``(test_0, error: reason)`` or ``(test_0, error: cancelled)``."""
        reason = self.label or f"error: {self.error.message if self.error else self.status}"
        return f"({keys.in_line(self.image)}, {reason})"

    def as_dict(self, *, top: int | None = None) -> dict[str, Any]:
        """JSON-ready, predictions cut to the first ``top``."""
        out: dict[str, Any] = {"schema": SCHEMA, "id": self.id, "image": self.image,
                               "status": str(self.status)}
        if self.predictions:
            out["label"] = self.label
        out["result"] = self.line
        if self.predictions:
            out["predictions"] = [
                {"label": p.label, "index": p.index, "confidence": round(p.confidence, 6)}
                for p in self.predictions[:top]
            ]
        if self.error is not None:
            out["error"] = {"code": self.error.code, "message": self.error.message}
        if self.model is not None:
            out["model"] = {"name": self.model.name, "version": self.model.version,
                            "engine": self.model.engine}
            if self.model.canary:
                out["model"]["canary"] = True
        if self.input is not None:
            out["input"] = {"format": self.input.format, "width": self.input.width,
                            "height": self.input.height, "sha256": self.input.sha256}
        if self.reused:
            out["reused"] = True
        if self.service_version:
            out["service_version"] = self.service_version
        out["attempts"] = self.attempts
        out["instance"] = self.instance
        out["times"] = dict(self.times)
        return out

    def to_json(self) -> bytes:
        """The S3 object's bytes."""
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    def announcement(self) -> dict[str, Any]:
        """The output-queue message: the result with its first prediction only."""
        return self.as_dict(top=1)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `as_dict`; raises `ValueError` for anything that is not a result."""
        try:
            if int(data.get("schema", SCHEMA)) > SCHEMA:
                raise ValueError(f"result schema {data['schema']} is newer than {SCHEMA}")
            return cls(
                id=keys.parse_id(data["id"]),
                image=str(data["image"]),
                status=Status(data["status"]),
                attempts=int(data.get("attempts", 1)),
                instance=str(data.get("instance", "")),
                predictions=tuple(
                    Prediction(label=str(p["label"]), index=int(p["index"]),
                               confidence=float(p["confidence"]))
                    for p in data.get("predictions", ())
                ),
                model=reading.record(ModelInfo, data["model"]) if data.get("model") else None,
                input=reading.record(InputInfo, data["input"]) if data.get("input") else None,
                error=reading.record(Failure, data["error"]) if data.get("error") else None,
                times=dict(data.get("times", {})),
                reused=data.get("reused") is True,
                service_version=str(data.get("service_version", "")),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as exc:
            raise ValueError(f"not a result: {exc!r}") from exc

    @classmethod
    def from_json(cls, raw: bytes | str) -> Result:
        """The inverse of `to_json`; raises `ValueError` for anything that is not a result."""
        try:
            data = json.loads(raw)
        except RecursionError as exc:
            raise ValueError("not a result: nested too deep") from exc
        if not isinstance(data, dict):
            raise ValueError("not a result: not a JSON object")  # noqa: TRY004 - one error for bad input
        return cls.from_dict(data)
