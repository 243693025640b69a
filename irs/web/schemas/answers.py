"""What is answered about images."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from irs.web.schemas.base import ID, UUID, WHERE, Model, may


class Prediction(Model):
    """One of the model's most likely classes."""

    label: str = Field(description="The class's name.")
    index: int = Field(description="Its index in the model's output.", ge=0)
    confidence: float = Field(description="Softmax probability.", ge=0, le=1)


class ModelInfo(Model):
    """Which model answered."""

    name: str = Field(description="Its name in the registry.")
    version: str = Field(description="`sha256:` and the first 12 hex digits of the model file's digest.")
    engine: str = Field(description="What ran it.")


class InputInfo(Model):
    """What was uploaded."""

    format: str = Field(description="The format, by what the file contains.")
    width: int = Field(description="Pixels, after EXIF orientation.", ge=1)
    height: int = Field(description="Pixels, after EXIF orientation.", ge=1)
    sha256: str = Field(description="Hex digest of the uploaded bytes.")


class Failure(Model):
    """Why there is no label."""

    code: str = Field(description="For a program; does not change.")
    message: str = Field(description="For a person.")


class Times(Model):
    """When it happened, in UTC."""

    received: str = may("The web tier had the image.", format="date-time")
    started: str = may("A worker began.", format="date-time")
    finished: str = may("There was a result.", format="date-time")


class Result(Model):
    """The final outcome of one image: a label, or the reason why there is none."""

    schema_: int = Field(alias="schema", description="Changes when a field changes its meaning.")
    id: str = Field(description="The job.", json_schema_extra=UUID)
    image: str = Field(description="The file's name, as it was uploaded.")
    status: Literal["done", "failed", "cancelled"]
    label: str = may("The most likely class; only where `status` is `done`.")
    result: str = Field(description="The line that `POST /upload` gives for it.")
    predictions: list[Prediction] = may("The five most likely classes, the first the label's.",
                                        min_length=1)
    error: Failure = may("Only where `status` is `failed`.")
    model: ModelInfo = may("Which model answered.")
    input: InputInfo = may("What was uploaded.")
    reused: bool = may("True: the same bytes were classified before, and this is that answer.")
    attempts: int = Field(description="Deliveries of the job to a worker.", ge=0)
    instance: str = Field(description="The instance that did it; may be empty.")
    times: Times

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "schema": 1, "id": ID, "image": "test_0.JPEG", "status": "done", "label": "tench",
        "result": "(test_0, tench)",
        "predictions": [{"label": "tench", "index": 0, "confidence": 0.93}],
        "model": {"name": "efficientnet_lite0", "version": "sha256:579344248a93", "engine": "onnxruntime"},
        "input": {"format": "JPEG", "width": 500, "height": 375, "sha256": "9f86d081884c7d65…"},
        "attempts": 1, "instance": "i-0abc",
        "times": {"received": "2026-11-22T21:30:00.123Z", "started": "2026-11-22T21:30:00.131Z",
                  "finished": "2026-11-22T21:30:00.170Z"}}]})


class Queued(Model):
    """A job that has no result so far. It goes on; send nothing again."""

    id: str = Field(description="The job.", json_schema_extra=UUID)
    image: str = may("The file's name, in the answer to its upload.")
    status: Literal["queued"]
    result: str = may("The line that `POST /upload` gives for it.")
    location: str = Field(description="Where to ask for it.", json_schema_extra={"format": "uri-reference"})
    position: int = may("Jobs that may run before it, about; 0: it is next or runs.", ge=0)
    estimate_seconds: float = may("Until its result, about.", ge=0)

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "id": ID, "image": "test_0.JPEG", "status": "queued", "location": WHERE,
        "result": f"(test_0, queued: id {ID}, about 12 in the queue, about 5 s, ask {WHERE})",
        "position": 12, "estimate_seconds": 5.0}]})


class NotTaken(Model):
    """A file without a result: refused, or not accepted now."""

    id: str = may("The job, where there is one: it may have been accepted all the same.", format="uuid")
    image: str = Field(description="The file's name.")
    status: Literal["refused", "unavailable", "lost"]
    result: str = Field(description="The line that `POST /upload` gives for it.")
    location: str = may("Where to ask for the job.", format="uri-reference")
    error: Failure

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "image": "notes.txt", "status": "refused",
        "result": "(notes, error: not an image of a format taken here)",
        "error": {"code": "unsupported_format", "message": "not an image of a format taken here"}}]})


class Results(Model):
    """One outcome a file, in upload order."""

    results: list[Result | Queued | NotTaken] = Field(min_length=1)


class Problem(Model):
    """Problem details (RFC 9457)."""

    type: str = Field(description="Always `about:blank`: the code says it.",
                      json_schema_extra={"format": "uri-reference"})
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong and what to do, for a person.")
    code: str = Field(description="For a program; does not change.")
    id: str = may("The job, where there is one.", format="uuid")
    location: str = may("Where to ask for the job.", format="uri-reference")

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "type": "about:blank", "title": "Unsupported Media Type", "status": 415,
        "detail": "not an image of a format taken here: JPEG, PNG, GIF",
        "code": "unsupported_format"}]})


class Event(Model):
    """One event of a stream."""

    event: Literal["result", "unknown", "queue", "end"]
    data: str = Field(
        description="JSON. Of `result` a Result; of `unknown` the `id`; of `queue` the `position` and "
                    "`estimate_seconds` of a job that would be sent now, as far as they are known; of "
                    "`end` how many jobs are `left`.",
        json_schema_extra={"contentMediaType": "application/json"})

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"event": "queue", "data": '{"position":12,"estimate_seconds":5.0}'}]})


class Callback(Model):
    """How a callback stands."""

    id: str = Field(description="What it is about.", json_schema_extra=UUID)
    state: Literal["pending", "delivered", "failed"]
    attempts: int = Field(description="Made so far.", ge=0)
    last_status: int = may("HTTP status of the last answer.")
    last_error: str = may("Why the last attempt failed.")
    next_at: str = may("When the next attempt is made.", format="date-time")


class Ticket(Model):
    """Where to put an image."""

    id: str = Field(description="The upload's, and then the job's.", json_schema_extra=UUID)
    method: Literal["PUT"]
    url: str = Field(description="Where to send the bytes. Whoever has it may.",
                     json_schema_extra={"format": "uri"})
    headers: dict[str, str] = Field(description="To send with them, as they are.")
    size: int = Field(description="Bytes that must come.", ge=1)
    expires: str = Field(description="Until when the PUT must have begun.",
                         json_schema_extra={"format": "date-time"})
    location: str = Field(description="Where the job will be.",
                          json_schema_extra={"format": "uri-reference"})
