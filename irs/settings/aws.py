"""AWS: what there is, how its queues run, and where an instance learns of itself."""

from __future__ import annotations

import re
import urllib.parse

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from irs.settings.kinds import Bucket, OptionalCount, Queue


class Aws(BaseSettings):
    """The account's side."""

    region: str = Field("us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$",
                        description="a region such as eu-central-1")
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

    @field_validator("aws_endpoint_url")
    @classmethod
    def _http_only(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        try:
            parts = urllib.parse.urlsplit(value or "http://none")
            sound = (bool(parts.hostname) and parts.port != 0 and (value or "").isascii()
                     and not re.search(r"\s", value or ""))
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("is not a URL such as http://127.0.0.1:4566")
        return value.rstrip("/") if value else None


class Clockwork(BaseSettings):
    """The queue's."""

    #: seconds a received message stays invisible; running tasks renew it
    visibility_timeout: int = Field(30, ge=10, le=43_200)
    #: receives before a message goes to the dead-letter queue
    max_receive_count: int = Field(5, ge=1, le=1000)
    #: seconds of one long poll
    poll_wait: int = Field(20, ge=1, le=20)
    #: remote control and events over SNS
    remote_control: bool = True
    #: heartbeats and task events over SNS, for `celery events` and Flower
    task_events: bool = False


class Metadata(BaseSettings):
    """Instance metadata; the second name is botocore's own."""

    metadata_endpoint: str = Field(
        "http://169.254.169.254",
        validation_alias=AliasChoices(
            "metadata_endpoint", "IRS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    )
