"""How the service stands."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from irs.web.schemas.base import Model

MOMENT = {"format": "date-time"}


class QueueStats(Model):
    """The input queue, by SQS's approximate counts."""

    visible: int = Field(description="Jobs that wait for a worker.", ge=0)
    in_flight: int = Field(description="Jobs that a worker has.", ge=0)
    delayed: int = Field(description="Jobs that are not shown to workers yet.", ge=0)
    oldest_seconds: float | None = Field(
        description="How long the job waits that waits longest, about; null: no scaler looks.", ge=0)
    dead: int | None = Field(
        description="Messages in the dead-letter queue; null: it cannot be counted.", ge=0)


class InstanceStats(Model):
    """One instance, or a worker that runs elsewhere."""

    id: str = Field(description="EC2's, or what the worker calls itself.")
    name: str = Field(description="Its Name tag.")
    state: Literal["booting", "idle", "busy", "draining", "stopped"] = Field(
        description="What it does. Without news of its worker: what that did last.")
    launched_at: str = Field(description="When it was launched.", json_schema_extra=MOMENT)
    age_seconds: float = Field(description="Since then.", ge=0)
    images: int = Field(description="Images finished since its worker began.", ge=0)
    running: int = Field(description="Images under way.", ge=0)
    reported_at: str | None = Field(
        description="When its worker last said so; null: not since the launch.", json_schema_extra=MOMENT)


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
    instances: list[InstanceStats] = Field(description="Each of them, the oldest first.")


class ProcessStats(Model):
    """The web process that answers."""

    waiting_clients: int = Field(description="Requests that wait for a result.", ge=0)
    max_waiting: int = Field(description="The most that may.", ge=0)
    pending_jobs: int = Field(description="Jobs that it accepted and that have no result.", ge=0)
    lost_jobs: int = Field(description="Those of them that fell out of the queue.", ge=0)
    results_per_second: float = Field(
        description="Results that came within their request's wait, over the last minute.", ge=0)


class LatencyStats(Model):
    """How long images took of late, in seconds, right to half of the figure; null: none came."""

    wait_p50: float | None = Field(description="In the queue, half of them at most.", ge=0)
    wait_p95: float | None = Field(description="In the queue, 95 % of them at most.", ge=0)
    infer_p50: float | None = Field(
        description="In the model, the wait for a batch included, half of them at most.", ge=0)
    infer_p95: float | None = Field(description="In the model, 95 % of them at most.", ge=0)


class CostStats(Model):
    """What the fleet costs, about: its running instances at the price that the service was told."""

    dollars_per_hour: float = Field(description="All of them.", ge=0)
    instance_price: float = Field(description="One of them.", ge=0)
    budget_per_day: float | None = Field(description="`IRS_BUDGET`; null: there is none.", gt=0)
    today_dollars: float | None = Field(description="This UTC day so far; null: nobody counted.", ge=0)
    today_images: int | None = Field(description="Images finished this UTC day; null as well.", ge=0)
    dollars_per_1000_images: float | None = Field(
        description="The one by the other; null: no images so far.", ge=0)


class Stats(Model):
    """How the service stands."""

    at: str = Field(description="When this was written.", json_schema_extra={"format": "date-time"})
    queue: QueueStats
    fleet: FleetStats | None = Field(description="Null: there is no scaler.")
    latency: LatencyStats = Field(description="Of the last five minutes.")
    process: ProcessStats
    cost: CostStats | None = Field(description="Null: no scaler, or no price (`IRS_INSTANCE_PRICE`).")

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "at": "2026-11-22T21:30:00.123Z", "queue": {
            "visible": 12, "in_flight": 4, "delayed": 0, "oldest_seconds": 3.2, "dead": 0},
        "fleet": {"at": "2026-11-22T21:29:58.001Z", "age_seconds": 2.1, "policy": "predictive",
                  "reason": "backlog", "running": 3, "pending": 1, "stopped": 0, "draining": 0, "min": 0,
                  "max": 19, "service_seconds": 0.031, "boot_seconds": 51.2, "instances": [
                      {"id": "i-0abc", "name": "AppTier-Instance-1", "state": "busy",
                       "launched_at": "2026-11-22T21:10:00.000Z", "age_seconds": 1200.1, "images": 5120,
                       "running": 8, "reported_at": "2026-11-22T21:29:55.000Z"}]},
        "latency": {"wait_p50": 0.8, "wait_p95": 3.1, "infer_p50": 0.021, "infer_p95": 0.06},
        "process": {"waiting_clients": 3, "max_waiting": 400, "pending_jobs": 16, "lost_jobs": 0,
                    "results_per_second": 8.2},
        "cost": {"dollars_per_hour": 0.2678, "instance_price": 0.08925, "budget_per_day": 10.0,
                 "today_dollars": 3.1, "today_images": 81200, "dollars_per_1000_images": 0.0382}}]})
