"""How the service stood, minute by minute."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from irs.web.schemas.base import Model
from irs.web.schemas.stats import MOMENT


class Minute(Model):
    """One minute: what is counted is its own, queue and fleet are the mean of its looks."""

    at: str = Field(description="Its beginning.", json_schema_extra=MOMENT)
    visible: float = Field(description="Jobs that waited for a worker.", ge=0)
    in_flight: float = Field(description="Jobs that a worker had.", ge=0)
    oldest_seconds: float | None = Field(description="The longest wait that was seen.", ge=0)
    dead: int | None = Field(description="Messages in the dead-letter queue at its end.", ge=0)
    booting: float = Field(description="Instances.", ge=0)
    idle: float = Field(description="Instances.", ge=0)
    busy: float = Field(description="Instances.", ge=0)
    draining: float = Field(description="Instances.", ge=0)
    stopped: float = Field(description="Instances.", ge=0)
    images: int = Field(description="Images finished.", ge=0)
    failed: int = Field(description="Images that got no label.", ge=0)
    wait_p50: float | None = Field(description="Seconds in the queue; null: no image came.", ge=0)
    wait_p95: float | None = Field(description="Seconds in the queue.", ge=0)
    infer_p50: float | None = Field(description="Seconds in the model.", ge=0)
    infer_p95: float | None = Field(description="Seconds in the model.", ge=0)
    launched: int = Field(description="Instances that came.", ge=0)
    ended: int = Field(description="Instances that went.", ge=0)
    dollars: float | None = Field(description="What instances cost; null: no `IRS_INSTANCE_PRICE`.", ge=0)


class Decided(Model):
    """What the scaler did, or came to anew."""

    at: str = Field(description="When.", json_schema_extra=MOMENT)
    text: str = Field(description="What, in words.")


class History(Model):
    """How the service stood."""

    step_seconds: int = Field(description="Between two points.", ge=1)
    points: list[Minute] = Field(description="The oldest first; where nobody watched there is none.")
    decisions: list[Decided] = Field(description="The newest first, 50 at most.")

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "step_seconds": 60,
        "points": [{"at": "2026-11-22T21:29:00.000Z", "visible": 12.4, "in_flight": 4.0,
                    "oldest_seconds": 3.2, "dead": 0, "booting": 0.5, "idle": 0.0, "busy": 3.0,
                    "draining": 0.0, "stopped": 0.0, "images": 480, "failed": 1, "wait_p50": 0.8,
                    "wait_p95": 3.1, "infer_p50": 0.021, "infer_p95": 0.06, "launched": 1, "ended": 0,
                    "dollars": 0.0045}],
        "decisions": [{"at": "2026-11-22T21:29:30.000Z",
                       "text": "queue 140, need 5, have 2: launching 3"}]}]})
