"""The web tier: limits, keys, callbacks."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from irs import apikeys, signing
from irs.settings.kinds import Buckets, Csv, OptionalCount, OptionalSeconds, Seconds


class Web(BaseSettings):
    """What clients meet."""

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
    #: bytes a second that a sender must reach, and a reader of a long answer
    body_rate: int = Field(20_000, ge=1)
    #: connections from one address; off: as many as there are
    max_client_connections: OptionalCount = None
    #: ``name:secret,…``; unset: everybody is served
    api_keys: SecretStr | None = None
    #: no web tier without `api_keys`; the other tiers are not told them (`irs.web.admission`)
    require_api_keys: bool = False
    #: ``name:secret,…`` of those who may see and send back dead letters
    operator_keys: SecretStr | None = None
    #: requests a second for each key; off: no limit
    api_rate: OptionalSeconds = None
    #: what the commands that ask the service send; unset: the first of `api_keys`
    api_key: SecretStr | None = None
    #: what callbacks are signed with; unset: none are made
    callback_secret: SecretStr | None = None
    #: networks that callbacks may go to although they are private
    callback_networks: Csv = ()

    @field_validator("api_keys", "operator_keys")
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
