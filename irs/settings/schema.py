"""The settings' fields together: where they come from, and what contradicts what.

Each part of the service has a file of its own for its fields: types, limits, defaults.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator
from pydantic_settings import SettingsConfigDict

from irs.settings.aws import Aws, Clockwork, Metadata
from irs.settings.fleet import Fleet, Model
from irs.settings.local import Local
from irs.settings.monitoring import Logs, Metrics, Traces
from irs.settings.web import Web

PREFIX = "IRS_"
#: Written by the embedded cloud while it runs, removed when it stops.
CLOUD_ENV = Path(".irs/cloud.env")


# pydantic reads the bases from right to left; the order of the fields is that of docs/settings.md.
class Settings(Metrics, Traces, Logs, Local, Fleet, Model, Web, Metadata, Clockwork, Aws):
    """The service's settings; `docs/settings.md` has a heading for each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=(str(CLOUD_ENV), ".env"), env_file_encoding="utf-8",
        extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True,
    )

    def for_canary(self) -> Settings:
        """The same with the canary's model in place of the fleet's; only where there is one."""
        return self.model_copy(update={
            "model": self.canary_model, "model_weights": self.canary_weights,
            "model_sha256": self.canary_sha256})

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
        if self.canary_model is None and (self.canary_weights or self.canary_sha256):
            raise ValueError(f"{PREFIX}CANARY_WEIGHTS and {PREFIX}CANARY_SHA256 belong to "
                             f"{PREFIX}CANARY_MODEL, which is not set")
        if self.spot and self.warm_pool:
            # EC2 stops a spot instance only under a persistent request, which restarts it by itself.
            raise ValueError(f"{PREFIX}SPOT and {PREFIX}WARM_POOL exclude each other")
        if self.task_events and not self.remote_control:
            raise ValueError(f"{PREFIX}TASK_EVENTS needs {PREFIX}REMOTE_CONTROL: both go over SNS")
        if self.require_api_keys and self.api_keys is None:
            raise ValueError(f"{PREFIX}REQUIRE_API_KEYS is set and {PREFIX}API_KEYS is not: "
                             f"give {PREFIX}API_KEYS=name:secret")
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError(
                f"{PREFIX}AWS_ACCESS_KEY_ID and {PREFIX}AWS_SECRET_ACCESS_KEY go together"
            )
        return self
