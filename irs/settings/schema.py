"""The settings' fields: types, limits, defaults, and what contradicts what."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from irs import apikeys, signing

PREFIX = "IRS_"
#: Written by the embedded cloud while it runs, removed when it stops.
CLOUD_ENV = Path(".irs/cloud.env")

#: S3's naming rules, shortened: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
#: SQS: 80 characters at most; ours leave room for the suffix of a reply queue.
_QUEUE = r"^[A-Za-z0-9_-]{1,64}$"

Bucket = Annotated[str, Field(pattern=_BUCKET)]
Queue = Annotated[str, Field(pattern=_QUEUE)]


def _off_to_none(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", "off", "none") else value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalSeconds = Annotated[
    Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_off_to_none)]
OptionalDollars = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(_off_to_none)]
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_off_to_none)]
Csv = Annotated[tuple[str, ...], NoDecode]
Buckets = Annotated[tuple[Bucket, ...], NoDecode]


class Settings(BaseSettings):
    """The service's settings; `docs/settings.md` has a heading for each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=(str(CLOUD_ENV), ".env"), env_file_encoding="utf-8",
        extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True,
    )

    # -- AWS ---------------------------------------------------------------------------
    region: str = Field("us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    #: unset: AWS itself
    aws_endpoint_url: str | None = None
    #: unset: boto's own chain (environment, profile, instance profile)
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    input_bucket: Bucket = "cc21cprk-input-bucket"
    output_bucket: Bucket = "cc21cprk-output-bucket"
    input_queue: Queue = "cc21cprk-input-queue"
    output_queue: Queue = "cc21cprk-output-queue"
    dead_letter_queue: Queue = "cc21cprk-input-queue-dead"
    #: days that uploads and results are kept; off: for ever
    keep_inputs: OptionalCount = None
    keep_results: OptionalCount = None

    # -- the queue's clockwork -----------------------------------------------------------
    #: seconds a received message stays invisible; running tasks renew it
    visibility_timeout: int = Field(30, ge=10, le=43_200)
    #: receives before a message goes to the dead-letter queue
    max_receive_count: int = Field(5, ge=1, le=1000)
    #: seconds of one long poll
    poll_wait: int = Field(20, ge=1, le=20)
    #: remote control and events over SNS
    remote_control: bool = True

    # -- instance metadata (the second name is botocore's own) -----------------------------
    metadata_endpoint: str = Field(
        "http://169.254.169.254",
        validation_alias=AliasChoices(
            "metadata_endpoint", "IRS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    )

    # -- web tier ------------------------------------------------------------------------
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    #: seconds a request waits for its answer
    client_wait: float = Field(60, ge=0, le=3600, allow_inf_nan=False)
    #: requests that may wait at once
    max_waiting: int = Field(400, ge=1)
    #: bytes of one image
    max_image_bytes: int = Field(20_000_000, ge=1)
    #: pixels of one image
    max_image_pixels: int = Field(40_000_000, ge=1)
    #: buckets whose objects may be named in place of an upload
    source_buckets: Buckets = ()
    #: files in one request
    max_files: int = Field(100, ge=1, le=1000)
    #: images in one batch
    max_batch_images: int = Field(100_000, ge=1, le=1_000_000)
    #: bytes of a request that brings a batch
    max_batch_bytes: int = Field(1_000_000_000, ge=1)
    #: seconds without a result after which a job that the queue has lost is sent again; off: never
    requeue_after: OptionalSeconds = 30.0
    #: seconds of estimated wait in the queue beyond which new work is refused; off: never
    max_queue_wait: OptionalSeconds = 600.0
    #: give the answer again that the same bytes had: known to one process, to all, or not
    reuse: Literal["off", "process", "shared"] = "process"
    #: seconds for a request's body, plus those that it takes at `body_rate`
    body_timeout: Seconds = 30.0
    #: bytes a second that a sender must reach
    body_rate: int = Field(20_000, ge=1)
    #: connections from one address; off: as many as there are
    max_client_connections: OptionalCount = None
    #: ``name:secret,…``; unset: everybody is served
    api_keys: SecretStr | None = None
    #: refuse to start without `api_keys`
    require_api_keys: bool = False
    #: requests a second for each key; off: no limit
    api_rate: OptionalSeconds = None
    #: what the commands that ask the service send; unset: the first of `api_keys`
    api_key: SecretStr | None = None
    #: what callbacks are signed with; unset: none are made
    callback_secret: SecretStr | None = None
    #: networks that callbacks may go to although they are private
    callback_networks: Csv = ()

    # -- model ---------------------------------------------------------------------------
    model: str = Field("efficientnet_lite0", pattern=r"^[a-z0-9_]{1,64}$")
    #: a local path or s3:// address; unset: the model's own source
    model_weights: str | None = None
    #: hex digest that the weights must have
    model_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    #: where exported models are kept
    model_dir: Path = Path(".irs/models")
    engine: Literal["auto", "onnxruntime", "torch"] = "auto"
    max_batch: int = Field(8, ge=1, le=1024)
    #: threads of the engine; 0: one a core
    engine_threads: int = Field(0, ge=0)

    # -- fleet ---------------------------------------------------------------------------
    cluster: str = Field("irs", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    ami: str = Field("ami-0ee8cf7b8a34448a6", pattern=r"^ami-[0-9a-f]{8,17}$")
    instance_type: str = "c7i.large"
    #: tried in this order where EC2 has no `instance_type`
    instance_types: Csv = ()
    #: dollars for an hour of one instance; unset: nobody estimates what the fleet costs
    instance_price: OptionalDollars = None
    #: spot instances in place of on-demand ones
    spot: bool = False
    instance_name: str = Field("AppTier-Instance", pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    instance_profile: str | None = None
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
    scaler_metrics_port: Annotated[int | None, BeforeValidator(_off_to_none)] = Field(
        None, ge=0, le=65_535)
    #: where a worker serves its metrics; off: nowhere, 0: a free port
    worker_metrics_port: Annotated[int | None, BeforeValidator(_off_to_none)] = Field(
        None, ge=0, le=65_535)
    #: seconds from launch to the first report, after which an instance is replaced
    boot_deadline: Seconds = 300.0
    #: seconds without work after which an instance shuts itself down; off: never
    idle_shutdown: OptionalSeconds = None
    #: seconds that a stopping worker gives to what it has in flight
    drain_grace: Seconds = 30.0

    # -- embedded cloud -------------------------------------------------------------------
    cloud_port: int = Field(4566, ge=0, le=65_535)
    state_dir: Path = Path(".irs")
    #: seconds between an instance's launch and its first process
    boot_delay: float = Field(0, ge=0, allow_inf_nan=False)
    #: seconds between SIGTERM and SIGKILL of an instance's process
    stop_grace: Seconds = 40.0

    # -- logs ------------------------------------------------------------------------------
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["pretty", "json"] = "pretty"

    @field_validator("subnet_ids", "security_group_ids", "instance_types", "source_buckets",
                     "callback_networks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("aws_endpoint_url")
    @classmethod
    def _http_only(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        try:
            parts = urllib.parse.urlsplit(value or "http://none")
            sound = bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", value or "")
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("is not a URL such as http://127.0.0.1:4566")
        return value.rstrip("/") if value else None

    @field_validator("idle_shutdown", "requeue_after", "max_queue_wait", "api_rate")
    @classmethod
    def _positive(cls, value: float | None) -> float | None:
        if value is not None and value <= 0:
            raise ValueError("must be more than 0, or off")
        return value

    @field_validator("api_keys")
    @classmethod
    def _sound_keys(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and apikeys.parse(value.get_secret_value()) else None

    @field_validator("callback_secret")
    @classmethod
    def _sound_secret(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and signing.parse(value.get_secret_value()) else None

    @field_validator("callback_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text)  # whose ValueError says what is wrong
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"{PREFIX}MIN_INSTANCES ({self.min_instances}) is more than "
                f"{PREFIX}MAX_INSTANCES ({self.max_instances})"
            )
        if len({self.input_queue, self.output_queue, self.dead_letter_queue}) < 3:
            raise ValueError(
                f"{PREFIX}INPUT_QUEUE, {PREFIX}OUTPUT_QUEUE and {PREFIX}DEAD_LETTER_QUEUE "
                "must be three different queues"
            )
        if self.input_bucket == self.output_bucket:
            raise ValueError(f"{PREFIX}INPUT_BUCKET and {PREFIX}OUTPUT_BUCKET must differ")
        if own := {self.input_bucket, self.output_bucket} & set(self.source_buckets):
            # Whoever may name an object there could read what others have sent.
            raise ValueError(f"{PREFIX}SOURCE_BUCKETS: {min(own)} is the service's own bucket")
        if self.keep_results is not None and not 1 <= (self.keep_inputs or 0) <= self.keep_results:
            # An upload without a result is a job that is not done: asked for, it would be done again.
            raise ValueError(f"{PREFIX}KEEP_INPUTS must be set, and at most {PREFIX}KEEP_RESULTS "
                             f"({self.keep_results})")
        if self.spot and self.warm_pool:
            # EC2 stops a spot instance only under a persistent request, which restarts it by itself.
            raise ValueError(f"{PREFIX}SPOT and {PREFIX}WARM_POOL exclude each other")
        if self.require_api_keys and self.api_keys is None:
            raise ValueError(f"{PREFIX}REQUIRE_API_KEYS is set and {PREFIX}API_KEYS is not: "
                             f"give {PREFIX}API_KEYS=name:secret")
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError(
                f"{PREFIX}AWS_ACCESS_KEY_ID and {PREFIX}AWS_SECRET_ACCESS_KEY go together"
            )
        return self
