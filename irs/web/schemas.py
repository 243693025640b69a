"""The JSON of requests and answers, as models of pydantic: for the OpenAPI document and its tests.

The answers themselves are made of the domain's records (`irs.domain.jobs`); these say how
they look. A model is not built before the document is (``defer_build``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

_ID = "7f3c2c5e-6a0e-4f57-9a4c-0f2f3d1b8a11"
_WHERE = f"/v1/images/{_ID}"
_UUID = {"format": "uuid"}
#: What an address in S3 begins with.
_ADDRESS = "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/"
_CALLBACK = "Where the result is posted besides, signed; where the service makes callbacks."


def may(about: str, *, format: str | None = None, **more: Any) -> Any:
    """A field that is left out where there is nothing to say."""
    def optional(schema: dict[str, Any]) -> None:
        schema.pop("default", None)
        if format is not None:
            schema["format"] = format

    return Field(None, description=about, json_schema_extra=optional, **more)


class Model(BaseModel):
    """The base of all: fields may be added, so an answer may have more than a model tells."""

    model_config = ConfigDict(defer_build=True, protected_namespaces=())


class JsonSchema(GenerateJsonSchema):
    """JSON schemas without a title for each field, which would only be its name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """pydantic's."""
        return False


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
    id: str = Field(description="The job.", json_schema_extra=_UUID)
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
        "schema": 1, "id": _ID, "image": "test_0.JPEG", "status": "done", "label": "tench",
        "result": "(test_0, tench)",
        "predictions": [{"label": "tench", "index": 0, "confidence": 0.93}],
        "model": {"name": "efficientnet_lite0", "version": "sha256:579344248a93", "engine": "onnxruntime"},
        "input": {"format": "JPEG", "width": 500, "height": 375, "sha256": "9f86d081884c7d65…"},
        "attempts": 1, "instance": "i-0abc",
        "times": {"received": "2026-11-22T21:30:00.123Z", "started": "2026-11-22T21:30:00.131Z",
                  "finished": "2026-11-22T21:30:00.170Z"}}]})


class Queued(Model):
    """A job that has no result so far. It goes on; send nothing again."""

    id: str = Field(description="The job.", json_schema_extra=_UUID)
    image: str = may("The file's name, in the answer to its upload.")
    status: Literal["queued"]
    result: str = may("The line that `POST /upload` gives for it.")
    location: str = Field(description="Where to ask for it.", json_schema_extra={"format": "uri-reference"})
    position: int = may("Jobs that may run before it, about; 0: it is next or runs.", ge=0)
    estimate_seconds: float = may("Until its result, about.", ge=0)

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "id": _ID, "image": "test_0.JPEG", "status": "queued", "location": _WHERE,
        "result": f"(test_0, queued: id {_ID}, about 12 in the queue, about 5 s, ask {_WHERE})",
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


class QueueStats(Model):
    """The input queue, by SQS's approximate counts."""

    visible: int = Field(description="Jobs that wait for a worker.", ge=0)
    in_flight: int = Field(description="Jobs that a worker has.", ge=0)
    delayed: int = Field(description="Jobs that are not shown to workers yet.", ge=0)


class FleetStats(Model):
    """The fleet, by the scaler's last decision."""

    at: str = Field(description="When it was.", json_schema_extra={"format": "date-time"})
    age_seconds: float = Field(description="Since then. More than a minute: the scaler does not run.", ge=0)
    policy: str = Field(description="The scaler's policy.")
    reason: str = Field(description="Why it decided so, in words.")
    running: int = Field(description="Instances that run, those that drain included.", ge=0)
    pending: int = Field(description="Instances that are being launched.", ge=0)
    stopped: int = Field(description="Instances in the warm pool.", ge=0)
    draining: int = Field(description="Instances that take no more work.", ge=0)
    min: int = Field(description="The fewest that there may be.", ge=0)
    max: int = Field(description="The most.", ge=0)
    service_seconds: float | None = Field(description="What an image takes an instance; null: not known.")
    boot_seconds: float | None = Field(description="From launch to first work; null: not known.")


class ProcessStats(Model):
    """The web process that answers."""

    waiting_clients: int = Field(description="Requests that wait for a result.", ge=0)
    max_waiting: int = Field(description="The most that may.", ge=0)
    pending_jobs: int = Field(description="Jobs that it accepted and that have no result.", ge=0)
    lost_jobs: int = Field(description="Those of them that fell out of the queue.", ge=0)
    results_per_second: float = Field(
        description="Results that came within their request's wait, over the last minute.", ge=0)


class CostStats(Model):
    """What the fleet costs, about: its running instances at the price that the service was told."""

    dollars_per_hour: float = Field(description="All of them.", ge=0)
    instance_price: float = Field(description="One of them.", ge=0)


class Stats(Model):
    """How the service stands."""

    at: str = Field(description="When this was written.", json_schema_extra={"format": "date-time"})
    queue: QueueStats
    fleet: FleetStats | None = Field(description="Null: there is no scaler.")
    process: ProcessStats
    cost: CostStats | None = Field(description="Null: no scaler, or no price (`IRS_INSTANCE_PRICE`).")

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "at": "2026-11-22T21:30:00.123Z", "queue": {"visible": 12, "in_flight": 4, "delayed": 0},
        "fleet": {"at": "2026-11-22T21:29:58.001Z", "age_seconds": 2.1, "policy": "predictive",
                  "reason": "backlog", "running": 3, "pending": 1, "stopped": 0, "draining": 0, "min": 0,
                  "max": 19, "service_seconds": 0.031, "boot_seconds": 51.2},
        "process": {"waiting_clients": 3, "max_waiting": 400, "pending_jobs": 16, "lost_jobs": 0,
                    "results_per_second": 8.2},
        "cost": {"dollars_per_hour": 0.2678, "instance_price": 0.08925}}]})


class Callback(Model):
    """How a callback stands."""

    id: str = Field(description="What it is about.", json_schema_extra=_UUID)
    state: Literal["pending", "delivered", "failed"]
    attempts: int = Field(description="Made so far.", ge=0)
    last_status: int = may("HTTP status of the last answer.")
    last_error: str = may("Why the last attempt failed.")
    next_at: str = may("When the next attempt is made.", format="date-time")


class InS3(Model):
    """An image that is in S3 already, in a bucket that the service may read."""

    s3: str = Field(description="`s3://bucket/key`.", pattern=_ADDRESS + "[^/]+$")
    name: str | None = may("What to call it; the key's last part where it is not said.")
    callback_url: str | None = may(_CALLBACK, pattern="^https?://")


class Uploaded(Model):
    """An image that its client has put where `POST /v1/uploads` said."""

    upload: str = Field(description="The upload's id, and then the job's.", json_schema_extra=_UUID)
    callback_url: str | None = may(_CALLBACK, pattern="^https?://")


class Announced(Model):
    """An image that will be put into S3."""

    size: int = Field(description="Its bytes, exactly.", ge=1)
    name: str | None = may("What to call it.")
    content_type: str | None = may("What the PUT will be sent as: `image/…` or `application/octet-stream`, "
                            "which is what it is where it is not said.")


class Ticket(Model):
    """Where to put an image."""

    id: str = Field(description="The upload's, and then the job's.", json_schema_extra=_UUID)
    method: Literal["PUT"]
    url: str = Field(description="Where to send the bytes. Whoever has it may.",
                     json_schema_extra={"format": "uri"})
    headers: dict[str, str] = Field(description="To send with them, as they are.")
    size: int = Field(description="Bytes that must come.", ge=1)
    expires: str = Field(description="Until when the PUT must have begun.",
                         json_schema_extra={"format": "date-time"})
    location: str = Field(description="Where the job will be.",
                          json_schema_extra={"format": "uri-reference"})


class Form(Model):
    """Files of a form. The field is `myfile` by custom; any name works."""

    myfile: list[bytes] = Field(description="One file or several.", min_length=1)


class OneFile(Model):
    """One file of a form. The field is `myfile` by custom; any name works."""

    myfile: bytes = Field(description="The file.")
    callback_url: str | None = may(_CALLBACK, pattern="^https?://")


class BatchCounts(Model):
    """A batch's images by what has become of them."""

    queued: int = Field(description="Without an outcome so far.", ge=0)
    done: int = Field(description="With a label.", ge=0)
    failed: int = Field(description="Refused, or failed for good.", ge=0)
    cancelled: int = Field(description="Not sent, and never will be.", ge=0)


class Batch(Model):
    """How far a batch is."""

    id: str = Field(description="The batch.", json_schema_extra=_UUID)
    status: Literal["listing", "running", "done", "cancelled"]
    total: int = Field(description="Images; while `status` is `listing` those that are known so far.", ge=0)
    counts: BatchCounts
    created: str = Field(description="When it was accepted.", json_schema_extra={"format": "date-time"})
    source: str = Field(description="`files`, `list`, or the address above all of them.")
    location: str = Field(description="Where to ask for it.", json_schema_extra={"format": "uri-reference"})
    results: str = Field(description="Where its results are.",
                         json_schema_extra={"format": "uri-reference"})
    finished: str = may("Since when nothing changes any more.", format="date-time")
    rate: float = may("Results a second of late; until it has finished.", ge=0)
    estimate_seconds: float = may("Until it is done, about.", ge=0)
    truncated: bool = may("There were more objects than a batch may have.")

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "id": _ID, "status": "running", "total": 1200,
        "counts": {"queued": 1188, "done": 12, "failed": 0, "cancelled": 0},
        "created": "2026-11-22T21:30:00.123Z", "source": "files", "rate": 41.5, "estimate_seconds": 28.6,
        "location": f"/v1/batches/{_ID}", "results": f"/v1/batches/{_ID}/results"}]})


class Below(Model):
    """All objects whose keys begin so."""

    s3: str = Field(description="`s3://bucket/prefix/`; the bucket is an allowed one.",
                    pattern=_ADDRESS, examples=["s3://photos/2026/"])


class Addresses(Model):
    """Objects in S3, each an image."""

    images: list[Annotated[str, Field(pattern=_ADDRESS + "[^/]+$")]] = Field(
        description="`s3://bucket/key`, in the order of the batch.", min_length=1,
        examples=[["s3://photos/1.jpg", "s3://photos/2.jpg"]])
