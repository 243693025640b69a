"""How the service stands."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from irs.web.schemas.base import Model


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
