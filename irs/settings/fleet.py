"""The fleet: its instances, their model, and the scaler."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from irs.settings.kinds import (
    Csv,
    ModelName,
    OptionalDollars,
    OptionalPort,
    OptionalSeconds,
    Seconds,
    Sha256,
)


class Model(BaseSettings):
    """What images are classified with."""

    model: ModelName = "efficientnet_lite0"
    #: a local path or s3:// address; unset: the model's own source
    model_weights: str | None = None
    #: hex digest that the weights must have
    model_sha256: Sha256 | None = None
    #: another model, on trial for a share of the images; unset: none
    canary_model: ModelName | None = None
    #: a local path or s3:// address; unset: the canary's own source
    canary_weights: str | None = None
    #: hex digest that the canary's weights must have
    canary_sha256: Sha256 | None = None
    #: of the images, 0 to 1
    canary_share: float = Field(0.05, ge=0, le=1, allow_inf_nan=False)
    #: where exported models are kept
    model_dir: Path = Path(".irs/models")
    engine: Literal["auto", "onnxruntime", "openvino", "torch"] = "auto"
    #: what the network computes in
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    max_batch: int = Field(8, ge=1, le=1024)
    #: threads of the engine; 0: one a core
    engine_threads: int = Field(0, ge=0)


class Fleet(BaseSettings):
    """Instances, and who launches them."""

    cluster: str = Field("irs", pattern=r"^[A-Za-z0-9_-]{1,40}$",
                      description="1 to 40 letters, digits, dashes and underscores")
    ami: str = Field("ami-0ee8cf7b8a34448a6", pattern=r"^ami-[0-9a-f]{8,17}$",
                      description="an image's id (ami- and 8 to 17 hex digits)")
    instance_type: str = "c7i.large"
    #: tried in this order where EC2 has no `instance_type`
    instance_types: Csv = ()
    #: dollars for an hour of one instance; unset: nobody estimates what the fleet costs
    instance_price: OptionalDollars = None
    #: dollars that the fleet may cost a day; off: nobody compares
    budget: OptionalDollars = None
    #: spot instances in place of on-demand ones
    spot: bool = False
    instance_name: str = Field("AppTier-Instance", pattern=r"^[A-Za-z0-9_.-]{1,100}$",
                      description="1 to 100 letters, digits, dots, dashes and underscores")
    instance_profile: str | None = None
    #: what else a launch brings: disks and their encryption, tags of volumes
    launch_template: str | None = Field(None, pattern=r"^lt-[0-9a-f]{8,17}$",
                      description="a launch template's id (lt- and 8 to 17 hex digits)")
    subnet_ids: Csv = ()
    security_group_ids: Csv = ()
    min_instances: int = Field(0, ge=0)
    max_instances: int = Field(19, ge=1)
    #: stopped instances kept, to be started before any is launched
    warm_pool: int = Field(0, ge=0)
    scaler_policy: Literal["predictive", "seed", "target"] = "predictive"
    #: seconds that a message may wait in the queue
    target_wait: Seconds = 30.0
    #: seconds between the scaler's observations
    scaler_interval: Seconds = 3.0
    #: where the scaler serves its metrics; off: nowhere, 0: a free port
    scaler_metrics_port: OptionalPort = None
    #: where a worker serves its metrics; off: nowhere, 0: a free port
    worker_metrics_port: OptionalPort = None
    #: seconds from launch to the first report, after which an instance is replaced
    boot_deadline: Seconds = 300.0
    #: seconds without work after which an instance shuts itself down; off: never
    idle_shutdown: OptionalSeconds = None
    #: seconds that a stopping worker gives to what it has in flight
    drain_grace: Seconds = 30.0
