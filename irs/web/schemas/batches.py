"""Batches."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from irs.web.schemas.base import ID, UUID, Model, may


class BatchCounts(Model):
    """A batch's images by what has become of them."""

    queued: int = Field(description="Without an outcome so far.", ge=0)
    done: int = Field(description="With a label.", ge=0)
    failed: int = Field(description="Refused, or failed for good.", ge=0)
    cancelled: int = Field(description="Not sent, and never will be.", ge=0)


class Batch(Model):
    """How far a batch is."""

    id: str = Field(description="The batch.", json_schema_extra=UUID)
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
        "id": ID, "status": "running", "total": 1200,
        "counts": {"queued": 1188, "done": 12, "failed": 0, "cancelled": 0},
        "created": "2026-11-22T21:30:00.123Z", "source": "files", "rate": 41.5, "estimate_seconds": 28.6,
        "location": f"/v1/batches/{ID}", "results": f"/v1/batches/{ID}/results"}]})
