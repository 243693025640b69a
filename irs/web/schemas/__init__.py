"""The JSON of requests and answers, as models of pydantic: for the OpenAPI document and its tests.

The answers themselves are made of the domain's records (`irs.domain.jobs`); these say how
they look. A model is not built before the document is (``defer_build``).
"""

from __future__ import annotations

from irs.web.schemas.answers import (
    Callback,
    Event,
    Failure,
    InputInfo,
    ModelInfo,
    NotTaken,
    Prediction,
    Problem,
    Queued,
    Result,
    Results,
    Ticket,
    Times,
)
from irs.web.schemas.base import (
    JsonSchema,
    Model,
)
from irs.web.schemas.batches import (
    Batch,
    BatchCounts,
)
from irs.web.schemas.history import (
    Decided,
    History,
    Minute,
)
from irs.web.schemas.letters import (
    DeadLetter,
    DeadLetters,
    RedriveAll,
    RedriveCounts,
    Redriven,
    RedriveOutcome,
    RedriveSome,
)
from irs.web.schemas.sent import (
    Addresses,
    Announced,
    Below,
    Followed,
    Form,
    InS3,
    OneFile,
    Uploaded,
)
from irs.web.schemas.stats import (
    CostStats,
    FleetStats,
    InstanceStats,
    LatencyStats,
    ProcessStats,
    QueueStats,
    Stats,
)

__all__ = [
    "Addresses",
    "Announced",
    "Batch",
    "BatchCounts",
    "Below",
    "Callback",
    "CostStats",
    "DeadLetter",
    "DeadLetters",
    "Decided",
    "Event",
    "Failure",
    "FleetStats",
    "Followed",
    "Form",
    "History",
    "InS3",
    "InputInfo",
    "InstanceStats",
    "JsonSchema",
    "LatencyStats",
    "Minute",
    "Model",
    "ModelInfo",
    "NotTaken",
    "OneFile",
    "Prediction",
    "Problem",
    "ProcessStats",
    "QueueStats",
    "Queued",
    "RedriveAll",
    "RedriveCounts",
    "RedriveOutcome",
    "RedriveSome",
    "Redriven",
    "Result",
    "Results",
    "Stats",
    "Ticket",
    "Times",
    "Uploaded",
]
